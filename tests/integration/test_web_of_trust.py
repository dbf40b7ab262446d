"""Who gets onto a link whose nodes know each other by node cards: over real sockets, and with GnuPG itself."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from qkdlink.common.errors import CredentialsError, LinkError
from qkdlink.common.journal.events import BlockEnded, EpochBegan, PeerRefused
from qkdlink.common.protocol.roles import Role
from qkdlink.common.transport import carded, connections
from qkdlink.common.transport.connections import ACCEPTED, Connection
from qkdlink.common.trust.anchor import AnchorName
from qkdlink.common.trust.card_holder import CardHolder, HolderFiles
from qkdlink.common.trust.credentials import verify_signature
from qkdlink.common.trust.node_card import LARGEST_CARD_BYTES, NODE_CARD_FILE, CardRole, user_id
from qkdlink.common.trust.openpgp import Keyring
from qkdlink.common.trust.pki import Validity
from qkdlink.deployment.certificates.card_making import (
    CARD_CERTIFICATE_FILE,
    CARD_PRIVATE_KEY_FILE,
    Wish,
    make_card,
)
from qkdlink.deployment.certificates.openpgp_signing import signing_in
from qkdlink.deployment.homes.home import open_home
from qkdlink.deployment.homes.names import ALICE, BOB
from qkdlink.deployment.homes.security import Security
from qkdlink.deployment.homes.web_of_trust import KEYRING_FOLDER, furnish_web_of_trust
from qkdlink.deployment.launching.link_result import run_to_the_end
from qkdlink.deployment.launching.link_run import LinkRun
from tests.support.processes import bench, small_parameters, until
from tests.support.society import LINK, Person, Society, needs_gpg, person, society

pytestmark = needs_gpg
LOOPBACK = "127.0.0.1"
PAST = Validity(datetime.now(UTC) - timedelta(days=20), datetime.now(UTC) - timedelta(days=10))


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Society:
    return society(tmp_path_factory.mktemp("society"))


@dataclass
class Listener:
    """A listening end that remembers what happened at it."""

    port: int = 0
    accepted: list[Connection] = field(default_factory=list)
    refused: asyncio.Queue[str] = field(default_factory=asyncio.Queue)

    async def welcome(self, connection: Connection) -> None:
        self.accepted.append(connection)
        connection.writer.write(await connection.reader.readexactly(5))
        await connection.writer.drain()

    async def refusal(self) -> str:
        async with asyncio.timeout(5):
            return await self.refused.get()


@asynccontextmanager
async def listening(holder: CardHolder) -> AsyncIterator[Listener]:
    listener = Listener()
    async with carded.listen(LOOPBACK, 0, holder, listener.welcome, listener.refused.put_nowait) as door:
        listener.port = door.port
        yield listener


async def test_both_ends_know_each_other_by_the_introducers_word(people: Society) -> None:
    alice, bob = people.holder(Role.ALICE), people.holder(Role.BOB)
    async with listening(bob) as there:
        connection = await carded.dial(LOOPBACK, there.port, alice)
        connection.writer.write(b"hello")
        assert await connection.reader.readexactly(5) == b"hello"
        await connection.close()
    assert connection.peer.name == "bob"
    assert there.accepted[0].peer.name == "alice"
    assert there.accepted[0].peer.certificate_der == alice.credentials.certificate_der
    assert verify_signature(
        connection.peer.certificate_der, b"checkpoint", bob.credentials.sign(b"checkpoint")
    )
    assert there.refused.empty()


# --- cards that are refused, at each end ------------------------------------------------------------------


def wishes(node: str, role: CardRole) -> dict[str, tuple[Wish, str]]:
    other = CardRole.BOB if role is CardRole.ALICE else CardRole.ALICE
    return {
        "link": (Wish("link-2", node, role), 'for the link "link-2", but this link is "link-1"'),
        "role": (
            Wish(LINK, node, other),
            f"says that {node} is the link's {other}, but it has to be its {role}",
        ),
        "name": (Wish(LINK, "eve", role), f'for the node "eve", but this node expects "{node}"'),
        "time": (Wish(LINK, node, role, PAST), f"the card of {node} expired at"),
    }


@pytest.mark.parametrize("fault", ["link", "role", "name", "time"])
async def test_a_card_for_another_place_or_time_is_refused_at_both_ends(
    people: Society, tmp_path: Path, fault: str
) -> None:
    for role, who in ((Role.ALICE, people.alice), (Role.BOB, people.bob)):
        wish, reason = wishes(who.home.name, CardRole.of(role))[fault]
        folder = tmp_path / who.home.name
        shown = people.shown_by(role, _with_card(who, folder, wish))
        await refused(people, role, shown, reason)


def _with_card(who: Person, folder: Path, wish: Wish) -> Person:
    with who.hand() as hand:
        make_card(folder, wish, hand, who.key)
    return replace(who, home=folder)


async def refused(people: Society, role: Role, shown: CardHolder, reason: str) -> None:
    """The end of `role` shows what it should not; the other end says why not, and this one that it was refused."""
    if role is Role.ALICE:
        async with listening(people.holder(Role.BOB)) as there:
            with pytest.raises(CredentialsError, match=r"bob at .*the peer does not take our c"):
                await carded.dial(LOOPBACK, there.port, shown)
            assert reason in await there.refusal()
            assert not there.accepted
        return
    async with listening(shown) as there:
        with pytest.raises(CredentialsError) as caught:
            await carded.dial(LOOPBACK, there.port, people.holder(Role.ALICE))
        assert reason in str(caught.value)
        await there.refusal()
        assert not there.accepted


async def test_a_stranger_is_refused_at_both_ends(people: Society) -> None:
    for role in Role:
        name = role.word
        stranger = person(people.folder, f"stranger-{name}", user_id(LINK, name))
        with stranger.hand() as hand:
            make_card(stranger.home, Wish(LINK, name, CardRole.of(role)), hand, stranger.key)
        await refused(people, role, people.shown_by(role, stranger), "does not have the key that signed it")


async def test_a_card_that_nobody_vouches_for_is_refused_at_both_ends(people: Society) -> None:
    alone = person(people.folder, "alone", "somebody who knows both, and no introducer")
    with alone.hand() as hand:
        hand.gpg("--import", data=people.alice.public)
        hand.gpg("--import", data=people.bob.public)
    keyring = Keyring.open(alone.keyring)
    async with listening(replace(people.holder(Role.BOB), keyring=keyring)) as there:
        with pytest.raises(CredentialsError, match="does not take our card, and then its journal says why"):
            await carded.dial(LOOPBACK, there.port, people.holder(Role.ALICE))
        assert "no introducer whom this node's keyring trusts" in await there.refusal()
    async with listening(people.holder(Role.BOB)) as there:
        with pytest.raises(CredentialsError, match="no introducer whom this node's keyring trusts"):
            await carded.dial(LOOPBACK, there.port, replace(people.holder(Role.ALICE), keyring=keyring))
        assert not there.accepted


async def test_the_right_card_with_another_certificate_is_refused_at_both_ends(people: Society) -> None:
    """Cards are public: whoever has copied one still lacks the key."""
    for role, who in ((Role.ALICE, people.alice), (Role.BOB, people.bob)):
        own = people.holder(role)
        thief = _with_card(
            who, people.folder / f"thief-{who.home.name}", Wish(LINK, own.node, CardRole.of(role))
        )
        copied = replace(people.shown_by(role, thief), card=own.card)
        await refused(people, role, copied, "another certificate in TLS than the one on its card")


async def test_a_node_that_meets_itself_is_refused_at_both_ends(people: Society) -> None:
    alice = people.holder(Role.ALICE)
    async with listening(alice) as mirror:
        with pytest.raises(CredentialsError, match="does not take our card"):
            await carded.dial(LOOPBACK, mirror.port, alice)
        assert "leads back to this very node" in await mirror.refusal()
    async with talking(lambda card: card) as port:
        with pytest.raises(CredentialsError, match="leads back to this very node"):
            await carded.dial(LOOPBACK, port, alice)


# --- what is said in clear --------------------------------------------------------------------------------


@asynccontextmanager
async def talking(answer: Callable[[bytes], bytes]) -> AsyncIterator[int]:
    """Listen in Bob's place, and answer a card in clear; then keep the line open."""

    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said = await reader.readexactly(int.from_bytes(await reader.readexactly(4)))
        writer.write(answer(len(said).to_bytes(4) + said))
        await reader.read()
        writer.close()

    server = await asyncio.start_server(reply, LOOPBACK, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        server.abort_clients()


def framed(holder: CardHolder) -> bytes:
    card = holder.card.to_bytes()
    return len(card).to_bytes(4) + card


async def test_words_put_behind_bobs_card_are_never_taken_for_his(people: Society) -> None:
    behind = framed(people.holder(Role.BOB)) + ACCEPTED + b"and whatever else"
    async with talking(lambda _: behind) as port:
        with pytest.raises(CredentialsError, match="went on talking in clear after its card"):
            await carded.dial(LOOPBACK, port, people.holder(Role.ALICE))


async def test_words_put_behind_alices_card_are_never_taken_for_hers(people: Society) -> None:
    async with listening(people.holder(Role.BOB)) as there:
        reader, writer = await asyncio.open_connection(LOOPBACK, there.port)
        writer.write(framed(people.holder(Role.ALICE)) + b"hello")
        assert "went on talking in clear after its card" in await there.refusal()
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await reader.readexactly(1)
        writer.close()
        assert not there.accepted


async def test_tls_that_comes_while_bob_still_reads_cards_is_not_swallowed(
    people: Society, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alice's first word of TLS waits in Bob's socket for as long as he needs to begin."""
    show = carded._show

    async def show_and_dawdle(writer: asyncio.StreamWriter, holder: CardHolder) -> None:
        await show(writer, holder)
        if holder.role is Role.BOB:
            await asyncio.sleep(0.2)

    monkeypatch.setattr(carded, "_show", show_and_dawdle)
    async with listening(people.holder(Role.BOB)) as there:
        connection = await carded.dial(LOOPBACK, there.port, people.holder(Role.ALICE))
        await connection.close()
    assert there.accepted


STRANGE_WORDS = {
    "nothing": (b"", "handshake was broken off"),
    "half a card": ((100).to_bytes(4) + b"{", "without a whole card"),
    "TLS at once": (b"\x16\x03\x01\x02\x00" + bytes(512), "does not begin with a node card"),
    "a card of no length": (bytes(4), "does not begin with a node card"),
    "a card too long": ((LARGEST_CARD_BYTES + 1).to_bytes(4), "does not begin with a node card"),
    "no card": ((2).to_bytes(4) + b"{}", "this is not a node card"),
    "garbage": ((64).to_bytes(4) + os.urandom(64), "this is not a node card"),
}


async def test_whoever_says_anything_but_a_card_is_told_and_the_listener_goes_on(people: Society) -> None:
    async with listening(people.holder(Role.BOB)) as there:
        for name, (words, reason) in STRANGE_WORDS.items():
            _, writer = await asyncio.open_connection(LOOPBACK, there.port)
            writer.write(words)
            writer.write_eof()
            assert reason in await there.refusal(), name
            writer.transport.abort()
        connection = await carded.dial(LOOPBACK, there.port, people.holder(Role.ALICE))
        await connection.close()


async def test_whoever_shows_a_card_and_leaves_has_said_nothing_else(people: Society) -> None:
    async with listening(people.holder(Role.BOB)) as there:
        _, writer = await asyncio.open_connection(LOOPBACK, there.port)
        writer.write(framed(people.holder(Role.ALICE)))
        writer.write_eof()
        assert "in clear" not in await there.refusal()
        writer.close()


async def test_gpg_is_not_asked_about_cards_that_do_not_fit(people: Society, tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    (tmp_path / "gpg").write_text(f"#!/bin/sh\ntouch {asked}\n")
    (tmp_path / "gpg").chmod(0o755)
    bob = replace(people.holder(Role.BOB), keyring=Keyring(people.bob.keyring, str(tmp_path / "gpg")))
    for shown, reaches in ((people.holder(Role.BOB), False), (people.holder(Role.ALICE), True)):
        async with listening(bob) as there:
            _, writer = await asyncio.open_connection(LOOPBACK, there.port)
            writer.write(framed(shown))
            await there.refusal()
            writer.close()
        assert asked.exists() is reaches


async def test_a_silent_stranger_is_dropped_when_its_time_is_over(
    people: Society, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HANDSHAKE_TIMEOUT_S", 0.2)
    async with listening(people.holder(Role.BOB)) as there:
        reader, writer = await asyncio.open_connection(LOOPBACK, there.port)
        assert "no answer in time" in await there.refusal()
        assert await reader.read() == b""
        writer.close()


async def test_a_silent_listener_is_given_up(people: Society) -> None:
    async with talking(lambda _: b"") as port:
        with pytest.raises(LinkError, match="no answer in time"):
            await carded.dial(LOOPBACK, port, people.holder(Role.ALICE), timeout_s=0.3)


async def test_a_peer_with_another_anchor_is_told_from_a_stranger(people: Society) -> None:
    async with talking(lambda _: b"\x15\x03\x03\x00\x02\x02\x28") as port:
        with pytest.raises(CredentialsError, match="it may have another trust anchor"):
            await carded.dial(LOOPBACK, port, people.holder(Role.ALICE))


# --- nodes ------------------------------------------------------------------------------------------------


async def test_two_processes_begin_their_link_in_the_web_of_trust_and_make_equal_keys(tmp_path: Path) -> None:
    home = open_home(tmp_path / ("a-long-name" * 12) / "home")
    furnish_web_of_trust(home.node(ALICE), home.node(BOB), home.link)
    security = Security(AnchorName.WEB_OF_TRUST)
    result = await run_to_the_end(home, LinkRun(small_parameters(pulses=60_000), blocks=4, security=security))
    told = result.as_json()
    assert told["keys_equal"]
    assert told["bootstrap"]["anchor"] == "web-of-trust"
    assert told["blocks"][0]["authenticated_by"] == "certificate-signature"
    assert told["blocks"][-1]["authenticated_by"] == "wegman-carter"
    ways = [epoch["authenticated_by"] for epoch in told["epochs"]]
    assert ways[:2] == ["mutual-tls-node-cards", "tls-psk"]
    secrets = [secret for name in (ALICE, BOB) for secret in _secrets(home.node(name))]
    for name in (ALICE, BOB):
        journal = (home.node(name) / "journal.jsonl").read_bytes()
        assert not [secret for secret in secrets if secret in journal]


def _secrets(home: Path) -> list[bytes]:
    pem = (home / CARD_PRIVATE_KEY_FILE).read_bytes().splitlines()[1:-1]
    keys = [file.read_bytes() for file in (home / KEYRING_FOLDER / "private-keys-v1.d").iterdir()]
    return pem + [line for key in keys for line in key.splitlines() if len(line) > 16]


async def test_strangers_are_refused_before_the_latch_and_everybody_after_it(
    people: Society, tmp_path: Path
) -> None:
    async with bench(tmp_path / "home", small_parameters(pulses=60_000), blocks=0) as link:
        for who in (people.alice, people.bob):
            for file in (NODE_CARD_FILE, CARD_CERTIFICATE_FILE, CARD_PRIVATE_KEY_FILE):
                shutil.copy2(who.home / file, link.home.node(who.home.name) / file)
            link.change(who.home.name, {"trust": {"anchor": "web-of-trust", "keyring": str(who.keyring)}})
        link.start_here(BOB)
        own = people.holder(Role.ALICE)
        thief = _with_card(people.alice, tmp_path / "thief", Wish(LINK, "alice", CardRole.ALICE))
        copied = replace(people.shown_by(Role.ALICE, thief), card=own.card)
        journal = link.journal(BOB)
        while not journal.of(PeerRefused):  # until Bob listens
            with pytest.raises((CredentialsError, LinkError)):
                await carded.dial(LOOPBACK, link.bootstrap.port, copied)
        assert "another certificate in TLS" in journal.of(PeerRefused)[0].reason
        link.start_here(ALICE)
        await until(
            lambda: any(ended.authenticated_by == "wegman-carter" for ended in journal.of(BlockEnded)),
            "a link that runs on its own keys",
        )
        began = [began.authenticated_by for began in journal.of(EpochBegan)]
        assert list(dict.fromkeys(began)) == ["mutual-tls-node-cards", "tls-psk"]  # the first block may fail
        with pytest.raises(LinkError, match="nobody listens there"):
            await carded.dial(LOOPBACK, link.bootstrap.port, own)


async def test_without_gnupg_a_node_does_not_start_and_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    files = HolderFiles(*(tmp_path / name for name in ("card", "certificate", "key", "gnupg")))
    with pytest.raises(CredentialsError, match=r"the web of trust needs GnuPG, .* install the package gnupg"):
        CardHolder.load(files, LINK, ("alice", "bob"), Role.ALICE, datetime.now(UTC))
    with pytest.raises(CredentialsError, match="install the package gnupg"), signing_in(tmp_path):
        pytest.fail("signing without gpg")
