"""What a person reads when the broker does not let a node in: certificate, clock and account are told apart."""

import socket
import ssl

import pytest

from qkdlink.common.errors import CredentialsError, LinkError
from qkdlink.common.transport.addresses import Address
from qkdlink.common.transport.broker_refusals import LoginRefusedError, explain_broker

WHERE = Address("broker.example", 8883)


def not_verified(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError("certificate verify failed")
    error.verify_code, error.verify_message = code, ""
    return error


def hidden(error: OSError) -> Exception:
    """Return what the client library makes of an error: its text, and the error out of sight."""
    try:
        try:
            raise error
        except OSError as cause:
            raise RuntimeError(str(cause)) from None
    except RuntimeError as told:
        return told


@pytest.mark.parametrize(
    ("error", "kind", "sentence"),
    [
        (
            not_verified(9),
            CredentialsError,
            "its certificate is not valid yet: compare both clocks; set this",
        ),
        (
            not_verified(10),
            CredentialsError,
            "has expired: .*; if this machine's clock is right, issue it anew",
        ),
        (not_verified(20), CredentialsError, "comes from another authority .*; carry the node's folder"),
        (not_verified(62), CredentialsError, "for another name: .*init --broker-host NAME"),
        (ssl.SSLError(1, "x"), LinkError, "correct"),
        (LoginRefusedError(0x87), LinkError, "turns this node away: it does not know this node.*correct"),
        (LoginRefusedError(4), LinkError, "turns this node away: user name or password is wrong"),
        (
            ConnectionRefusedError(111, "no"),
            LinkError,
            r"There is no MQTT broker at .*\(connection refused\)",
        ),
        (socket.gaierror(-2, "unknown"), LinkError, r"host name cannot be resolved; correct \[broker\]"),
        (TimeoutError(), LinkError, "takes the connection and then says nothing"),
        (ConnectionResetError(), LinkError, "hangs up at the first word .*it may expect TLS"),
    ],
)
def test_each_way_of_not_getting_in_has_its_sentence(error: OSError, kind: type[Exception], sentence: str):
    for told in (error, hidden(error)):
        with pytest.raises(kind, match=sentence):
            raise explain_broker(told, WHERE, tls=False)
