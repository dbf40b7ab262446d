"""A store that was put back from a copy is refused at the next meeting; one that was lost recovers by an operator."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from qkdlink.common.errors import OutdatedStoreError, RemoteProtocolError
from qkdlink.common.keys.identifiers import BlockId
from qkdlink.common.node.connection_pads import ConnectionPads
from qkdlink.common.protocol.high_water import FURTHEST_JUMP, Marks
from qkdlink.common.protocol.roles import Role
from tests.support.stores import block, in_memory, secret
from tests.support.vaults import NAMES, Contact, Side, contact


@pytest.fixture
def folder() -> Iterator[Path]:
    with in_memory() as made:
        yield made


class History:
    """Two nodes, and copies of their stores after each block."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sides = {role: Side(role, folder) for role in Role}

    async def make(self, number: int, *, confirmed: bool = True) -> None:
        """Make a block that costs a unit in each direction, and copy both stores."""
        await self.sides[Role.ALICE].vault.use_number(number)
        await self.tag(number)
        for side in self.sides.values() if confirmed else ():
            await side.vault.hold(block(number), secret(number, 8_000), 10)
            await side.vault.release(block(number))
        for role in Role:
            shutil.copytree(self.folder / NAMES[role], self.folder / f"{NAMES[role]}-{number}")

    async def tag(self, number: int) -> None:
        """Use a unit in each direction, if there is one."""
        for role, side in self.sides.items() if self.sides[Role.ALICE].vault.blocks_payable() else ():
            unit = await side.vault.take(number)
            assert await self.sides[role.peer].vault.used(unit.name, number)

    def put_back(self, role: Role, number: int) -> None:
        self.sides[role].vault.store.close()
        shutil.rmtree(self.folder / NAMES[role])
        shutil.copytree(self.folder / f"{NAMES[role]}-{number}", self.folder / NAMES[role])
        self.sides[role].start()

    def lose(self, role: Role) -> None:
        self.sides[role].vault.store.close()
        shutil.rmtree(self.folder / NAMES[role])
        self.sides[role].start()

    async def meet(self, key: BlockId | None = None) -> Contact:
        return await contact(self.sides, key)


@pytest.fixture
async def history(folder: Path) -> History:
    made = History(folder)
    for number in (1, 2, 3):
        await made.make(number)
    return made


PUT_BACK = {
    "Alice's": ({Role.ALICE: 2}, "alice"),
    "Bob's": ({Role.BOB: 2}, "bob"),
    "both, Alice's older": ({Role.ALICE: 1, Role.BOB: 2}, "alice"),
    "both, Bob's older": ({Role.ALICE: 2, Role.BOB: 1}, "bob"),
}


@pytest.mark.parametrize("which", PUT_BACK)
async def test_a_store_that_was_put_back_is_refused_by_both_with_its_cause(
    history: History, which: str
) -> None:
    copies, older = PUT_BACK[which]
    assert None not in (await history.meet()).met.values(), "as they are, they go together"
    for role, number in copies.items():
        history.put_back(role, number)
    before = {role: side.vault.marks() for role, side in history.sides.items()}
    came = await history.meet()
    assert set(came.refused) == set(Role)
    for words in came.refused.values():
        assert words.startswith(f"The key store of {older} is older than")
        assert "put back from a copy" in words
        assert words.endswith("run `qkdlink bootstrap --again` at both ends.")
    assert {role: side.vault.marks() for role, side in history.sides.items()} == before
    for side in history.sides.values():
        side.vault.store.reopen_bootstrap()
    met = (await history.meet()).met[Role.ALICE]
    assert met is not None
    assert met.peers_highest_block == before[Role.BOB].highest_block, "above which she goes on"


@pytest.mark.parametrize("role", Role, ids=lambda role: role.label)
async def test_a_copy_that_was_made_within_a_block_is_told_by_its_units(history: History, role: Role) -> None:
    await history.make(4, confirmed=False)
    await history.tag(4)
    history.put_back(role, 4)
    came = await history.meet()
    assert [words.split(" is older")[0] for words in came.refused.values()] == 2 * [
        f"The key store of {NAMES[role]}"
    ]


async def test_blocks_that_the_peer_has_not_proven_are_counted_until_it_proves_one(history: History) -> None:
    bob = history.sides[Role.BOB].vault
    before = bob.unproven_blocks()
    assert before <= 1, "his own tag of the last block, made after hers had come"
    for number in (7, 2**39):
        await bob.take(number)
    assert bob.unproven_blocks() == before + 2
    assert bob.marks().heard_block == 3
    await history.tag(9)
    assert bob.unproven_blocks() <= 1
    assert bob.marks().heard_block == 9


@pytest.mark.parametrize("role", Role, ids=lambda role: role.label)
async def test_a_store_that_was_lost_is_refused_until_an_operator_opens_the_bootstrap_at_the_other_end(
    history: History, role: Role
) -> None:
    history.lose(role)
    assert set((await history.meet()).refused) == set(Role)
    history.sides[role.peer].vault.store.reopen_bootstrap()
    met = (await history.meet()).met
    alices = met[Role.ALICE]
    assert alices is not None
    assert alices.peers_highest_block == (3 if role is Role.ALICE else 0)
    await history.make(4)
    assert None not in (await history.meet()).met.values()


class LyingBob:
    """A Bob that states a block number of its choice."""

    def __init__(self, highest_block: int) -> None:
        self.highest_block = highest_block

    def marks(self) -> Marks:
        return Marks(self.highest_block, 0, 100, 0)

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


async def test_a_lying_bob_cannot_exhaust_the_numbers_of_blocks(history: History) -> None:
    assert (await contact(history.sides, liar=(Role.BOB, LyingBob(FURTHEST_JUMP)))).met[Role.ALICE]
    with pytest.raises(RemoteProtocolError, match="the highest allowed"):
        await contact(history.sides, liar=(Role.BOB, LyingBob(FURTHEST_JUMP + 1)))


async def test_after_a_bob_who_lied_alice_still_meets_the_true_one(history: History) -> None:
    """She has gone on above his number, and so he states what she herself has reached: no lie may bar her for good."""
    await history.sides[Role.ALICE].vault.use_number(FURTHEST_JUMP + 1)
    assert (await contact(history.sides, liar=(Role.BOB, LyingBob(FURTHEST_JUMP + 1)))).met[Role.ALICE]


async def test_a_unit_before_one_that_was_used_before_the_two_met_is_refused(history: History) -> None:
    """Within a connection units arrive in any order; a peer that states false marks gets no further than this."""
    alice, bob = (history.sides[role].vault for role in Role)
    first, second = await alice.take(4), await alice.take(4)
    met_before, met_after = (ConnectionPads(bob, "bob", "alice", row) for row in (0, 2**40))
    assert await met_before.used(second.name, 4)
    assert await met_before.look_up(first.name) == first.material
    for pads, name in ((met_after, first.name), (met_after, second.name), (met_before, second.name)):
        with pytest.raises(
            OutdatedStoreError, match="The key store of alice is older than what bob has seen"
        ):
            await pads.look_up(name)
    with pytest.raises(RemoteProtocolError, match="no unit of generated key that is its own to use"):
        await met_after.look_up(first.name.replace("alice-to-bob", "bob-to-alice"))
