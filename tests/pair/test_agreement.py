"""Two vaults never disagree: whatever is lost, in whatever order, and whoever dies, between any two writes.

Blocks are confirmed as both columns do it, on connections that may be cut; meanwhile both meet again on others, with
the real greetings, which may be cut or survive one side only.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from common.keys.allotment import Purpose
from common.keys.identifiers import BlockId
from common.protocol.roles import Role
from common.store.key_store import State
from tests.support.stores import block, secret
from tests.support.vaults import GREETING_MESSAGES, Side, contact

KEPT = (State.PENDING, State.AVAILABLE)
COURSE = {Role.ALICE: ("hear", "hold", "release", "say"), Role.BOB: ("hold", "say", "hear", "release")}
"""What each column does with its store and its line from the moment the key is there (`confirm` in both steps)."""
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


class Agreement(RuleBasedStateMachine):
    """Two nodes, their blocks, and a world that cuts and kills."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.loop = asyncio.new_event_loop()
        self.sides = {role: Side(role, self.folder) for role in Role}
        self.blocks: list[Confirmation] = []
        self.latched = False

    def run[R](self, work: Coroutine[Any, Any, R]) -> R:
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        try:
            self.at_the_next_contact_both_agree()
        finally:
            for side in self.sides.values():
                side.vault.store.close()
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()
            shutil.rmtree(self.folder)

    # --- blocks ---------------------------------------------------------------------------------------------

    @rule()
    def open_block(self) -> None:
        new = Confirmation(block(len(self.blocks) + 1))
        self.blocks.append(new)
        for side in self.sides.values():
            side.vault.open(new.block)

    @precondition(lambda self: self.blocks)
    @rule(data=st.data(), role=st.sampled_from(Role), steps=st.integers(1, 4))
    def go_on(self, data: st.DataObject, role: Role, steps: int) -> None:
        one = data.draw(st.sampled_from(self.blocks))
        for _ in range(steps):
            self._step(one, role)

    def _step(self, one: Confirmation, role: Role) -> None:
        vault = self.sides[role].vault
        match one.next_of(role):
            case None:
                return
            case "hold":
                self.run(vault.hold(one.block, secret(one.block.number, 300), 10, bootstrap=False))
            case "release":
                self.run(vault.release(one.block))
            case "say" if not one.is_cut:
                one.inbox[role.peer] += 1
        one.at[role] += 1
        if one.at[role] == len(COURSE[role]):
            self._end(one, role)

    def _end(self, one: Confirmation, role: Role) -> None:
        one.living.discard(role)
        self.sides[role].vault.close(one.block)

    @precondition(lambda self: self.blocks)
    @rule(data=st.data())
    def cut_a_connection(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.blocks)).is_cut = True

    @precondition(lambda self: any(each.is_cut for each in self.blocks))
    @rule(data=st.data(), role=st.sampled_from(Role))
    def notice_that_a_connection_is_cut(self, data: st.DataObject, role: Role) -> None:
        one = data.draw(st.sampled_from([each for each in self.blocks if each.is_cut]))
        if role in one.living:
            self._end(one, role)

    # --- deaths and contacts --------------------------------------------------------------------------------

    @rule(role=st.sampled_from(Role))
    def die(self, role: Role) -> None:
        self.sides[role].restart()
        for each in self.blocks:
            each.living.discard(role)
            each.is_cut = True

    @rule(
        delivered=st.integers(0, GREETING_MESSAGES),
        mortal=st.sampled_from([None, *Role]),
        writes=st.integers(1, 4),
        before=st.booleans(),
    )
    def meet(self, delivered: int, mortal: Role | None, writes: int, before: bool) -> None:
        if mortal is not None:
            self.sides[mortal].writes_left, self.sides[mortal].dies_before_writing = writes, before
        came = self.run(contact(self.sides, self._key(), delivered=delivered))
        for role in Role:
            self.sides[role].writes_left = None
            if role in came.died:
                self.die(role)

    def _key(self) -> BlockId | None:
        """The key that the dialler would get through with: her newest that is taken; None before there is any."""
        taken = self.sides[Role.BOB].vault.link_psks(live_too=True)
        offered = self.sides[Role.ALICE].vault.link_psks()[:MOST_KEYS_TRIED]
        return next((key for key in offered if key in taken), None)

    # --- what always holds ----------------------------------------------------------------------------------

    @invariant()
    def what_is_available_on_one_side_is_kept_on_the_other(self) -> None:
        states = {role: side.states() for role, side in self.sides.items()}
        for role in Role:
            for each, state in states[role].items():
                if state is State.AVAILABLE:
                    assert states[role.peer].get(each) in KEPT, f"{each} of {role.label}"

    @invariant()
    def once_a_latch_has_closed_there_is_a_common_key(self) -> None:
        self.latched |= any(side.vault.epoch().latched for side in self.sides.values())
        if self.latched:
            assert self._key() is not None

    @invariant()
    def a_block_becomes_available_once(self) -> None:
        for side in self.sides.values():
            released = [each for each, available in side.settled if available]
            assert len(released) == len(set(released))

    @invariant()
    def what_both_have_is_the_same(self) -> None:
        kept = set.intersection(
            *(
                {each for each, state in side.states().items() if state in KEPT}
                for side in self.sides.values()
            )
        )
        for each in kept:
            psks = [side.vault.store.material(each, Purpose.LINK_PSK) for side in self.sides.values()]
            assert None in psks or psks[0] == psks[1]
            assert len({side.vault.store.proof_key(each) for side in self.sides.values()}) == 1

    def at_the_next_contact_both_agree(self) -> None:
        for each in self.blocks:
            for role in tuple(each.living):
                self._end(each, role)
        came = self.run(contact(self.sides, self._key()))
        assert None not in came.met.values()
        states = {role: side.states() for role, side in self.sides.items()}
        for mine in states.values():
            assert State.PENDING not in mine.values()
        available = {
            role: {each for each, state in mine.items() if state is State.AVAILABLE}
            for role, mine in states.items()
        }
        assert available[Role.ALICE] == available[Role.BOB]
        epochs = {(side.vault.epoch().key_id, side.vault.epoch().latched) for side in self.sides.values()}
        assert len(epochs) == 1


Agreement.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
test_two_vaults_never_disagree = Agreement.TestCase


@pytest.mark.parametrize("delivered", range(GREETING_MESSAGES + 1))
@pytest.mark.parametrize("survivor", [*Role, None], ids=["Alice survives", "Bob survives", "nobody survives"])
async def test_a_lost_last_confirmation_is_settled_wherever_the_next_contact_is_cut(
    tmp_path: Path, delivered: int, survivor: Role | None
) -> None:
    """Alice has it as available, Bob as pending, and her confirmation never came."""
    sides = {role: Side(role, tmp_path) for role in Role}
    for side in sides.values():
        await side.vault.hold(block(1), secret(1, 300), 10, bootstrap=False)
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
