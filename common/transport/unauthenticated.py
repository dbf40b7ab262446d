"""TLS 1.3 that asks nobody for proof: for the trust anchor none, so that the man in the middle can be shown to win.

Nothing else may come here. The line is encrypted, but to whoever happens to be at its other end: neither side verifies
a certificate (`CERT_NONE`), which is what every other line of this program is built never to do. The listener shows a
certificate because TLS 1.3 has no anonymous mode; its key is drawn at each start, says nothing, and proves nothing.
"""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import NamedTemporaryFile

from qkdlink.common.errors import CredentialsError
from qkdlink.common.transport.connections import (
    HANDSHAKE_TIMEOUT_S,
    Connection,
    Door,
    Handshake,
    OnConnection,
    OnRefused,
    admit,
    connect,
)
from qkdlink.common.transport.refusals import explain
from qkdlink.common.trust.algorithms import KeyAlgorithm
from qkdlink.common.trust.pki import Validity
from qkdlink.common.trust.self_signed import self_signed

_NOBODY = "nobody-is-authenticated"
_DAYS = 3652


@dataclass(frozen=True, slots=True)
class UnknownPeer:
    """Whoever answered, called by the name of the one who was looked for."""

    name: str

    @property
    def fingerprint(self) -> None:
        """None: a certificate that nobody vouches for identifies nobody."""
        return


async def dial_anybody(
    host: str,
    port: int,
    peer_name: str,
    timeout_s: float = HANDSHAKE_TIMEOUT_S,
    *,
    key_log: Path | None = None,
) -> Connection[UnknownPeer]:
    """Connect to whoever answers, and call it `peer_name`; LinkError if nobody does within `timeout_s` seconds."""
    context = _unverified(ssl.PROTOCOL_TLS_CLIENT)
    handshake = _handshake(context, peer_name)
    return await connect(host, port, peer_name, handshake, shown="us", timeout_s=timeout_s, key_log=key_log)


@asynccontextmanager
async def listen_to_anybody(
    host: str,
    port: int,
    peer_name: str,
    on_connection: OnConnection[UnknownPeer],
    on_refused: OnRefused,
    *,
    key_log: Path | None = None,
) -> AsyncIterator[Door]:
    """Accept whoever dials, and call it `peer_name`, for as long as the context lasts.

    Yields the door; `qkdlink.common.transport.connections.admit` says what becomes of connections. Raises LinkError if
    the address cannot be listened at.
    """
    context = _unverified(ssl.PROTOCOL_TLS_SERVER)
    context.num_tickets = 0
    _load_a_certificate(context)
    handshake = _handshake(context, peer_name)
    async with admit(host, port, lambda: handshake, on_connection, on_refused, key_log=key_log) as door:
        yield door


def _unverified(protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET
    return context


def _handshake(context: ssl.SSLContext, peer_name: str) -> Handshake[UnknownPeer]:
    return Handshake(
        context, check=partial(_believed, peer_name), explain=partial(explain, in_handshake=True)
    )


def _believed(peer_name: str, line: ssl.SSLObject) -> UnknownPeer:
    if line.version() != "TLSv1.3" or line.session_reused:
        raise CredentialsError("the line is not a fresh TLS 1.3 session")
    return UnknownPeer(peer_name)


def _load_a_certificate(context: ssl.SSLContext) -> None:
    """Give the context a certificate of its own; Python loads one from a file only, which is private and then gone."""
    private_pem, certificate_pem = self_signed(_NOBODY, Validity.days(_DAYS), KeyAlgorithm.P256)
    with NamedTemporaryFile() as file:  # made with mode 0600
        file.write(private_pem + certificate_pem)
        file.flush()
        context.load_cert_chain(file.name)
