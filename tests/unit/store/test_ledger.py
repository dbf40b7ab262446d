"""The ledger balances after whatever may happen to a store, reopening it included; played against a model of it."""

import shutil
import time
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from common.errors import LocalProtocolError
from common.keys.allotment import LINK_PSK_BITS, Purpose
from common.keys.derivation import key_id
from common.keys.identifiers import BlockId
from common.store.key_store import KeyStore, State
from tests.support.stores import block, fast_folder, open_store, rows, secret


@dataclass
class Model:
    """What a store should say, kept the simple way."""

    states: dict[BlockId, State] = field(default_factory=dict)
    bits: dict[BlockId, int] = field(default_factory=dict)
    psks: set[BlockId] = field(default_factory=set)
    spent: list[BlockId] = field(default_factory=list)
    epoch_key: BlockId | None = None
    epoch: int = 0
    latched: bool = False

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
        store._connection.execute("PRAGMA synchronous = OFF")  # what is on the disk is not the subject here
        return store

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)

    @rule(bits=st.integers(LINK_PSK_BITS, 2_500), bootstrap=st.booleans())
    def hold(self, bits: int, bootstrap: bool) -> None:
        new = block(len(self.model.states) + 1)
        self.store.hold(new, secret(new.number, bits), bits // 10, bootstrap=bootstrap)
        self.model.states[new], self.model.bits[new] = State.PENDING, bits
        self.model.psks.add(new)

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

    @precondition(lambda self: self.model.states)
    @rule(data=st.data())
    def begin_epoch(self, data: st.DataObject) -> None:
        one, number = data.draw(st.sampled_from(list(self.model.states))), self.model.epoch + 1
        if one == self.model.epoch_key:
            assert self.store.begin_epoch(number, one)
        elif self.model.states[one] is not State.AVAILABLE:
            with pytest.raises(LocalProtocolError):
                self.store.begin_epoch(number, one)
        elif one.number < self.model.floor or one not in self.model.psks:
            assert not self.store.begin_epoch(number, one)
        else:
            assert self.store.begin_epoch(number, one)
            self.model.epoch_key, self.model.epoch, self.model.latched = one, number, True
            self.model.spent.append(one)
            self.model.destroy_older()

    @precondition(lambda self: self.model.states)
    @rule(data=st.data(), purpose=st.sampled_from([each for each in Purpose if each is not Purpose.LINK_PSK]))
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
        applications = {Purpose.APPLICATIONS_AT_ALICE, Purpose.APPLICATIONS_AT_BOB}
        for one in self.model.of(State.AVAILABLE):
            assert {self.store.material(one, purpose) for purpose in applications} == {None}
        assert self.store.balance().available_bits <= before.available_bits

    @rule()
    def reopen_bootstrap(self) -> None:
        self.store.reopen_bootstrap()
        self.model.psks.clear()
        self.model.epoch_key, self.model.latched = None, False

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
    def a_link_psk_is_spent_once_and_burnt_once_and_never_both(self) -> None:
        entries = rows(
            self.folder / "alice", "SELECT block, purpose FROM ledger WHERE entry IN ('spent', 'burnt')"
        )
        assert len(entries) == len(set(entries))
        assert len(self.model.spent) == len(set(self.model.spent))
        spent = self.store.balance().spent
        assert spent.get("link-psk", 0) == LINK_PSK_BITS * len(self.model.spent)

    @invariant()
    def what_is_counted_as_available_is_there(self) -> None:
        counted = rows(
            self.folder / "alice",
            "SELECT COALESCE(SUM(bits), 0) FROM parts WHERE state = 'available' AND sealed IS NOT NULL",
        )
        assert counted == [(self.store.balance().available_bits,)]

    @invariant()
    def the_store_says_what_the_model_says(self) -> None:
        model, epoch = self.model, self.store.epoch()
        assert {each: self.store.state(each) for each in model.states} == model.states
        assert self.store.pending() == model.of(State.PENDING)
        assert self.store.balance().pending_blocks == len(model.of(State.PENDING))
        assert (epoch.number, epoch.latched) == (model.epoch, model.latched)
        assert epoch.key_id == (model.epoch_key and key_id(model.epoch_key))
        there = {each for each in model.states if self.store.material(each, Purpose.LINK_PSK) is not None}
        assert there == model.psks
        usable = sorted((each for each in there if each.number >= model.floor), key=lambda each: -each.number)
        assert self.store.link_psks() == usable


LedgerBalances.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
test_the_ledger_balances = LedgerBalances.TestCase
