"""Keys that re-key their own line: epochs, reconnections, the latch, and what happens when a store is missing.

Broker, sockets and TLS are real; both nodes are tasks of this process.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from qkdlink.alice.greeting import greet
from qkdlink.bob.session import Session
from qkdlink.bob.station import Bob
from qkdlink.commands import keys as keys_command
from qkdlink.common.errors import CredentialsError, LinkError
from qkdlink.common.journal.events import EpochBegan, LineLost, PeerRefused, RekeyingPostponed
from qkdlink.common.keys.allotment import TAG_BITS, Purpose
from qkdlink.common.keys.derivation import key_id, link_psk, psk_identity
from qkdlink.common.keys.identifiers import BlockId
from qkdlink.common.protocol.greeting import Introduction, link_conversation
from qkdlink.common.protocol.high_water import Marks
from qkdlink.common.protocol.parameters import LinkParameters
from qkdlink.common.protocol.rekeying import MOST_BOOTSTRAP_KEYS, MOST_LIVE_EPOCHS
from qkdlink.common.protocol.roles import Role
from qkdlink.common.store.key_store import KeyStore
from qkdlink.common.store.opening import STORE_FILE, STORE_KEY_FILE
from qkdlink.common.transport.addresses import Address
from qkdlink.common.transport.certified import dial
from qkdlink.common.transport.channel import ClassicalChannel
from qkdlink.common.transport.connections import Connection, is_anybody_at
from qkdlink.common.transport.psk import NO_COMMON_KEY, dial_psk
from qkdlink.common.transport.tls import PeerIdentity
from qkdlink.common.trust import pki
from qkdlink.common.trust.credentials import CredentialFiles, NodeCredentials
from qkdlink.common.trust.pki import Validity
from qkdlink.deployment.brokers.ports import LOOPBACK, free_port
from qkdlink.deployment.homes.names import ALICE, BOB
from tests.support.processes import Bench, LocalNode, bench, small_parameters, until
from tests.support.told_records import assert_all_is_recorded
from tests.support.wire import Wire, wire_to

TINY = small_parameters(pulses=60_000)
IMPATIENT = {"backoff_first_s": 0.02, "backoff_longest_s": 0.1}
"""Some seven hundred secret bits, in a tenth of a second."""
NEVER = 1_000_000
NODES = (ALICE, BOB)


@asynccontextmanager
async def link_of(folder: Path, parameters: LinkParameters = TINY, **alice: object) -> AsyncIterator[Bench]:
    async with bench(folder / "home", parameters) as link:
        link.change(ALICE, {"blocks_in_flight": 1, "blocks": 0, **IMPATIENT, **alice})
        yield link


@asynccontextmanager
async def wired(folder: Path, **alice: object) -> AsyncIterator[tuple[Bench, Wire]]:
    """Run a link whose PSK line can be cut."""
    async with link_of(folder, **alice) as link, wire_to(link.classical) as wire:
        link.change(ALICE, {"classical": {"address": str(wire.address)}})
        yield link, wire


async def to_the_end(link: Bench, *, seed: int | None = None) -> tuple[LocalNode, LocalNode]:
    """Run both nodes until Alice has made her blocks and Bob has settled them."""
    bob, alice = link.start_here(BOB, seed=seed), link.start_here(ALICE, seed=seed)
    await alice.task
    await until(lambda: len(link.journal(BOB).blocks) == len(link.journal(ALICE).blocks), "Bob's last block")
    await bob.stop()
    return alice, bob


async def until_keys(link: Bench, count: int) -> None:
    await until(lambda: len(link.journal(BOB).keys) >= count, f"{count} keys")


async def until_latched(link: Bench) -> None:
    await until(lambda: all(epochs(link, name)[1:] for name in NODES), "the first epoch")


async def until_listening(link: Bench) -> None:
    for _ in range(500):
        if await is_anybody_at(link.bootstrap.host, link.bootstrap.port):
            return
        await asyncio.sleep(0.02)
    pytest.fail("Bob does not listen")


def epochs(link: Bench, name: str) -> list[EpochBegan]:
    return link.journal(name).of(EpochBegan)


def psk_of(link: Bench, name: str, block_id: BlockId) -> bytes:
    with closing(KeyStore.of(link.home.node(name))) as store:
        material = store.material(block_id, Purpose.LINK_PSK)
    assert material is not None
    return link_psk(material, link.home.link, key_id(block_id))


# --- epochs -----------------------------------------------------------------------------------------------


async def test_after_the_first_confirmed_block_the_line_rests_on_its_key(tmp_path: Path) -> None:
    async with link_of(tmp_path, blocks=4) as link:
        alice, bob = await to_the_end(link)
        assert alice.fingerprint == bob.fingerprint is not None
        for name in NODES:
            first, second = epochs(link, name)
            assert (first.authenticated_by, first.key_id, first.epoch) == ("mutual-tls", None, 0)
            assert (second.authenticated_by, second.epoch, second.tls_version) == ("tls-psk", 1, "TLSv1.3")
            assert second.key_id == f"{first.session}/1"
            assert second.peer_fingerprint is None
            by = [ended.authenticated_by for ended in link.journal(name).blocks.values()]
            assert by == ["certificate-signature", *3 * ["wegman-carter"]]
            with closing(KeyStore.of(link.home.node(name))) as store:
                balance = store.balance()
                assert balance.spent["link-psk"] == balance.psk_bits == 256
                assert sum(balance.spent.values()) - 256 == balance.authentication_bits == 3 * 2 * TAG_BITS
                assert (store.epoch().number, store.epoch().key_id) == (1, second.key_id)
                assert store.epoch().latched
        assert_all_is_recorded(link)


async def test_an_epoch_may_end_with_each_block_and_no_block_is_lost(tmp_path: Path) -> None:
    async with link_of(tmp_path, blocks=10, rekey_blocks=1) as link:
        alice, bob = await to_the_end(link)
        assert alice.fingerprint == bob.fingerprint is not None
        assert len(link.journal(ALICE).keys) == 10
        assert link.journal(ALICE).keys == link.journal(BOB).keys
        began = epochs(link, ALICE)
        assert [each.epoch for each in began] == list(range(10))
        assert [each.key_id for each in began[1:]] == [
            block.removeprefix("link-1/") for block in list(link.journal(ALICE).keys)[:-1]
        ]
        assert [(each.epoch, each.session, each.key_id) for each in epochs(link, BOB)] == [
            (each.epoch, each.session, each.key_id) for each in began
        ]
        for name in NODES:
            assert not link.journal(name).of(LineLost)
            assert not link.journal(name).of(PeerRefused)
            with closing(KeyStore.of(link.home.node(name))) as store:
                balance = store.balance()
                assert balance.spent["link-psk"] == balance.psk_bits == 9 * 256
                assert (
                    sum(balance.spent.values()) - 9 * 256 == balance.authentication_bits == 9 * 2 * TAG_BITS
                )
                assert [block.number for block in store.link_psks()] == [10, 9]


async def test_an_epoch_may_end_by_time(tmp_path: Path) -> None:
    async with link_of(tmp_path, blocks=8, rekey_blocks=NEVER, rekey_seconds=0.2) as link:
        alice, bob = await to_the_end(link)
        assert alice.fingerprint == bob.fingerprint is not None
        began = epochs(link, ALICE)
        assert 3 <= len(began) <= 8
        blocks_of = [list(link.journal(ALICE).keys)[n].split("/")[1] for n in range(8)]
        assert len(set(blocks_of)) == len(began)


async def test_with_many_blocks_in_flight_no_more_than_two_epochs_live_and_no_block_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    living: list[int] = []
    admit = Bob._admit

    def admit_and_count(node: Bob, key: BlockId | None, session: Session) -> None:
        living.append(len(node._sessions.keys() | {key}))
        admit(node, key, session)

    monkeypatch.setattr(Bob, "_admit", admit_and_count)
    async with link_of(tmp_path, blocks=16, rekey_blocks=1, blocks_in_flight=4) as link:
        alice, bob = await to_the_end(link)
        assert alice.fingerprint == bob.fingerprint is not None
        assert len(link.journal(ALICE).keys) == 16
        assert link.journal(ALICE).keys == link.journal(BOB).keys
        assert not [lost for name in NODES for lost in link.journal(name).of(LineLost)]
    assert len(living) >= 4
    assert max(living) == MOST_LIVE_EPOCHS, "before the oldest would have had to go"


async def test_a_due_epoch_without_a_newer_key_goes_on_and_says_so_once(tmp_path: Path) -> None:
    # failing blocks cost tags, too: the reserve has to last for them
    async with link_of(tmp_path, small_parameters(), rekey_blocks=1, light_patience_s=0.3) as link:
        bob_node = link.start_here(BOB)
        link.start_here(ALICE)
        await until_latched(link)
        await bob_node.stop()
        (link.home.node(BOB) / "light-seal.key").write_text(
            "ab" * 32 + "\n"
        )  # from now on no light gets through
        before = len(epochs(link, ALICE))
        link.start_here(BOB, light_patience_s=0.3)
        await until(lambda: len(epochs(link, ALICE)) > before, "Bob's return")
        done = len(link.journal(ALICE).blocks)
        await until(lambda: len(link.journal(ALICE).blocks) >= done + 4, "four blocks without a key")
        last = epochs(link, ALICE)[-1]
        told = [each.reason for each in link.journal(ALICE).of(RekeyingPostponed) if each.epoch == last.epoch]
        assert told == ["there is no newer key yet"]
        assert len(epochs(link, ALICE)) == before + 1
        lost = [ended.aborted for ended in list(link.journal(ALICE).blocks.values())[done:]]
        assert set(lost) == {"light-lost"}


async def test_a_seed_decides_the_same_keys_with_and_without_rekeying(tmp_path: Path) -> None:
    fingerprints = set()
    for rekey_blocks in (1, NEVER):
        parameters = small_parameters(pulses=60_000, reproducible=True)
        folder = tmp_path / f"every-{rekey_blocks}"
        async with bench(folder, parameters, blocks=5, blocks_in_flight=1, rekey_blocks=rekey_blocks) as link:
            alice, bob = await to_the_end(link, seed=7)
            assert alice.fingerprint == bob.fingerprint is not None
            assert len(epochs(link, ALICE)) == (5 if rekey_blocks == 1 else 2)
            fingerprints.add(alice.fingerprint)
    assert len(fingerprints) == 1


# --- reconnections ------------------------------------------------------------------------------------------


async def test_a_line_cut_within_its_epoch_is_dialled_again_with_the_same_key_however_often(
    tmp_path: Path,
) -> None:
    async with wired(tmp_path, rekey_blocks=NEVER) as (link, wire):
        link.change(ALICE, {"light_patience_s": 20.0})
        alice_node, bob_node = link.start_here(ALICE), link.start_here(BOB)
        await until_latched(link)
        for attempt in range(3):
            wire.cut()
            await until(lambda: len(epochs(link, ALICE)) >= 3 + attempt, "the line after the cut")  # noqa: B023
        made = len(link.journal(BOB).keys)
        await until_keys(link, made + 2)
        await alice_node.stop()
        await bob_node.stop()
        first_key = epochs(link, ALICE)[1].key_id
        for name in NODES:
            again = epochs(link, name)[1:]
            # a block may have been confirmed between two cuts, and then the newest key is taken
            numbers = [int((each.key_id or "/0").rpartition("/")[2]) for each in again]
            assert numbers == sorted(numbers)
            for one, following in pairwise(again):
                assert (one.epoch == following.epoch) is (one.key_id == following.key_id)
            assert [each.key_id for each in again].count(first_key) >= 2
            with closing(KeyStore.of(link.home.node(name))) as store:
                taken = len({each.key_id for each in again})
                assert store.balance().spent["link-psk"] == taken * 256, "once per epoch, not per connection"
        assert all(each.authenticated_by == "tls-psk" for each in epochs(link, ALICE)[1:])


async def test_the_key_of_an_epoch_opens_nothing_once_the_next_has_begun(tmp_path: Path) -> None:
    async with link_of(tmp_path, rekey_blocks=2) as link:
        link.start_here(BOB)
        link.start_here(ALICE)
        await until_latched(link)
        first = epochs(link, BOB)[1].key_id
        session, _, number = (first or "").rpartition("/")
        block_id = BlockId(link.home.link, session, int(number))
        old = psk_of(link, BOB, block_id)
        await until(lambda: all(len(epochs(link, name)) >= 3 for name in NODES), "the second epoch")
        for name in NODES:
            with closing(KeyStore.of(link.home.node(name))) as store:
                assert store.material(block_id, Purpose.LINK_PSK) is None
        address, identity = link.classical, psk_identity(link.home.link, key_id(block_id))
        with pytest.raises(CredentialsError, match="line was closed at the offer of the key"):
            await dial_psk(address.host, address.port, identity, old, BOB)
        reasons = [each.reason for each in link.journal(BOB).of(PeerRefused)]
        assert any("which is not, or no longer, valid here" in reason for reason in reasons)
        await until_keys(link, len(link.journal(BOB).keys) + 2)


# --- the latch ------------------------------------------------------------------------------------------------


def stolen(link: Bench, name: str = ALICE) -> NodeCredentials:
    """A node's own certificate and private key, in the wrong hands."""
    return NodeCredentials.load(CredentialFiles.in_folder(link.home.node(name)), name, datetime.now(UTC))


async def show_certificate(link: Bench) -> Connection[PeerIdentity]:
    return await dial(link.bootstrap.host, link.bootstrap.port, stolen(link), BOB, timeout_s=5)


async def test_after_the_latch_no_certificate_opens_anything_before_and_after_a_restart_of_either_node(
    tmp_path: Path,
) -> None:
    async with link_of(tmp_path) as link:
        nodes = {BOB: link.start_here(BOB)}
        await until_listening(link)
        await (await show_certificate(link)).close()  # as long as the latch is open, this is how one gets in
        nodes[ALICE] = link.start_here(ALICE)
        await until_latched(link)
        for restarted in (None, ALICE, BOB):
            if restarted is not None:
                await nodes[restarted].stop()
                nodes[restarted] = link.start_here(restarted)
            await until_keys(link, len(link.journal(BOB).keys) + 2)
            with pytest.raises(LinkError, match="nobody listens there"):
                await show_certificate(link)
        for name in NODES:
            began = [each.authenticated_by for each in epochs(link, name)]
            assert began.index("tls-psk") == began.count("mutual-tls")
        assert link.journal(ALICE).keys.items() <= link.journal(BOB).keys.items()


async def test_whoever_shows_a_certificate_in_time_and_dawdles_does_not_get_round_the_latch(
    tmp_path: Path,
) -> None:
    async with link_of(tmp_path) as link:
        link.start_here(BOB)
        await until_listening(link)
        thief = await show_certificate(link)
        link.start_here(ALICE)
        await until_latched(link)
        channel = ClassicalChannel(thief.reader, thief.writer, 1 << 20, 5.0)
        reading = asyncio.create_task(channel.read(lambda _: None))
        conversation = link_conversation(Role.ALICE, link.home.link, channel.line())
        introduction = Introduction(link.home.link, ALICE, BOB, "pki", "wegman-carter", TINY, "ab" * 16, 8)
        with suppress(LinkError):
            await greet(conversation, introduction, _Nothing())
        with pytest.raises(LinkError, match=r"closed the connection|was lost"):
            await channel.lost()
        await asyncio.gather(reading, thief.close(), return_exceptions=True)
        told = [each.reason for each in link.journal(BOB).of(LineLost)]
        assert any("the bootstrap has closed in the meantime" in reason.lower() for reason in told)
        await until_keys(link, len(link.journal(BOB).keys) + 2)
        assert [each.authenticated_by for each in epochs(link, BOB)] == ["mutual-tls", "tls-psk"]


class _Nothing:
    """Somebody without pending blocks."""

    def marks(self) -> Marks:
        return Marks(0, 0, 0, 0)

    def check_marks(self, theirs: Marks, node: str, peer: str) -> None:
        del theirs, node, peer

    async def claims(self, session: str) -> bytes:
        del session
        return b""

    async def answer(self, claims: bytes, session: str) -> tuple[bytes, bytes]:
        del claims, session
        return b"", b""

    async def settle(self, answered: object, session: str) -> None:
        del answered, session


@pytest.mark.parametrize("spoil", ["expired", "gone"])
async def test_after_the_latch_certificates_may_expire_or_go(tmp_path: Path, spoil: str) -> None:
    async with link_of(tmp_path, blocks=3) as link:
        await to_the_end(link)
        for name in NODES:
            folder = link.home.node(name)
            for file in ("certificate.pem", "private-key.pem", "authority.pem"):
                (folder / file).unlink()
            if spoil == "expired":
                yesterday = datetime.now(UTC) - timedelta(days=1)
                ended = Validity(yesterday - timedelta(days=1), yesterday)
                pki.issue(link.home.folder / "ca", name, tmp_path / f"late-{name}", validity=ended)
                for file in ("certificate.pem", "private-key.pem", "authority.pem"):
                    shutil.move(tmp_path / f"late-{name}" / file, folder / file)
        await to_the_end(link)
        assert len(link.journal(ALICE).keys) == 6
        assert [each.authenticated_by for each in epochs(link, ALICE)].count("mutual-tls") == 1


# --- a store that is missing ------------------------------------------------------------------------------------


def lose_store(link: Bench, name: str, *, with_key: bool) -> None:
    for file in (STORE_FILE, f"{STORE_FILE}-journal", *([STORE_KEY_FILE] if with_key else [])):
        (link.home.node(name) / file).unlink(missing_ok=True)


@pytest.mark.parametrize("name", NODES)
async def test_a_node_whose_store_is_gone_does_not_begin_anew_by_itself(tmp_path: Path, name: str) -> None:
    async with link_of(tmp_path, blocks=2) as link:
        await to_the_end(link)
        lose_store(link, name, with_key=False)
        words = await link.start_here(name).last_words()
        assert "is gone, but its key" in words
        assert "qkdlink bootstrap --again" in words


async def test_an_alice_without_her_store_is_told_that_bob_takes_no_certificate(tmp_path: Path) -> None:
    async with link_of(tmp_path, blocks=2) as link:
        await to_the_end(link)
        lose_store(link, ALICE, with_key=True)
        link.start_here(BOB)
        words = await link.start_here(ALICE, classical={"patience_s": 2.5}).last_words()
        assert words == (
            "bob lets nobody in by the bootstrap any more, and alice has no key that it takes: if the store of alice is"
            " lost, or its home was put back from an older copy, an operator has to run `qkdlink bootstrap --again` at"
            " the other end, and, with a pre-shared key, to make a new one for both."
        )
        told = link.journal(ALICE).of(PeerRefused)[0].reason
        assert told.lower() == words.lower(), "told at once, not only when patience ends"
        assert len(link.journal(BOB).keys) == 2


async def test_a_bob_without_his_store_gets_no_certificate_from_alice_and_both_say_why(
    tmp_path: Path,
) -> None:
    async with link_of(tmp_path, blocks=2) as link:
        await to_the_end(link)
        lose_store(link, BOB, with_key=True)
        link.start_here(BOB)
        link.start_here(ALICE)
        await until(lambda: len(link.journal(ALICE).of(PeerRefused)) >= 2, "Alice's refusal")
        assert "line was closed at the offer of the key" in link.journal(ALICE).of(PeerRefused)[-1].reason
        reason = link.journal(BOB).of(PeerRefused)[-1].reason
        assert "which is not, or no longer, valid here" in reason
        assert [each.authenticated_by for each in epochs(link, ALICE)].count("mutual-tls") == 1
        assert len(link.journal(BOB).keys) == 2


async def test_operators_at_both_ends_open_the_bootstrap_again_and_one_alone_does_not(tmp_path: Path) -> None:
    async with link_of(tmp_path, blocks=2) as link:
        await to_the_end(link)
        homes = {name: link.home.node(name) for name in NODES}
        lose_store(link, BOB, with_key=True)  # Bob begins anew: as open as `--again` could make him
        nodes = [link.start_here(BOB), link.start_here(ALICE)]
        await until(lambda: bool(link.journal(ALICE).of(PeerRefused)), "Alice's refusal")
        for node in nodes:
            await node.stop()
        assert len(epochs(link, ALICE)) == 2
        keys_command.bootstrap(homes[ALICE], again=True)
        await to_the_end(link)
        assert len(link.journal(ALICE).keys) == 4
        began = [each.authenticated_by for each in epochs(link, ALICE)]
        assert began == ["mutual-tls", "tls-psk", "mutual-tls", "tls-psk"]


async def test_a_store_that_was_put_back_is_refused_with_its_cause_and_recovers_by_operators_at_both_ends(
    tmp_path: Path,
) -> None:
    async with link_of(tmp_path, blocks=2) as link:
        await to_the_end(link)
        store = link.home.node(ALICE) / STORE_FILE
        copy = store.read_bytes()
        await to_the_end(link)
        store.write_bytes(copy)
        nodes = [link.start_here(BOB), link.start_here(ALICE)]
        for name in NODES:
            await until(lambda name=name: bool(link.journal(name).of(PeerRefused)), "the refusal")
            assert link.journal(name).of(PeerRefused)[0].reason == (
                "The key store of alice is older than what bob has seen of it: it was put back from a copy, and would"
                " use keys twice; run `qkdlink bootstrap --again` at both ends."
            )
        for node in nodes:
            await node.stop()
        numbers = [int(name.rpartition("/")[2]) for name in link.journal(ALICE).keys]
        for name in NODES:
            keys_command.bootstrap(link.home.node(name), again=True)
        await to_the_end(link)
        again = [int(name.rpartition("/")[2]) for name in link.journal(ALICE).keys]
        assert again[: len(numbers)] == numbers == [1, 2, 3, 4]
        assert min(again[len(numbers) :]) > max(numbers)


async def test_a_copy_older_than_the_last_rekeying_is_refused_with_its_cause_at_both_ends(
    tmp_path: Path,
) -> None:
    async with link_of(tmp_path, blocks=2) as link:
        await to_the_end(link)
        stores = {name: link.home.node(name) / STORE_FILE for name in NODES}
        copies = {name: store.read_bytes() for name, store in stores.items()}
        await to_the_end(link)
        await to_the_end(link)
        newest = {name: store.read_bytes() for name, store in stores.items()}
        for older in NODES:
            refused = {name: len(link.journal(name).of(PeerRefused)) for name in NODES}
            for name, store in stores.items():
                store.write_bytes(copies[name] if name == older else newest[name])
            nodes = [link.start_here(BOB), link.start_here(ALICE)]
            for name in NODES:
                await until(
                    lambda name=name, before=refused[name]: any(
                        NO_COMMON_KEY in each.reason for each in link.journal(name).of(PeerRefused)[before:]
                    ),
                    "the cause",
                )
            for node in nodes:
                await node.stop()


@pytest.mark.parametrize("opened_at", NODES)
async def test_one_operator_alone_opens_nothing(tmp_path: Path, opened_at: str) -> None:
    async with link_of(tmp_path, blocks=2) as link:
        await to_the_end(link)
        keys_command.bootstrap(link.home.node(opened_at), again=True)
        bob_node = link.start_here(BOB)
        alice_node = link.start_here(ALICE, classical={"patience_s": 0.5})
        if opened_at == ALICE:
            assert "lets nobody in by the bootstrap any more" in await alice_node.last_words()
        else:
            await until(lambda: bool(link.journal(ALICE).of(PeerRefused)), "Alice's refusal")
            await alice_node.stop()
        await bob_node.stop()
        assert all(len(epochs(link, name)) == 2 for name in NODES)
        assert len(link.journal(ALICE).keys) == 2


# --- no way to a PSK line ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("in_flight", [1, 4])
async def test_where_no_psk_line_comes_about_certificates_authenticate_three_keys_and_no_more(
    tmp_path: Path, in_flight: int
) -> None:
    async with link_of(tmp_path, blocks_in_flight=in_flight) as link:
        blocked = Address(LOOPBACK, free_port())
        link.start_here(BOB)
        alice = link.start_here(ALICE, classical={"address": str(blocked), "patience_s": 1.0})
        words = await alice.last_words()
        assert words.startswith(
            "There are 3 keys, the bootstrap authenticates no more, and none opens a line: bob at"
        )
        assert words.endswith("nobody listens there.")
        assert len(link.journal(ALICE).keys) == MOST_BOOTSTRAP_KEYS
        assert [each.authenticated_by for each in epochs(link, ALICE)] == ["mutual-tls"]


async def test_a_psk_line_that_is_blocked_for_a_while_is_opened_when_it_can_be(tmp_path: Path) -> None:
    async with wired(tmp_path) as (link, wire):
        wire.is_blocked = True
        link.start_here(BOB)
        link.start_here(ALICE)
        await until_keys(link, MOST_BOOTSTRAP_KEYS)
        await asyncio.sleep(0.5)
        assert len(link.journal(BOB).keys) == MOST_BOOTSTRAP_KEYS
        wire.is_blocked = False
        await until_latched(link)
        await until_keys(link, MOST_BOOTSTRAP_KEYS + 2)
        assert epochs(link, BOB)[1].key_id == key_id(BlockId(link.home.link, epochs(link, BOB)[0].session, 3))
