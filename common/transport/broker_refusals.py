"""Why a login at the broker did not come about, in one sentence: for nodes, launcher, Eve and `qkdlink doctor`."""

import socket
import ssl
from collections.abc import Iterator

from qkdlink.common.errors import CredentialsError, LinkError
from qkdlink.common.transport.addresses import Address
from qkdlink.common.transport.refusals import explain

_REASONS = {
    4: "user name or password is wrong",
    5: "it does not know this node",
    0x85: "it does not take this client's identifier",
    0x86: "user name or password is wrong",
    0x87: "it does not know this node, or does not let it in",
    0x88: "it is not available now",
    0x89: "it is busy",
    0x8A: "it has banned this node",
}
"""Of a CONNACK: MQTT 3.1.1, section 3.2.2.3, and MQTT 5, section 3.2.2.2."""

TOO_LONG = 0x95
_NOT_TAKEN = {
    0x87: "this node may not write there; correct the broker's access list",
    TOO_LONG: "the message is too long; raise the broker's limit (Mosquitto: message_size_limit)",
    0x97: "a quota is exceeded; raise the broker's limits",
}
"""Of a PUBACK: MQTT 5, section 3.4.2.1."""

_OTHER_NAME = (62, 63, 64)
_NOT_YET_VALID, _EXPIRED = 9, 10
"""OpenSSL's X509_V_ERR_... numbers (x509_vfy.h)."""


class LoginRefusedError(ConnectionError):
    """The broker's answer to a login, if it is a refusal."""

    def __init__(self, code: int) -> None:
        super().__init__(f"code {code:#04x}")
        self.code = code


class MessageRefusedError(LinkError):
    """The broker has said that it does not take a message."""

    def __init__(self, sentence: str, code: int) -> None:
        super().__init__(sentence)
        self.is_too_long = code == TOO_LONG
        """Whether the same message can never be taken."""


def too_long_for(address: Address, limit_bytes: int, packet_bytes: int) -> str:
    """Say that a broker states a limit that is below a packet of this node."""
    return (
        f"The broker at {address} takes packets of at most {limit_bytes} bytes, and this node has to send one of"
        f" {packet_bytes}: raise the broker's limit (Mosquitto: max_packet_size), or lower frame_pulses of Alice."
    )


def why_not_taken(code: int) -> str:
    """Say why a broker did not take a message, and what to do."""
    return _NOT_TAKEN.get(code, f"its reason is {code:#04x}; its log may say more")


def explain_broker(error: BaseException, address: Address, *, tls: bool) -> CredentialsError | LinkError:
    """Translate what a login has raised; a CredentialsError if certificate or clock is at fault.

    What a socket or TLS has raised counts before what a library has made of it.
    """
    where = f"the broker at {address}"
    for cause in _chain(error):
        match cause:
            case LoginRefusedError(code=code):
                why = _REASONS.get(code, f"its reason is {code:#04x}")
                return LinkError(
                    f"{where} turns this node away: {why}; correct [broker], or the broker's accounts"
                )
            case ssl.SSLError() if not isinstance(cause, ssl.SSLEOFError):
                told = explain(cause, where, in_handshake=True)
                return type(told)(str(told).replace("the peer's", "its") + _remedy(cause))
            case socket.gaierror():
                return LinkError(f"{explain(cause, where)}; correct [broker]")
            case ConnectionRefusedError():
                return _none_there(address, "connection refused")
            case TimeoutError():
                return LinkError(
                    f"{where} takes the connection and then says nothing, or no machine has this address: correct"
                    " [broker], or restart the broker"
                )
            case EOFError() | ConnectionError() | ssl.SSLEOFError():
                reason = getattr(cause, "strerror", None) or "end of the line"
                return LinkError(f"{where} hangs up at the first word ({reason}): {_advice_on_tls(tls=tls)}")
            case OSError(strerror=text):
                return _none_there(address, text or str(cause))
    return _none_there(address, str(error) or type(error).__name__)


def _none_there(address: Address, reason: str) -> LinkError:
    reason = reason.splitlines()[0].rstrip(".").lower()
    return LinkError(
        f"There is no MQTT broker at {address} ({reason}): start one, or name another in [broker]."
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__  # aiomqtt hides what a socket has raised, but keeps it


def _advice_on_tls(*, tls: bool) -> str:
    if not tls:
        return "it may expect TLS, so name its `authority` in [broker], or correct the address"
    return "it may not speak TLS, or does not take this node's certificate; its log says why"


def _remedy(cause: ssl.SSLError) -> str:
    match cause:
        case ssl.SSLCertVerificationError(verify_code=code) if code in _OTHER_NAME:
            return (
                "; let `address` in [broker] be a name of its certificate (`qkdlink init --broker-host NAME`)"
            )
        case ssl.SSLCertVerificationError(verify_code=code) if code == _NOT_YET_VALID:
            return "; set this machine's clock, or the one on which the installation was made"
        case ssl.SSLCertVerificationError(verify_code=code) if code == _EXPIRED:
            return "; if this machine's clock is right, issue it anew from the authority of the broker"
        case ssl.SSLCertVerificationError():
            return "; carry the node's folder and the broker's from the same installation"
        case ssl.SSLError(reason=str() as reason) if "ALERT" in reason:
            return "; carry the node's folder and the broker's from the same installation"
        case _:
            return "; correct [broker], or start the broker that belongs to this installation"
