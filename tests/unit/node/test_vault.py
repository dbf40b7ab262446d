"""The vault beyond the agreement of two: writes that outlive whoever asked for them, and what is told of blocks."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from qkdlink.common.authentication.transcript import Transcript
from qkdlink.common.authentication.wegman_carter import WegmanCarter
from qkdlink.common.distillation.stages import SecretKey
from qkdlink.common.errors import RemoteProtocolError, StarvationError
from qkdlink.common.keys.allotment import OF_ALICE
from qkdlink.common.keys.identifiers import BlockId
from qkdlink.common.node.vault import Vault
from qkdlink.common.protocol.aborts import Aborted, AbortReason
from qkdlink.common.protocol.roles import Role
from qkdlink.common.store.schema import State
from tests.support.stores import ALICE_OWNER, LINK, SESSION, block, open_store, secret


@dataclass
class Told:
    """A vault, and what it has told."""

    vault: Vault
    settled: list[tuple[BlockId, bool, bool, bool]] = field(default_factory=list)
    """Block, whether with its key, available, late."""

    def note(self, block: BlockId, key: SecretKey | None, /, *, available: bool, late: bool) -> None:
        self.settled.append((block, key is not None, available, late))


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    with closing(open_store(tmp_path / "alice")) as store:
        one = Told(Vault(store, LINK, Role.ALICE, lambda *_, **__: None))
        one.vault.on_settled = one.note
        yield one


async def hold(told: Told, number: int = 1) -> BlockId:
    told.vault.open(block(number))
    await told.vault.hold(block(number), secret(number), 100)
    return block(number)


async def test_a_confirmed_block_is_told_once_with_its_key(told: Told) -> None:
    one = await hold(told)
    await told.vault.release(one)
    await told.vault.release(one)
    assert told.vault.close(one) == 2_000
    assert told.settled == [(one, True, True, False)]


async def test_a_block_that_ends_without_a_key_is_told_at_its_end(told: Told) -> None:
    told.vault.open(block(1))
    assert told.vault.close(block(1)) is None
    assert told.settled == [(block(1), False, False, False)]


async def test_a_pending_block_is_told_when_it_is_settled_and_not_before(told: Told) -> None:
    one = await hold(told)
    ended = told.vault.close(one)
    assert isinstance(ended, Aborted)
    assert ended.reason is AbortReason.PENDING
    assert told.settled == []
    await told.vault.release(one)
    assert told.settled == [(one, True, True, True)]


async def cancelled_while_the_disk_works(told: Told, write: str, work: Callable[[], object]) -> None:
    """Cancel a task while its write is on the way, and let the disk go on only afterwards."""
    began, may_end = threading.Event(), threading.Event()
    real = getattr(told.vault.store, write)

    def slow(*args: object, **kwargs: object) -> object:
        began.set()
        assert may_end.wait(5)
        return real(*args, **kwargs)

    setattr(told.vault.store, write, slow)
    task = asyncio.ensure_future(work())  # type: ignore[call-overload] # a coroutine it is
    await asyncio.to_thread(began.wait, 5)
    task.cancel()
    await asyncio.sleep(0.01)
    assert not task.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_release_that_is_cancelled_while_the_disk_works_is_made_and_told(told: Told) -> None:
    one = await hold(told)
    await cancelled_while_the_disk_works(told, "release", lambda: told.vault.release(one))
    assert told.vault.close(one) == 2_000
    assert told.settled == [(one, True, True, False)]


async def test_a_deposit_that_is_cancelled_while_the_disk_works_is_pending_when_the_block_ends(
    told: Told,
) -> None:
    told.vault.open(block(1))
    await cancelled_while_the_disk_works(told, "hold", lambda: told.vault.hold(block(1), secret(1), 100))
    assert isinstance(told.vault.close(block(1)), Aborted)
    assert told.vault.store.state(block(1)) is State.PENDING
    await told.vault.release(block(1))
    assert told.settled == [(block(1), True, True, True)], "with its key, for the fingerprint"


async def test_a_dialler_leaves_out_the_keys_of_live_blocks_and_a_listener_takes_them(told: Told) -> None:
    await hold(told, 1)
    told.vault.close(block(1))
    await hold(told, 2)
    assert told.vault.link_psks() == [block(1)]
    assert told.vault.link_psks(live_too=True) == [block(2), block(1)]


# --- units for tags -------------------------------------------------------------------------------------------


@pytest.fixture
def vaults(tmp_path: Path) -> Iterator[tuple[Vault, Vault]]:
    """Alice's and Bob's, with the same key in both: four tags' worth of units on each side."""
    with ExitStack() as opened:
        made = []
        for role, name in zip(Role, ("alice", "bob"), strict=True):
            store = opened.enter_context(
                closing(open_store(tmp_path / name, replace(ALICE_OWNER, node=name)))
            )
            store.hold(block(1), replace(secret(1, 4_000), reserve_bits=1_024), 100, tags=True)
            store.release(block(1))
            made.append(Vault(store, LINK, role, lambda *_, **__: None))
        yield made[0], made[1]


async def test_a_unit_is_spent_on_disk_before_it_is_given_out(
    vaults: tuple[Vault, Vault], tmp_path: Path
) -> None:
    alice, _ = vaults
    unit = await alice.take(7)
    with closing(open_store(tmp_path / "alice")) as after_a_crash:
        found = after_a_crash.units.take(OF_ALICE, "8")
    assert found is not None
    assert str(found[0]) != unit.name
    assert found[1] != unit.material


async def test_the_peer_finds_a_unit_by_its_name_until_it_is_used(vaults: tuple[Vault, Vault]) -> None:
    alice, bob = vaults
    unit = await alice.take(7)
    assert len(unit.material) == 32
    assert await bob.look_up(unit.name) == unit.material
    assert await bob.look_up(unit.name) == unit.material, "looking up changes nothing"
    assert await bob.used(unit.name, 7)
    with pytest.raises(RemoteProtocolError, match="for a tag, which was used before"):
        await bob.look_up(unit.name)
    assert not await bob.used(unit.name, 7)
    assert not await bob.used(unit.name, 8)


async def test_no_side_takes_the_peer_s_units_or_believes_its_own_to_be_the_peer_s(
    vaults: tuple[Vault, Vault],
) -> None:
    alice, bob = vaults
    for vault, own in ((alice, "tags-alice-to-bob"), (bob, "tags-bob-to-alice")):
        with pytest.raises(RemoteProtocolError, match="no unit of generated key that is its own to use"):
            await vault.look_up(f"{SESSION}/1/{own}/0")
        assert not await vault.used(f"{SESSION}/1/{own}/0", 7)
    alices, bobs = await alice.take(7), await bob.take(7)
    assert alices.name != bobs.name
    assert alices.material != bobs.material
    with pytest.raises(RemoteProtocolError, match="that is its own to use"):
        await alice.look_up(alices.name)
    assert not await alice.used(alices.name, 7)
    with pytest.raises(RemoteProtocolError, match="that is its own to use"):
        await bob.look_up(bobs.name)
    with pytest.raises(RemoteProtocolError, match="which this node does not have"):
        await bob.look_up(alices.name.replace("/1/", "/9/"))


@pytest.mark.parametrize(
    "name", ["", "x" * 128, f"{SESSION}/1/link-psk/0", f"{SESSION}/1/applications-at-bob/0", f"{SESSION}/1"]
)
async def test_nothing_but_units_for_tags_is_looked_up(vaults: tuple[Vault, Vault], name: str) -> None:
    for vault in vaults:
        with pytest.raises(RemoteProtocolError, match="no unit of generated key"):
            await vault.look_up(name)
        assert not await vault.used(name, 7)


async def test_when_no_unit_is_left_the_sentence_says_what_an_operator_has_to_do(
    vaults: tuple[Vault, Vault],
) -> None:
    alice, _ = vaults
    taken = [await alice.take(7) for _ in range(4)]
    assert len({unit.material for unit in taken}) == 4
    with pytest.raises(StarvationError, match=r"link-1 stops.*`qkdlink bootstrap --again` at both ends"):
        await alice.take(7)


async def test_a_block_is_payable_only_while_both_sides_can_pay(vaults: tuple[Vault, Vault]) -> None:
    alice, bob = vaults
    assert (alice.blocks_payable(), bob.blocks_payable()) == (2, 2)
    unit = await bob.take(7)
    assert (alice.blocks_payable(), bob.blocks_payable()) == (2, 1)
    assert await alice.used(unit.name, 7)
    assert alice.blocks_payable() == 1


async def test_two_vaults_make_and_check_the_tags_of_a_block(vaults: tuple[Vault, Vault]) -> None:
    ours, theirs = (WegmanCarter(vault).of_block(7) for vault in vaults)
    said = Transcript(b"heading")
    names = []
    for position in range(6):
        speaker, listener = (ours, theirs) if position % 2 else (theirs, ours)
        tag = await speaker.tag(1 - position % 2, position, said)
        assert not await listener.verify(position % 2, position, said, tag), "of the other direction"
        assert await listener.verify(1 - position % 2, position, said, tag)
        said.append(1 - position % 2, tag.value)
        names.append(tag.pad)
    assert names[0].endswith("/tags-bob-to-alice/0")
    assert names[1].endswith("/tags-alice-to-bob/0")
    assert names[4:] == [names[2], names[3]], "the second unit has two pads"
