"""Two vaults never disagree: whatever is lost, in whatever order, and whoever dies, between any two writes.

Blocks are confirmed as both columns do it, on connections that may be cut; meanwhile both meet again on others, with
the real greetings, which may be cut or survive one side only.
"""

import asyncio
import shutil
from collections.abc import Collection, Coroutine, Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from qkdlink.common.keys.allotment import Purpose
from qkdlink.common.keys.identifiers import BlockId
from qkdlink.common.protocol.roles import Role
from qkdlink.common.store.schema import State
from tests.support.stores import block, fast_folder, secret
from tests.support.vaults import GREETING_MESSAGES, Side, contact

KEPT = (State.PENDING, State.AVAILABLE)
COURSE = {Role.ALICE: ("hear", "hold", "release", "say"), Role.BOB: ("hold", "say", "hear", "release")}
"""What each column does with its store and its line from the moment the key is there (`confirm` in both steps)."""
STEPS = st.lists(st.sampled_from(Role), max_size=8)
MOST_KEYS_TRIED = 4


@dataclass
class Confirmation:
    """A block on its connection: how far each side has come, and what has arrived where."""

    block: BlockId
    at: dict[Role, int] = field(default_factory=lambda: dict.fromkeys(Role, 0))
    inbox: dict[Role, int] = field(default_factory=lambda: dict.fromkeys(Role, 0))
    living: set[Role] = field(default_factory=lambda: set(Role))
    is_cut: bool = False

    def next_of(self, role: Role) -> str | None:
        if role not in self.living or self.at[role] == len(COURSE[role]):
            return None
        following = COURSE[role][self.at[role]]
        return None if following == "hear" and not self.inbox[role] else following


class World:
    """Two nodes and their blocks."""

    def __init__(self) -> None:
        self.folder = fast_folder()
        self.loop = asyncio.new_event_loop()
        self.sides = {role: Side(role, self.folder) for role in Role}
        self.blocks: list[Confirmation] = []
        self.latched = False

    def end(self) -> None:
        for side in self.sides.values():
            side.vault.store.close()
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        shutil.rmtree(self.folder)

    @property
    def living(self) -> list[Confirmation]:
        return [each for each in self.blocks if each.living]

    @property
    def key(self) -> BlockId | None:
        """The key that the dialler would get through with: her newest that is taken; None before there is any."""
        taken = self.sides[Role.BOB].vault.link_psks(live_too=True)
        offered = self.sides[Role.ALICE].vault.link_psks()[:MOST_KEYS_TRIED]
        return next((key for key in offered if key in taken), None)

    def run[R](self, work: Coroutine[Any, Any, R]) -> R:
        return self.loop.run_until_complete(work)

    def open_block(self) -> Confirmation:
        new = Confirmation(block(len(self.blocks) + 1))
        self.blocks.append(new)
        self.run(self.sides[Role.ALICE].vault.use_number(new.block.number))
        for side in self.sides.values():
            side.vault.open(new.block)
        return new

    def step(self, one: Confirmation, role: Role) -> None:
        """Let one side go one step on, if it can."""
        vault = self.sides[role].vault
        match one.next_of(role):
            case None:
                return
            case "hold":
                self.run(vault.hold(one.block, secret(one.block.number, 300), 10))
            case "release":
                self.run(vault.release(one.block))
            case "say" if not one.is_cut:
                one.inbox[role.peer] += 1
        one.at[role] += 1
        if one.at[role] == len(COURSE[role]):
            self.end_task(one, role)

    def end_task(self, one: Confirmation, role: Role) -> None:
        if role in one.living:
            one.living.discard(role)
            self.sides[role].vault.close(one.block)

    def kill(self, role: Role) -> None:
        self.sides[role].restart()
        for each in self.blocks:
            each.living.discard(role)
            each.is_cut = True

    def meet(self, delivered: int, tags_heard_by: Collection[Role] = tuple(Role)) -> None:
        came = self.run(
            contact(self.sides, self.key, delivered=delivered, tags_heard_by=sorted(tags_heard_by))
        )
        for role in Role:
            self.sides[role].writes_left = None
            if role in came.died:
                self.kill(role)

    # --- what always holds ----------------------------------------------------------------------------------

    def check(self) -> None:
        states = {role: side.states() for role, side in self.sides.items()}
        for role in Role:
            for each, state in states[role].items():
                if state is State.AVAILABLE:
                    assert states[role.peer].get(each) in KEPT, f"{each} is available only for {role.label}"
        self.latched |= any(side.vault.epoch().latched for side in self.sides.values())
        assert not self.latched or self.key is not None, "a common PSK, and no certificate"
        for side in self.sides.values():
            released = [each for each, available in side.settled if available]
            assert len(released) == len(set(released)), "each block becomes available once"

    def check_agreement(self) -> None:
        """At the next contact after everything in flight has ended, both have the same, and nothing is pending."""
        for each in self.blocks:
            for role in Role:
                self.end_task(each, role)
        came = self.run(contact(self.sides, self.key))
        self.check()
        assert None not in came.met.values()
        mine, theirs = (side.states() for side in self.sides.values())
        assert State.PENDING not in {*mine.values(), *theirs.values()}
        available = {name for name, state in mine.items() if state is State.AVAILABLE}
        assert available == {name for name, state in theirs.items() if state is State.AVAILABLE}
        assert (
            len({(side.vault.epoch().key_id, side.vault.epoch().latched) for side in self.sides.values()})
            == 1
        )
        for name in available:
            assert self._material(name, Role.ALICE) == self._material(name, Role.BOB)

    def _material(self, one: BlockId, role: Role) -> list[bytes | None]:
        store = self.sides[role].vault.store
        return [store.proof_key(one), *(store.material(one, purpose) for purpose in Purpose)]


@pytest.fixture
def worlds() -> Iterator[list[World]]:
    made: list[World] = []
    yield made
    for each in made:
        each.end()


REACHABLE = [
    (alice, bob)
    for alice, bob in product(range(5), range(5))
    if (bob >= 2 or alice == 0) and (alice == 4 or bob <= 2)
]
"""How many steps each side may have taken: Alice's first waits for Bob's second, his third for her fourth."""


@pytest.mark.parametrize("dies", [None, *Role], ids=["nobody dies", "Alice dies", "Bob dies"])
@pytest.mark.parametrize("notices", [(), (Role.ALICE,), (Role.BOB,), tuple(Role)], ids=len)
def test_one_block_is_agreed_upon_from_every_point_of_its_confirmation_wherever_the_next_contact_is_cut(
    worlds: list[World], dies: Role | None, notices: tuple[Role, ...]
) -> None:
    """Whoever has not noticed that the connection is gone goes on with what has arrived, after the contact."""
    for (alice, bob), delivered in product(REACHABLE, range(GREETING_MESSAGES + 1)):
        world = World()
        worlds.append(world)
        one = world.open_block()
        for role in (Role.BOB, Role.BOB, *4 * (Role.ALICE,), Role.BOB, Role.BOB):
            if one.at[role] < (alice, bob)[role]:
                world.step(one, role)
        assert (one.at[Role.ALICE], one.at[Role.BOB]) == (alice, bob)
        one.is_cut = True
        if dies is not None:
            world.kill(dies)
        for role in notices:
            world.end_task(one, role)
        world.meet(delivered)
        world.check()
        for role in 4 * tuple(Role):
            world.step(one, role)
            world.check()
        world.check_agreement()


class Agreement(RuleBasedStateMachine):
    """Many blocks, in a world that cuts and kills in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    def teardown(self) -> None:
        try:
            self.world.check_agreement()
        finally:
            self.world.end()

    @rule(steps=STEPS)
    def open_block(self, steps: list[Role]) -> None:
        one = self.world.open_block()
        for role in steps:
            self.world.step(one, role)

    @precondition(lambda self: self.world.living)
    @rule(data=st.data(), steps=STEPS)
    def go_on(self, data: st.DataObject, steps: list[Role]) -> None:
        one = data.draw(st.sampled_from(self.world.living))
        for role in steps:
            self.world.step(one, role)

    @precondition(lambda self: self.world.living)
    @rule(data=st.data(), noticed_by=st.sets(st.sampled_from(Role)))
    def cut_a_connection(self, data: st.DataObject, noticed_by: set[Role]) -> None:
        one = data.draw(st.sampled_from(self.world.living))
        one.is_cut = True
        for role in noticed_by:
            self.world.end_task(one, role)

    @rule(role=st.sampled_from(Role))
    def kill(self, role: Role) -> None:
        self.world.kill(role)

    @rule(delivered=st.integers(0, GREETING_MESSAGES), tags_heard_by=st.sets(st.sampled_from(Role)))
    def meet(self, delivered: int, tags_heard_by: set[Role]) -> None:
        self.world.meet(delivered, tags_heard_by)

    @rule(mortal=st.sampled_from(Role), writes=st.integers(1, 4), before=st.booleans())
    def meet_and_die(self, mortal: Role, writes: int, before: bool) -> None:
        side = self.world.sides[mortal]
        side.writes_left, side.dies_before_writing = writes, before
        self.world.meet(GREETING_MESSAGES)

    @invariant()
    def nothing_is_available_here_and_refused_there(self) -> None:
        self.world.check()


class AgreementAtLength(Agreement):
    """The same, tried for longer."""


def tried(examples: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=20,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow],
    )


Agreement.TestCase.settings = tried(50)
AgreementAtLength.TestCase.settings = tried(500)
test_two_vaults_never_disagree_at_length = pytest.mark.evidence(AgreementAtLength.TestCase)
test_two_vaults_never_disagree = Agreement.TestCase


@pytest.mark.parametrize("delivered", range(GREETING_MESSAGES + 1))
@pytest.mark.parametrize("survivor", [*Role, None], ids=["Alice survives", "Bob survives", "nobody survives"])
async def test_a_lost_last_confirmation_is_settled_wherever_the_next_contact_is_cut(
    tmp_path: Path, delivered: int, survivor: Role | None
) -> None:
    """Alice has it as available, Bob as pending, and her confirmation never came."""
    sides = {role: Side(role, tmp_path) for role in Role}
    for side in sides.values():
        await side.vault.hold(block(1), secret(1, 300), 10)
    await sides[Role.ALICE].vault.release(block(1))
    for role in Role:
        if role is not survivor:
            sides[role].restart()
    await contact(sides, block(1), delivered=delivered)
    assert sides[Role.ALICE].states()[block(1)] is State.AVAILABLE
    assert sides[Role.BOB].states()[block(1)] in KEPT
    for side in sides.values():
        side.restart()
    await contact(sides, block(1))
    assert [side.states() for side in sides.values()] == 2 * [{block(1): State.AVAILABLE}]
    assert all(side.vault.epoch().latched for side in sides.values())
