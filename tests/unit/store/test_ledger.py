"""The ledger balances after whatever may happen to a store, reopening it included; played against a model of it."""

import shutil
import time
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from qkdlink.common.errors import LocalProtocolError
from qkdlink.common.keys.allotment import (
    APPLICATIONS,
    LINK_PSK_BITS,
    OF_ALICE,
    OF_BOB,
    RESERVE_TARGET_BITS,
    RESERVES,
    UNIT_BITS,
    Purpose,
    cut,
)
from qkdlink.common.keys.derivation import key_id
from qkdlink.common.keys.identifiers import BlockId
from qkdlink.common.store.key_store import KeyStore
from qkdlink.common.store.ledger import Balance
from qkdlink.common.store.schema import State
from qkdlink.common.store.tag_units import UNIT_BYTES, UnitName
from tests.support.stores import block, deposit, fast_folder, open_store, rows, secret

FOR_TAGS = (*OF_ALICE, *OF_BOB)
BITS = st.integers(LINK_PSK_BITS, 3_500)
SHOWN = st.sampled_from([b"", b"one key", b"another key"])


@dataclass
class Model:
    """What a store should say, kept the simple way."""

    states: dict[BlockId, State] = field(default_factory=dict)
    bits: dict[BlockId, int] = field(default_factory=dict)
    psks: set[BlockId] = field(default_factory=set)
    spent: list[BlockId] = field(default_factory=list)
    epoch_key: BlockId | None = None
    latched: bool = False
    units: dict[UnitName, bytes] = field(default_factory=dict)
    """Of every block that is kept: all that were ever there, and what was in them."""
    taken: list[UnitName] = field(default_factory=list)
    used: list[UnitName] = field(default_factory=list)
    burnt: set[UnitName] = field(default_factory=set)
    own_key: bytes = b""
    peer_key: bytes = b""
    shown: dict[BlockId, bytes] = field(default_factory=dict)
    """Keys that the peer has shown in blocks that are pending."""

    @property
    def gone(self) -> set[UnitName]:
        return {*self.taken, *self.used, *self.burnt}

    def free(self, purposes: tuple[Purpose, ...]) -> list[UnitName]:
        """What can be taken of our own, in the order it has to be: the reserve last, the oldest block first."""
        there = [
            unit
            for unit in self.units.keys() - self.gone
            if unit.purpose in purposes and self.states[unit.block] is State.AVAILABLE
        ]
        return sorted(there, key=lambda unit: (purposes.index(unit.purpose), unit.block.number, unit.unit))

    def of(self, state: State) -> list[BlockId]:
        return [each for each, found in self.states.items() if found is state]

    @property
    def floor(self) -> int:
        return 0 if self.epoch_key is None else self.epoch_key.number

    def destroy_older(self) -> None:
        self.psks -= {
            each for each in self.psks if each.number < self.floor and self.states[each] is not State.PENDING
        }


class LedgerBalances(RuleBasedStateMachine):
    """Every step that a node takes with its store, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = fast_folder()
        self.store = self._opened()
        self.model = Model()

    def _opened(self) -> KeyStore:
        store = open_store(self.folder / "alice")
        store._database.connection.execute(
            "PRAGMA synchronous = OFF"
        )  # what is on the disk is not the subject here
        return store

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)

    @rule(bits=BITS, tags=st.booleans(), reserve_bits=st.sampled_from([0, 512, 3_000]), shown=SHOWN)
    def hold(self, bits: int, tags: bool, reserve_bits: int, shown: bytes) -> None:
        new = block(len(self.model.states) + 1)
        key = secret(new.number, bits, reserve_bits)
        self.store.hold(new, key, bits // 10, tags=tags, peer_key=shown)
        self.model.states[new], self.model.bits[new] = State.PENDING, bits
        self.model.psks.add(new)
        self.model.shown[new] = shown
        for part in cut(bits, tags=tags, reserve_bits=reserve_bits):
            if part.purpose in FOR_TAGS:
                material = part.of(key.material)
                for unit in range(part.length // UNIT_BYTES):
                    place = slice(unit * UNIT_BYTES, (unit + 1) * UNIT_BYTES)
                    self.model.units[UnitName(new, part.purpose, unit)] = material[place]

    @precondition(lambda self: self.model.states)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from(list(self.model.states)))
        if self.model.states[one] is State.DISCARDED:
            with pytest.raises(LocalProtocolError):
                self.store.release(one)
            return
        assert self.store.release(one) is (self.model.states[one] is State.PENDING)
        self.model.states[one] = State.AVAILABLE
        self.model.destroy_older()
        self.model.peer_key = self.model.peer_key or self.model.shown.pop(one, b"")

    @precondition(lambda self: self.model.states)
    @rule(data=st.data())
    def discard(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from(list(self.model.states)))
        if self.model.states[one] is State.AVAILABLE:
            with pytest.raises(LocalProtocolError):
                self.store.discard(one)
            return
        self.store.discard(one)
        self.model.states[one] = State.DISCARDED
        self.model.psks.discard(one)
        self.model.units = {unit: each for unit, each in self.model.units.items() if unit.block != one}

    @precondition(lambda self: self.model.states)
    @rule(data=st.data())
    def begin_epoch(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from(list(self.model.states)))
        if one == self.model.epoch_key:
            assert self.store.begin_epoch(one)
        elif self.model.states[one] is not State.AVAILABLE:
            with pytest.raises(LocalProtocolError):
                self.store.begin_epoch(one)
        elif one.number < self.model.floor or one not in self.model.psks:
            assert not self.store.begin_epoch(one)
        else:
            assert self.store.begin_epoch(one)
            self.model.epoch_key, self.model.latched = one, True
            self.model.spent.append(one)
            self.model.destroy_older()

    @precondition(lambda self: self.model.states)
    @rule(data=st.data(), purpose=st.sampled_from(APPLICATIONS))
    def deliver(self, data: st.DataObject, purpose: Purpose) -> None:
        one = data.draw(st.sampled_from(list(self.model.states)))
        before, material = self.store.balance(), self.store.material(one, purpose)
        there = self.model.states[one] is State.AVAILABLE and material is not None
        delivered = self.store.deliver(one, purpose)
        assert delivered == (material if there else None)
        assert self.store.deliver(one, purpose) is None, "once"
        spent = 0 if delivered is None else 8 * len(delivered)
        assert before.available_bits - self.store.balance().available_bits == spent

    @rule()
    def expire(self) -> None:
        before = self.store.balance()
        self.store.expire(time.time() + 1)
        for one in self.model.of(State.AVAILABLE):
            assert {self.store.material(one, purpose) for purpose in APPLICATIONS} == {None}
        assert self.store.balance().available_bits <= before.available_bits

    @rule(times=st.integers(1, 4))
    def take(self, times: int) -> None:
        for _ in range(times):
            free = self.model.free(OF_ALICE)
            found = self.store.units.take(OF_ALICE, "a block")
            assert found == ((free[0], self.model.units[free[0]]) if free else None)
            self.model.taken += free[:1]

    @precondition(lambda self: self.model.units)
    @rule(data=st.data())
    def be_told_of_a_unit(self, data: st.DataObject) -> None:
        """The peer names one of its own, of a pending block perhaps, and uses it."""
        named = data.draw(st.sampled_from(list(self.model.units)))
        if named.purpose not in OF_BOB:
            return
        there = named not in self.model.gone
        assert self.store.units.look_up(named) == (self.model.units[named] if there else None)
        assert self.store.units.used(named, "a block") is there
        assert not self.store.units.used(named, "a block"), "once"
        self.model.used += [named] if there else []

    @rule(key=st.binary(min_size=32, max_size=32))
    def sign(self, key: bytes) -> None:
        self.model.own_key = self.model.own_key or key
        assert self.store.own_key("ed25519", lambda: key) == self.model.own_key

    @rule()
    def reopen_bootstrap(self) -> None:
        self.store.reopen_bootstrap()
        self.model.psks.clear()
        self.model.epoch_key, self.model.latched = None, False
        self.model.burnt |= self.model.units.keys() - self.model.gone
        self.model.own_key = self.model.peer_key = b""
        self.model.shown.clear()

    @rule()
    def start_again(self) -> None:
        self.store.close()
        self.store = self._opened()

    @invariant()
    def what_was_produced_is_available_spent_burnt_or_less_than_a_byte_of_a_block(self) -> None:
        balance, available = self.store.balance(), self.model.of(State.AVAILABLE)
        assert balance.produced_bits == sum(self.model.bits[each] for each in available)
        assert balance.leaked_bits == sum(self.model.bits[each] // 10 for each in available)
        accounted = balance.available_bits + sum(balance.spent.values())
        assert balance.produced_bits - accounted == sum(self.model.bits[each] % 8 for each in available)

    @invariant()
    def the_levels_that_a_node_tells_are_those_of_the_whole_store(self) -> None:
        balance, told = self.store.balance(), self.store.levels()
        assert [each.purpose for each in told.levels] == list(Purpose)
        spent = {name: bits for name, bits in balance.spent.items() if bits}
        assert Balance.told("alice", told) == replace(balance, spent=spent)
        stored = rows(
            self.folder / "alice", "SELECT COALESCE(SUM(bits), 0) FROM parts WHERE state = 'pending'"
        )
        used = [each for each in (*self.model.taken, *self.model.used) if each not in self.model.burnt]
        waiting = [each for each in used if each.block in self.model.of(State.PENDING)]
        pending = sum(each.pending_bits for each in told.levels)
        assert stored[0][0] - UNIT_BITS * len(waiting) <= pending <= stored[0][0]
        assert (told.epoch_since is None) == (told.epoch == 0)

    @invariant()
    def no_part_has_lost_more_than_it_had_and_a_link_psk_is_spent_or_burnt_once(self) -> None:
        overdrawn = rows(
            self.folder / "alice",
            "SELECT block, purpose FROM ledger JOIN parts USING (block, purpose) GROUP BY block, purpose"
            " HAVING SUM(ledger.bits) > parts.bits",
        )
        assert overdrawn == []
        assert len(self.model.spent) == len(set(self.model.spent))
        spent = self.store.balance().spent
        assert spent.get("link-psk", 0) == LINK_PSK_BITS * len(self.model.spent)

    @invariant()
    def what_is_counted_as_available_is_there(self) -> None:
        counted = rows(
            self.folder / "alice",
            "SELECT COALESCE(SUM(bits), 0) FROM parts WHERE state = 'available' AND sealed IS NOT NULL",
        )
        counts = self.model.of(State.AVAILABLE)
        gone = [unit for unit in (*self.model.taken, *self.model.used) if unit.block in counts]
        of_parts_that_have_some_left = [
            unit for unit in gone if self.store.material(unit.block, unit.purpose) is not None
        ]
        missing = UNIT_BITS * len(of_parts_that_have_some_left)
        assert counted == [(self.store.balance().available_bits + missing,)]

    @invariant()
    def every_unit_was_used_once_and_counts_for_authentication(self) -> None:
        gone = (*self.model.taken, *self.model.used, *self.model.burnt)
        assert len(gone) == len(set(gone))
        counts = self.model.of(State.AVAILABLE)
        bits = UNIT_BITS * len([unit for unit in gone if unit.block in counts])
        assert self.store.balance().authentication_bits == bits

    @invariant()
    def used_units_lie_nowhere_and_unused_ones_in_their_places(self) -> None:
        for unit, each in self.model.units.items():
            material = self.store.material(unit.block, unit.purpose)
            lies = material and material[unit.unit * UNIT_BYTES : (unit.unit + 1) * UNIT_BYTES]
            assert lies == each if unit not in self.model.gone else lies in (None, bytes(UNIT_BYTES))

    @invariant()
    def what_is_left_is_never_more_than_there_is(self) -> None:
        for purpose in FOR_TAGS:
            left, free = self.store.units.left((purpose,)), len(self.model.free((purpose,)))
            assert left == free if purpose in OF_ALICE else left <= free
        fewest = min(self.store.units.left((purpose,)) for purpose in RESERVES)
        assert self.store.reserve_lacks_bits() == RESERVE_TARGET_BITS - 2 * UNIT_BITS * fewest

    @invariant()
    def the_pinned_key_is_the_first_that_was_shown_in_a_block_that_counts(self) -> None:
        assert self.store.peer_key() == self.model.peer_key

    @invariant()
    def the_store_says_what_the_model_says(self) -> None:
        model, epoch = self.model, self.store.epoch()
        assert {each: self.store.state(each) for each in model.states} == model.states
        assert self.store.pending() == model.of(State.PENDING)
        assert self.store.balance().pending_blocks == len(model.of(State.PENDING))
        assert (epoch.number, epoch.latched) == (model.floor, model.latched)
        assert epoch.key_id == (model.epoch_key and key_id(model.epoch_key))
        there = {each for each in model.states if self.store.material(each, Purpose.LINK_PSK) is not None}
        assert there == model.psks
        usable = sorted((each for each in there if each.number >= model.floor), key=lambda each: -each.number)
        assert self.store.link_psks() == usable


def test_what_the_levels_read_does_not_grow_with_the_blocks_that_they_know(tmp_path: Path) -> None:
    store = open_store(tmp_path)

    def steps_with(blocks: range) -> int:
        for number in blocks:
            deposit(store, number)
        levels, steps = store._levels, count()
        with store._database.reading() as database:
            levels.catch_up()
            database.set_progress_handler(lambda: next(steps) < 0, 1)
            levels.catch_up()
            database.set_progress_handler(None, 0)
        return next(steps)

    with closing(store):
        assert steps_with(range(1, 10)) == steps_with(range(10, 60)) > 0


LedgerBalances.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
test_the_ledger_balances = LedgerBalances.TestCase
