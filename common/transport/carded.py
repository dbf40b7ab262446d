"""TLS 1.3 between nodes that know each other by node cards, which they exchange in clear on the same connection first.

Python's `ssl` cannot look at a certificate that it does not trust already, so the certificates come on cards. Alice
shows hers; Bob has the web of trust verify it and shows his in return; then both make a TLS handshake in which the
certificate on the peer's card, and nothing else, is believed. Neither card is believed for having arrived here: whoever
sits on the line can show any, and a copied one is of no use without the private key.

Nothing that was said in clear may count as said in TLS. Alice is silent from her card until she has Bob's, and each end
stops reading when it has the other's card: what has come behind it by then ends the line, and what comes later is TLS.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import cast

from qkdlink.common.errors import CredentialsError, LinkError, UnprovenRefusalError
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
from qkdlink.common.transport.tls import PeerIdentity, check_peer
from qkdlink.common.trust.card_holder import CardHolder
from qkdlink.common.trust.node_card import LARGEST_CARD_BYTES, SignedCard
from qkdlink.common.trust.pem import openssl_file

_LENGTH_BYTES = 4
_SAID_TOO_MUCH = "the peer went on talking in clear after its card: somebody may have put words in its mouth"


async def dial(
    host: str,
    port: int,
    holder: CardHolder,
    timeout_s: float = HANDSHAKE_TIMEOUT_S,
    *,
    key_log: Path | None = None,
) -> Connection:
    """Connect to the holder's peer, exchange cards, and wait until it has accepted ours.

    Raises CredentialsError if either end refuses the other, LinkError if nobody answers, the network fails, or
    `timeout_s` seconds have passed.
    """
    handshake = _Meeting(holder, server_side=False).handshake()
    return await connect(
        host, port, holder.peer, handshake, shown="our certificate", timeout_s=timeout_s, key_log=key_log
    )


@asynccontextmanager
async def listen(
    host: str,
    port: int,
    holder: CardHolder,
    on_connection: OnConnection,
    on_refused: OnRefused,
    *,
    key_log: Path | None = None,
) -> AsyncIterator[Door]:
    """Accept the holder's peer by its card, and nobody else, for as long as the context lasts.

    Yields the door; `qkdlink.common.transport.connections.admit` says what becomes of connections. Raises
    CredentialsError if our own card or certificate cannot be used, LinkError if the address cannot be listened at.
    """
    _context(holder, server_side=True)

    def begin() -> Handshake[PeerIdentity]:
        return _Meeting(holder, server_side=True).handshake()

    async with admit(host, port, begin, on_connection, on_refused, key_log=key_log) as door:
        yield door


@dataclass(frozen=True, slots=True)
class CardIdentity(PeerIdentity):
    """Who is at the other end, as its card says and the web of trust confirms."""

    card: SignedCard = field(repr=False)


@dataclass(slots=True)
class _Meeting:
    """One connection's exchange of cards; the peer's certificate is known after it, and TLS has to show the same."""

    holder: CardHolder
    server_side: bool
    shown: SignedCard | None = field(default=None, repr=False)

    def handshake(self) -> Handshake[PeerIdentity]:
        context = _context(self.holder, server_side=self.server_side)
        return Handshake(context, self._check, _explain, partial(self._exchange, context))

    async def _exchange(
        self, context: ssl.SSLContext, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if not self.server_side:
            await _show(writer, self.holder)
        shown = _parsed(await _next_card(reader, writer, self._hung_up))
        await self.holder.accept(shown, datetime.now(UTC))
        self.shown = shown
        context.load_verify_locations(cadata=shown.card.certificate_der)
        if self.server_side:
            await _show(writer, self.holder)

    @property
    def _hung_up(self) -> str:
        if self.server_side:
            return "the line was closed without a whole card"
        return (
            "the line was closed before the peer showed its card: it was cut, or the peer does not take our card, and"
            " then its journal says why"
        )

    def _check(self, line: ssl.SSLObject) -> PeerIdentity:
        peer = check_peer(line, self.holder.peer, self.holder.node)
        if self.shown is None or peer.certificate_der != self.shown.card.certificate_der:
            raise CredentialsError(_OTHER_CERTIFICATE)
        return CardIdentity(peer.name, peer.certificate_der, peer.fingerprint, peer.chain_der, self.shown)


def _parsed(data: bytes) -> SignedCard:
    """Read a card; what is none proves nothing about the peer, because it was said in clear."""
    try:
        return SignedCard.parse(data)
    except CredentialsError as fault:
        raise UnprovenRefusalError(str(fault)) from fault


async def _show(writer: asyncio.StreamWriter, holder: CardHolder) -> None:
    card = holder.card.to_bytes()
    writer.write(len(card).to_bytes(_LENGTH_BYTES) + card)
    await writer.drain()


async def _next_card(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, hung_up: str) -> bytes:
    """Read one card and stop reading; CredentialsError if the peer hangs up, or says anything but a card."""
    transport = cast("asyncio.Transport", writer.transport)
    transport.resume_reading()
    try:
        size = int.from_bytes(await reader.readexactly(_LENGTH_BYTES))
        if not 0 < size <= LARGEST_CARD_BYTES:
            raise UnprovenRefusalError(
                "the peer does not begin with a node card: it may have another trust anchor"
            )
        card = await reader.readexactly(size)
    except EOFError as error:
        raise UnprovenRefusalError(hung_up) from error
    finally:
        transport.pause_reading()
    with suppress(TimeoutError):
        async with asyncio.timeout(0):
            behind = await reader.read(
                1
            )  # nothing is read any more; what has been read already is there at once
            raise UnprovenRefusalError(_SAID_TOO_MUCH if behind else hung_up)
    return card


def _context(holder: CardHolder, *, server_side: bool) -> ssl.SSLContext:
    """Return a context that shows our certificate and believes none yet; CredentialsError if our files do not do."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server_side else ssl.PROTOCOL_TLS_CLIENT)
    if server_side:
        context.num_tickets = 0
    else:
        context.check_hostname = True
        context.hostname_checks_common_name = False
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    # a certificate that may not vouch for others is the whole chain
    context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET
    own = holder.credentials
    own.check_unchanged()
    try:
        with openssl_file(own.certificate_file) as certificate, openssl_file(own.private_key_file) as key:
            context.load_cert_chain(certificate, key)
    except OSError as error:
        raise CredentialsError(
            f"{own.certificate_file} and {own.private_key_file} cannot be used: {error}"
        ) from error
    return context


_OTHER_CERTIFICATE = "the peer shows another certificate in TLS than the one on its card"
_NO_CHAIN = (18, 19, 20, 21)
"""OpenSSL's X509_V_ERR_... numbers (x509_vfy.h) of a certificate that is not the one believed."""


def _explain(error: OSError, where: str) -> CredentialsError | LinkError:
    match error:
        case ssl.SSLCertVerificationError(verify_code=code) if code in _NO_CHAIN:
            return CredentialsError(f"{where}: {_OTHER_CERTIFICATE}")
        case _:
            return explain(error, where, in_handshake=True)
