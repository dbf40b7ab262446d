"""Why a line did not come about, in one sentence: what TLS and sockets say, translated for a person.

Which end says what is not symmetric in TLS 1.3. The dialler's handshake is over before the listener has
looked at the dialler's certificate (RFC 8446, section 2), and asyncio drops a failed handshake without
sending the alert that would give the reason: what arrives then is the end of the stream, or a reset.
"""

import socket
import ssl

from qkdlink.common.errors import CredentialsError, LinkError, UnprovenRefusalError

_OTHER_AUTHORITY = "the peer's certificate comes from another authority than this link's"
_NOT_TLS = "the peer does not speak TLS"
_NOT_TLS_13 = "the peer does not speak TLS 1.3"
_REFUSES_US = "the peer refuses our certificate"

_VERIFICATION = {
    3: "the peer's certificate comes from an authority whose revocation list this node does not have: bring the "
    "file that `qkdlink ca revocations` writes",
    7: _OTHER_AUTHORITY,  # the same authority's name, another key
    9: "the peer's certificate is not valid yet: compare both clocks",
    10: "the peer's certificate has expired: issue a new one",
    12: "the revocation list of the peer's authority is out of date here: bring the file that `qkdlink ca revocations`"
    " writes",
    18: "the peer's certificate is self-signed, not from this link's authority",
    19: _OTHER_AUTHORITY,
    20: _OTHER_AUTHORITY,
    23: "the peer's certificate is revoked, or that of the authority which issued it",
    26: "the peer's certificate is not meant for its end of a TLS line",
    62: "the peer's certificate is for another name: another node answers at this address",
    64: "the peer's certificate is for another address",
}
"""By OpenSSL's X509_V_ERR_... numbers (x509_vfy.h), which are stable; its texts are not."""

_CREDENTIALS = {
    "BAD_SIGNATURE": "the peer shows a certificate whose private key it does not have",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the peer shows no certificate",
    "ALERT_UNKNOWN_CA": f"{_REFUSES_US}: it believes another authority",
    "ALERT_CERTIFICATE_EXPIRED": f"{_REFUSES_US}: it is not valid by the peer's clock",
    "ALERT_CERTIFICATE_REQUIRED": f"{_REFUSES_US}: none has arrived",
    "ALERT_CERTIFICATE_UNKNOWN": _REFUSES_US,
    "ALERT_CERTIFICATE_REVOKED": f"{_REFUSES_US}: it is revoked",
    "ALERT_DECRYPT_ERROR": f"{_REFUSES_US}: it is not that of the key with which this node signs",
    "ALERT_BAD_CERTIFICATE": _REFUSES_US,
    "ALERT_UNSUPPORTED_CERTIFICATE": _REFUSES_US,
    "ALERT_ACCESS_DENIED": _REFUSES_US,
}
_SPEECH = {
    "WRONG_VERSION_NUMBER": _NOT_TLS,
    "HTTP_REQUEST": _NOT_TLS,
    "HTTPS_PROXY_REQUEST": _NOT_TLS,
    "RECORD_LAYER_FAILURE": _NOT_TLS,
    "PACKET_LENGTH_TOO_LONG": _NOT_TLS,
    "ALERT_PROTOCOL_VERSION": _NOT_TLS_13,
    "UNSUPPORTED_PROTOCOL": _NOT_TLS_13,
}
"""By OpenSSL's reason, as Python names it; of an alert, without the TLS version that introduced it."""


def explain(error: Exception, where: str, *, in_handshake: bool = False) -> CredentialsError | LinkError:
    """Translate what happened on the line to or from `where` (a phrase naming peer and address).

    `error` is whatever `ssl`, `asyncio` or a socket raised. The result is to be raised from it: a
    CredentialsError if the peer's certificate was refused here, an UnprovenRefusalError if the peer seems to refuse
    ours, a LinkError if the network or the other program is at fault.
    """
    match error:
        case ssl.SSLCertVerificationError(verify_code=code, verify_message=text):
            return CredentialsError(f"{where}: {_VERIFICATION.get(code, f'refused its certificate, {text}')}")
        case ssl.SSLError(reason=str() as reason) if not isinstance(error, ssl.SSLEOFError):
            return _explain_tls(reason, where)
        case socket.gaierror():
            return LinkError(f"{where}: the host name cannot be resolved")
        case ConnectionRefusedError():
            return LinkError(f"{where}: nobody listens there")
        case TimeoutError():
            return LinkError(f"{where}: no answer in time")
        case ConnectionError() | EOFError() | ssl.SSLError() if in_handshake:
            return LinkError(f"{where}: the TLS handshake was broken off, late, or refused by the peer")
        case ConnectionError() | EOFError() | ssl.SSLError():
            return LinkError(f"{where}: the line was cut")
        case OSError(strerror=text):
            return LinkError(f"{where}: {text or error}")
        case _:
            return LinkError(f"{where}: {error}")


def _explain_tls(reason: str, where: str) -> CredentialsError | LinkError:
    key = reason[reason.find("ALERT_") :] if "ALERT_" in reason else reason
    if key in _CREDENTIALS:
        return UnprovenRefusalError(f"{where}: {_CREDENTIALS[key]}")
    return LinkError(f"{where}: {_SPEECH.get(key, f'TLS failed with {reason}')}")
