"""From an error, or from a sentence of the journal, to what has to be put right."""

import errno
import re
import socket
import ssl
from collections.abc import Iterator
from enum import StrEnum

from qkdlink.common.errors import ConfigurationError, CredentialsError


class Obstacle(StrEnum):
    """What stands in the way."""

    CONFIGURATION = "configuration"
    """A setting or a file of this node."""
    CLOCK = "clock"
    CERTIFICATE = "certificate"
    """It has expired, comes from another authority, or cannot be used."""
    NAME = "name"
    """A host name that cannot be resolved, or a certificate for another name."""
    ROUTE = "route"
    """The network does not know the way, or no machine has the address."""
    FIREWALL = "firewall"
    """What is sent is dropped without an answer, or may not be sent."""
    PORT = "port"
    """This node cannot listen where it should."""
    BROKER = "broker"
    """It does not run, or does not let this node in."""
    PEER = "peer"
    """It does not run, or something else answers in its place."""
    KEY = "key"
    """The two nodes have no common link PSK."""
    PARAMETERS = "parameters"
    """The two nodes were not told the same about their link."""


_UNREACHABLE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN})
_OTHER_NAME = frozenset({62, 63, 64})
_NOT_YET_VALID = 9
"""OpenSSL's X509_V_ERR_... numbers (x509_vfy.h): host name, e-mail and IP address mismatch; begins in the future."""

_TOLD = (
    (re.compile(r"not valid yet|not valid before"), Obstacle.CLOCK),
    (re.compile(r"is for .* but this node|for another name|looks for "), Obstacle.NAME),
    (re.compile(r"parameters of .* differ"), Obstacle.PARAMETERS),
    (re.compile(r"the key |(?<!no )pre-shared key|offers (?!no )"), Obstacle.KEY),
    (re.compile(r"certificate(?! opens nothing)"), Obstacle.CERTIFICATE),
)
"""Words of our own sentences (`qkdlink.common.transport`), the first that fit."""


def obstacle_of(error: BaseException) -> Obstacle:
    """Name the obstacle behind an error: what a socket or TLS has raised counts before what was made of it."""
    for cause in _chain(error):
        found = _of_line(cause)
        if found is not None:
            return found
    match error:
        case ConfigurationError():
            return Obstacle.CONFIGURATION
        case CredentialsError():
            return Obstacle.CERTIFICATE
        case _:
            return Obstacle.PEER


def obstacle_told(reason: str) -> Obstacle | None:
    """Name the obstacle that a refusal in a journal speaks of; None for a stranger's noise."""
    return next((obstacle for words, obstacle in _TOLD if words.search(reason)), None)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _of_line(error: BaseException) -> Obstacle | None:
    match error:
        case ssl.SSLCertVerificationError(verify_code=code):
            if code in _OTHER_NAME:
                return Obstacle.NAME
            return Obstacle.CLOCK if code == _NOT_YET_VALID else Obstacle.CERTIFICATE
        case ssl.SSLError(reason=str() as reason) if "ALERT" in reason:
            return Obstacle.CERTIFICATE
        case socket.gaierror():
            return Obstacle.NAME
        case TimeoutError() | PermissionError():
            return Obstacle.FIREWALL
        case OSError(errno=number) if number in _UNREACHABLE:
            return Obstacle.ROUTE
        case _:
            return None
