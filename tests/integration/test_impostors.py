"""Impostor programs pointed at a link while it runs: each is refused with a reason, and the link goes on.

They are foreign programs: Python's `ssl` with as little care as its documentation shows, and plain sockets.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from qkdlink.common.journal.events import BlockEnded, EpochBegan, LineLost, PeerRefused
from qkdlink.common.keys.allotment import Purpose
from qkdlink.common.keys.derivation import key_id, link_psk, psk_identity
from qkdlink.common.store.key_store import KeyStore
from qkdlink.common.transport.addresses import Address
from qkdlink.common.transport.connections import ACCEPTED
from qkdlink.common.trust import pki
from qkdlink.common.trust.pki import Validity
from qkdlink.deployment.brokers.ports import LOOPBACK
from qkdlink.deployment.homes.names import ALICE, BOB
from tests.support.processes import Bench, bench, small_parameters, until
from tests.support.wire import Wire, wire_to

TINY = small_parameters(pulses=60_000)
NODES = (ALICE, BOB)
EVE, SELF_SIGNED, APPARATUS, EXPIRED = "eve", "self-signed", "apparatus", "expired"


@dataclass(frozen=True)
class Scene:
    """A link under attack, and what its attackers have."""

    link: Bench
    wire: Wire
    loot: Path
    """Certificates: of the right authority with another name, of nobody's, of the apparatus', and an old one."""

    def folder(self, name: str) -> Path:
        return self.link.home.node(name) if name in NODES else self.loot / name

    def newest_psk(self) -> tuple[str, bytes]:
        """The identity and the key that would open a line at this moment."""
        with closing(KeyStore.of(self.link.home.node(BOB))) as store:
            block = store.link_psks()[0]
            material = store.material(block, Purpose.LINK_PSK) or b""
        link = self.link.home.link
        return psk_identity(link, key_id(block)), link_psk(material, link, key_id(block))


@asynccontextmanager
async def scene(folder: Path) -> AsyncIterator[Scene]:
    """Furnish a link whose classical line passes through a wire; nobody has been started."""
    async with bench(folder / "home", TINY) as link, wire_to(link.classical) as wire:
        link.change(
            ALICE,
            {
                "blocks": 0,
                "blocks_in_flight": 1,
                "rekey_blocks": 3,
                "classical": {"address": str(wire.address)},
            },
        )
        loot = folder / "loot"
        yesterday = datetime.now(UTC) - timedelta(days=1)
        pki.issue(link.home.folder / "ca", EVE, loot / EVE)
        pki.issue(
            link.home.folder / "ca",
            ALICE,
            loot / EXPIRED,
            validity=Validity(yesterday - timedelta(1), yesterday),
        )
        pki.create_authority(loot / SELF_SIGNED, name=ALICE)
        pki.create_authority(loot / "apparatus-ca")
        pki.issue(loot / "apparatus-ca", ALICE, loot / APPARATUS)
        yield Scene(link, wire, loot)


def lax(
    *,
    shows: Path | None = None,
    offers: tuple[str, bytes] | None = None,
    version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
) -> ssl.SSLContext:
    """A client that believes everybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    if shows is not None:
        context.load_cert_chain(shows / "certificate.pem", shows / "private-key.pem")
    if offers is not None:
        context.set_psk_client_callback(lambda _: offers)
    return context


async def knock(address: Address, context: ssl.SSLContext | None, first_words: bytes = b"") -> bytes:
    """Dial, say something, and return the first byte that comes back over an open line."""
    try:
        reader, writer = await asyncio.open_connection(
            address.host, address.port, ssl=context, server_hostname="bob" if context else None
        )
    except OSError:
        return b""
    try:
        writer.write(first_words)
        async with asyncio.timeout(5):
            return await reader.read(1)
    except OSError:
        return b""
    finally:
        writer.transport.abort()


type Attempt = Callable[[Scene], Awaitable[bytes]]


async def by_psk(scene: Scene, spoil: Callable[[str, bytes], tuple[str, bytes]]) -> bytes:
    return await knock(scene.link.classical, lax(offers=spoil(*scene.newest_psk())))


async def by_replay(scene: Scene) -> bytes:
    """Say again all that Alice has said on her last line."""
    said = scene.wire.said[-1]
    assert f"qkd1:{scene.link.home.link}:alice:".encode() in said, "identities go in clear"
    answer = await knock(scene.link.classical, None, said)
    assert answer in (b"", b"\x15", b"\x16"), "TLS records, perhaps; never an open line"
    return b""


AT_THE_KEYED_PORT: dict[str, tuple[Attempt, str]] = {
    "certificate of the right authority, another name": (
        lambda scene: knock(scene.link.classical, lax(shows=scene.folder(EVE))),
        "a certificate opens nothing here",
    ),
    "Alice's own certificate, stolen": (
        lambda scene: knock(scene.link.classical, lax(shows=scene.folder(ALICE))),
        "a certificate opens nothing here",
    ),
    "self-signed certificate": (
        lambda scene: knock(scene.link.classical, lax(shows=scene.folder(SELF_SIGNED))),
        "a certificate opens nothing here",
    ),
    "certificate of the apparatus": (
        lambda scene: knock(scene.link.classical, lax(shows=scene.folder(APPARATUS))),
        "a certificate opens nothing here",
    ),
    "wrong key": (
        lambda scene: by_psk(scene, lambda identity, key: (identity, bytes(reversed(key)))),
        "has another key under this name",
    ),
    "unknown identity": (
        lambda scene: by_psk(scene, lambda identity, key: (f"{identity}00", key)),
        "which is not, or no longer, valid here",
    ),
    "identity of another link": (
        lambda scene: by_psk(scene, lambda identity, key: (identity.replace("link-1", "link-2"), key)),
        "which is no key of alice on this link",
    ),
    "the listener's own role": (
        lambda scene: by_psk(scene, lambda identity, key: (identity.replace("alice", "bob"), key)),
        "which is no key of alice on this link",
    ),
    "TLS 1.2": (
        lambda scene: knock(scene.link.classical, lax(version=ssl.TLSVersion.TLSv1_2)),
        "does not speak TLS 1.3",
    ),
    "no TLS": (
        lambda scene: knock(scene.link.classical, None, b"GET / HTTP/1.1\r\n\r\n"),
        "does not speak TLS",
    ),
    "replayed ClientHello": (by_replay, ""),
}


async def running(scene: Scene) -> None:
    """Start both nodes and wait until they are past the latch."""
    scene.link.start_here(BOB)
    scene.link.start_here(ALICE)
    await until(lambda: len(scene.link.journal(BOB).keys) >= 3, "a link that runs on its own keys")


async def check_that_the_link_goes_on(scene: Scene) -> None:
    """More keys and epochs come, on both sides alike, and no line was lost."""
    journals = {name: scene.link.journal(name) for name in NODES}
    keys, epochs = len(journals[BOB].keys), len(journals[BOB].of(EpochBegan))
    await until(lambda: len(journals[BOB].keys) >= keys + 4, "more keys")
    await until(lambda: len(journals[BOB].of(EpochBegan)) > epochs, "the next epoch")
    assert journals[BOB].keys.items() >= dict(list(journals[ALICE].keys.items())[:-1]).items()
    for journal in journals.values():
        assert not journal.of(LineLost)
        assert all(ended.secret_bits for ended in journal.of(BlockEnded))
        assert [began.authenticated_by for began in journal.of(EpochBegan)].count("mutual-tls") == 1


async def test_nobody_gets_in_at_the_keyed_port_of_a_running_link(tmp_path: Path) -> None:
    async with scene(tmp_path) as under_attack:
        await running(under_attack)
        refused = under_attack.link.journal(BOB).of
        for name, (attempt, reason) in AT_THE_KEYED_PORT.items():
            before = len(refused(PeerRefused))
            assert await attempt(under_attack) == b"", name
            await until(lambda: len(refused(PeerRefused)) > before, f"the refusal: {name}")  # noqa: B023
            assert any(reason in each.reason for each in refused(PeerRefused)[before:]), name
        await check_that_the_link_goes_on(under_attack)


async def test_the_keyed_port_opens_to_the_right_key_alone(tmp_path: Path) -> None:
    """The attempts above fail for their faults: without them, they would have got in."""
    async with scene(tmp_path) as under_attack:
        await running(under_attack)
        assert await by_psk(under_attack, lambda identity, key: (identity, key)) == ACCEPTED


async def test_a_stale_session_opens_nothing_after_the_next_epoch(tmp_path: Path) -> None:
    async with scene(tmp_path) as under_attack:
        await running(under_attack)
        address, context = under_attack.link.classical, lax(offers=under_attack.newest_psk())
        reader, writer = await asyncio.open_connection(
            address.host, address.port, ssl=context, server_hostname="bob"
        )
        assert await reader.read(1) == ACCEPTED
        session = writer.get_extra_info("ssl_object").session
        assert not session.has_ticket
        writer.transport.abort()
        before = len(under_attack.link.journal(BOB).of(EpochBegan))
        await until(lambda: len(under_attack.link.journal(BOB).of(EpochBegan)) > before + 1, "two epochs")
        assert await asyncio.to_thread(resume, address, context, session) == b""
        assert await knock(address, context) == b"", "nor does the key that it was made with"


def resume(address: Address, context: ssl.SSLContext, session: ssl.SSLSession) -> bytes:
    """Dial with a session of an earlier line."""
    line = socket.create_connection((address.host, address.port), timeout=5)
    try:
        with context.wrap_socket(line, server_hostname="bob", session=session) as tls:
            return tls.recv(1)
    except OSError:
        return b""


AT_THE_BOOTSTRAP_PORT: dict[str, tuple[Callable[[Scene], ssl.SSLContext | None], str]] = {
    "certificate of the right authority, another name": (
        lambda scene: lax(shows=scene.folder(EVE)),
        'the peer\'s certificate is for "eve", but this node expects "alice"',
    ),
    "Bob's own certificate": (lambda scene: lax(shows=scene.folder(BOB)), "leads back to this very node"),
    "self-signed certificate": (
        lambda scene: lax(shows=scene.folder(SELF_SIGNED)),
        "self-signed, not from this link's authority",
    ),
    "certificate of the apparatus": (
        lambda scene: lax(shows=scene.folder(APPARATUS)),
        "comes from another authority than this link's",
    ),
    "expired certificate": (lambda scene: lax(shows=scene.folder(EXPIRED)), "has expired"),
    "no certificate": (lambda _: lax(), "shows no certificate"),
    "a key instead": (
        lambda scene: lax(offers=(psk_identity(scene.link.home.link, "ab" * 16 + "/1"), bytes(32))),
        "shows no certificate",
    ),
    "TLS 1.2": (
        lambda scene: lax(shows=scene.folder(ALICE), version=ssl.TLSVersion.TLSv1_2),
        "does not speak TLS 1.3",
    ),
    "no TLS": (lambda _: None, "does not speak TLS"),
}


async def test_nobody_else_gets_in_at_the_bootstrap_port_and_afterwards_nobody_at_all(tmp_path: Path) -> None:
    async with scene(tmp_path) as under_attack:
        link = under_attack.link
        link.start_here(BOB)
        for name, (context, reason) in AT_THE_BOOTSTRAP_PORT.items():
            journal = link.journal(BOB)
            before = -1
            while before < 0 or len(journal.of(PeerRefused)) == before:  # until Bob listens
                before = len(journal.of(PeerRefused))
                assert await knock(link.bootstrap, context(under_attack), b"GET / HTTP/1.1\r\n\r\n") == b"", (
                    name
                )
                await asyncio.sleep(0.02)
            assert any(reason in each.reason for each in journal.of(PeerRefused)[before:]), name
        assert not link.journal(BOB).of(EpochBegan)
        link.start_here(ALICE)
        await until(lambda: len(link.journal(BOB).keys) >= 3, "a link that runs on its own keys")
        for name in (EVE, ALICE, SELF_SIGNED, APPARATUS):
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(link.bootstrap.host, link.bootstrap.port)
            assert await knock(link.bootstrap, lax(shows=under_attack.folder(name))) == b""
        await check_that_the_link_goes_on(under_attack)


# --- in Bob's place ---------------------------------------------------------------------------------------


def in_bobs_place(shows: Path | None, key: bytes | None) -> ssl.SSLContext:
    """A server that takes everybody, with a certificate, a key of its own, or both."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_NONE
    if shows is not None:
        context.load_cert_chain(shows / "certificate.pem", shows / "private-key.pem")
    if key is not None:
        context.set_psk_server_callback(lambda _: key)
    return context


async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say what Bob would say to whoever comes through."""
    writer.write(ACCEPTED)
    await reader.read()
    writer.close()


async def reflect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say what is heard."""
    while piece := await reader.read(4096):
        writer.write(piece)
    writer.close()


@asynccontextmanager
async def impostor(context: ssl.SSLContext | None) -> AsyncIterator[Address]:
    """Listen in Bob's place; without a context, reflect."""
    server = await asyncio.start_server(accept if context else reflect, LOOPBACK, 0, ssl=context)
    try:
        yield Address(LOOPBACK, server.sockets[0].getsockname()[1])
    finally:
        server.close()
        server.abort_clients()


async def test_whoever_takes_bobs_place_is_refused_and_the_link_goes_on_with_its_key(tmp_path: Path) -> None:
    async with scene(tmp_path) as under_attack:
        link, wire = under_attack.link, under_attack.wire
        asyncio.get_running_loop().set_exception_handler(
            lambda *_: None
        )  # what befalls impostors is their affair
        await running(under_attack)
        cases = {
            "Bob's own certificate, stolen": in_bobs_place(under_attack.folder(BOB), None),
            "certificate of the right authority": in_bobs_place(under_attack.folder(EVE), None),
            "self-signed certificate": in_bobs_place(under_attack.folder(SELF_SIGNED), None),
            "wrong key": in_bobs_place(None, bytes(32)),
            "certificate and wrong key": in_bobs_place(under_attack.folder(BOB), bytes(32)),
            "her own bytes": None,
        }
        for name, context in cases.items():
            began, told = partial(link.journal(ALICE).of, EpochBegan), partial(_told, link)
            met, before = len(began()), len(told())
            async with impostor(context) as there:
                wire.lead_to(there)
                wire.cut()
                await until(lambda: len(told()) >= before + 2, f"the refusal: {name}")  # noqa: B023
            assert len(began()) == met, name
            wire.lead_to(link.classical)
            await until(lambda: len(began()) > met, "the line to Bob")  # noqa: B023
            keys = len(link.journal(BOB).keys)
            await until(lambda: len(link.journal(BOB).keys) > keys, "another key")  # noqa: B023
        ways = [each.authenticated_by for each in began()]
        assert ways.count("mutual-tls") == 1


def _told(link: Bench) -> list[str]:
    """Why Alice has left a line or refused somebody."""
    return [each.reason for each in link.journal(ALICE).events if isinstance(each, LineLost | PeerRefused)]
