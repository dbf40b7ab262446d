"""The record of a block: what it holds adds up, both nodes agree on what both know, and it gives the length anew."""

import asyncio
import json
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkdlink.commands.keyrate import keyrate
from qkdlink.common.distillation.monitors import (
    Count,
    Monitor,
    look_at_arrivals,
    look_at_photocurrent,
    look_at_vacuum_gain,
)
from qkdlink.common.distillation.stages import Estimate
from qkdlink.common.errors import ConfigurationError
from qkdlink.common.journal.block_record import MOST_RECORD_BYTES, BlockRecord
from qkdlink.common.journal.events import Entry
from qkdlink.common.optics.fibre import Fibre
from qkdlink.common.protocol.aborts import Aborted
from qkdlink.common.protocol.key_length import best_case, qber_is_tolerated, secret_length
from qkdlink.common.protocol.parameters import LinkParameters
from qkdlink.common.protocol.recording import recorded_bound, recorded_monitors
from qkdlink.common.protocol.variants.catalogue import VARIANTS
from qkdlink.common.protocol.variants.one_decoy import ONE_DECOY
from qkdlink.common.protocol.variants.two_decoy import TWO_DECOY
from tests.support.pair import Ending, Pair, small_block
from tests.support.told_records import record_of

OF_ONE_NODE = {"role", "monitors", "began", "ended"}


def records(ending: Ending) -> tuple[BlockRecord, BlockRecord]:
    return record_of(ending.alice), record_of(ending.bob)


def without(name: str, *monitors: Monitor) -> LinkParameters:
    return small_block(name).model_copy(update={"monitors_off": tuple(sorted(monitors))})


KEYS: dict[str, LinkParameters] = {
    **{name: small_block(name) for name in VARIANTS},
    "pooled errors": without(TWO_DECOY.name, Monitor.QBER),
    "one decoy, pooled errors": without(ONE_DECOY.name, Monitor.QBER),
    "without decoys": without(ONE_DECOY.name, Monitor.DECOYS),
}


@pytest.fixture(scope="module", params=list(KEYS))
def ending(request: pytest.FixtureRequest) -> Ending:
    return asyncio.run(Pair(parameters=KEYS[request.param]).play())


def test_the_record_suffices_to_compute_the_length_anew_to_the_bit(ending: Ending):
    for party, told in zip((ending.alice, ending.bob), records(ending), strict=True):
        line = Entry(node=told.role, time=2.0, event=told).model_dump_json()
        computed = keyrate(line)
        assert computed == keyrate(told.model_dump_json())
        read = BlockRecord.model_validate_json(told.model_dump_json())
        assert read.bound is not None
        assert read.bound.terms is not None
        assert len(party.key) == -(-computed.secret_bits // 8)
        assert computed.secret_bits == read.outcome.secret_bits > 0
        assert computed.single_photon_events == read.bound.terms.single_photon_events
        assert computed.phase_error_rate == read.bound.terms.phase_error_rate


@pytest.mark.parametrize("name", KEYS)
@settings(max_examples=30, deadline=None, derandomize=True)
@given(data=st.data())
def test_whatever_was_counted_the_record_holds_its_bound_and_gives_its_length_anew(
    name: str, data: st.DataObject
):
    parameters = KEYS[name]
    key, test = (counted(parameters, data) for _ in range(2))
    errors = [tuple(data.draw(st.integers(0, most)) for most in basis) for basis in (key, test)]
    found = Estimate(key, test, errors[1])
    leaked = data.draw(st.integers(0, sum(key)))
    recorded_bound(best_case(parameters, found))
    reckoned = secret_length(parameters, found, errors[0], leaked)
    bound = recorded_bound(reckoned)
    assert bound is not None
    told = played(name).model_copy(update={"bound": bound}).model_dump_json()
    assert BlockRecord.model_validate_json(told).bound == bound
    if bound.contradiction or (sum(test) and not qber_is_tolerated(parameters, found)):
        with pytest.raises(ConfigurationError):
            keyrate(told)
    else:
        assert keyrate(told).secret_bits == bound.secret_bits == reckoned.length.secret_bits


def counted(parameters: LinkParameters, data: st.DataObject) -> tuple[int, ...]:
    """Draw detections of a basis: some, or as many as such light may give."""
    share = data.draw(st.sampled_from([0.0, 1e-4, 1e-2, 1.0]))
    light = zip(parameters.intensities or (0.1,), parameters.probabilities or (1.0,), strict=True)
    most = [int(1e8 * share * intensity * probability) + 2 for intensity, probability in light]
    return tuple(data.draw(st.integers(0, each) | st.just(each)) for each in most)


@cache
def played(name: str) -> BlockRecord:
    return record_of(asyncio.run(Pair(parameters=KEYS[name]).play()).alice)


def test_what_the_length_was_added_up_from_gives_it(ending: Ending):
    for told in records(ending):
        assert told.bound is not None
        assert told.bound.terms is not None
        terms = told.bound.terms
        gained = terms.vacuum_events + terms.single_photon_events
        paid = terms.phase_error_bits + terms.secrecy_bits + terms.correctness_bits + told.bound.leaked_bits
        assert gained - paid == pytest.approx(told.bound.length_bits)
        assert told.charged is not None
        assert told.charged.leaked_bits == told.bound.leaked_bits
        assert told.charged.disclosed_parities + told.charged.tag_surplus_bits == told.bound.leaked_bits
        assert told.charged.verification_tag_bits > 49  # log2(1 / eps_cor)


def test_both_nodes_tell_the_same_but_for_what_is_each_ones_own(ending: Ending):
    alice, bob = records(ending)
    assert alice.model_dump(exclude=OF_ONE_NODE) == bob.model_dump(exclude=OF_ONE_NODE)
    assert (alice.role, bob.role) == ("alice", "bob")


def test_counts_of_classes_and_bases_follow_from_each_other(ending: Ending):
    for told in records(ending):
        counts = told.counts
        assert sum(counts.emitted) == counts.pulses == told.parameters.block_pulses
        removed = {each.reason: each.events for each in told.removed}
        assert sum(counts.detected) == counts.pulses - removed["no-click"]
        both = sum(counts.key_detections) + sum(counts.test_detections)
        assert both == sum(counts.detected) - removed["bases-differ"]
        assert sum(counts.test_detections) == removed["test-basis"]
        assert sum(counts.key_detections) == removed["privacy-amplification"] + told.outcome.secret_bits
        assert all(
            wrong <= seen for wrong, seen in zip(counts.key_errors, counts.key_detections, strict=True)
        )


def test_every_monitor_of_the_protocol_is_told_by_one_of_both_with_what_it_saw(ending: Ending):
    alice, bob = records(ending)
    variant = ending.alice.block.parameters.variant
    seen = {monitor.name: monitor for told in (alice, bob) for monitor in told.monitors}
    due = set(variant.monitors)
    if ending.alice.block.parameters.intensities[-1:] != (0.0,):
        due.discard(Monitor.VACUUM_GAIN)  # its class is not quite a vacuum
    assert set(seen) == due
    off = ending.alice.block.parameters.monitors_off
    assert {name for name, monitor in seen.items() if not monitor.on} == due & set(off)
    assert not any(monitor.refused for monitor in seen.values())
    assert all(monitor.readings for monitor in seen.values())


def test_a_record_fits_into_a_message(ending: Ending):
    for told in records(ending):
        assert len(told.model_dump_json().encode()) < MOST_RECORD_BYTES / 2


LOSSY = small_block().model_copy(update={"fibre": Fibre(0.0, 0.2, 0.06)})
SHORT = small_block().model_copy(update={"block_pulses": 6_500})
ABORTS: dict[str, tuple[Pair, str, str, str]] = {
    "lost by Alice": (Pair(alice_loses_light="no receipts"), "light-lost", "transmit", "transmit"),
    "lost by Bob": (Pair(bob_loses_light="frame 3 was lost"), "light-lost", "sift", "transmit"),
    "dark": (Pair(bob_is_in_the_dark=True), "too-few-detections", "sift", "sift"),
    "bad fibre": (Pair(parameters=LOSSY), "qber-above-tolerated", "reconcile", "estimate"),
    "parities": (Pair(bob_misreads_key_bits=0.2), "parity-budget-exhausted", "reconcile", "reconcile"),
    "too short": (Pair(parameters=SHORT), "no-secret-bits", "amplify", "amplify"),
}
"""Each with its reason, and with the stage in which Alice and Bob are then: whoever hears of it may be one further."""


@pytest.fixture(scope="module", params=list(ABORTS))
def aborted(request: pytest.FixtureRequest) -> tuple[Ending, str, str, str]:
    pair, *expected = ABORTS[request.param]
    return asyncio.run(pair.play()), *expected


def test_what_is_left_of_an_aborted_block_is_removed_where_it_was_given_up(
    aborted: tuple[Ending, str, str, str],
):
    ending, reason, *stages = aborted
    for told, stage in zip(records(ending), stages, strict=True):
        assert sum(each.events for each in told.removed) == told.counts.pulses
        assert (told.outcome.secret_bits, told.outcome.aborted) == (0, reason)
        last = told.removed[-1]
        assert (last.stage, last.reason) == (stage, reason) or told.removed[-1].reason == "no-click"
    assert {told.outcome.by_peer for told in records(ending)} == {True, False}


def test_an_aborted_block_gives_its_length_anew_where_one_was_computed(
    aborted: tuple[Ending, str, str, str],
):
    for told in records(aborted[0]):
        if told.bound is not None and told.bound.when == "amplify":
            assert told.outcome.aborted == "no-secret-bits"
            assert keyrate(told.model_dump_json()).secret_bits == told.bound.secret_bits
        else:
            with pytest.raises(ConfigurationError, match="before its length was computed"):
                keyrate(told.model_dump_json())


def test_both_agree_on_what_both_know_of_an_aborted_block(aborted: tuple[Ending, str, str, str]):
    alice, bob = records(aborted[0])
    for name in ("parameters", "charged"):
        assert getattr(alice, name) == getattr(bob, name)
    assert alice.outcome.model_copy(update={"by_peer": bob.outcome.by_peer}) == bob.outcome
    for name, count in alice.counts:
        assert count == getattr(bob.counts, name) or () in (count, getattr(bob.counts, name))


@pytest.mark.parametrize("by_peer", [False, True])
def test_a_monitor_that_refuses_says_so_at_the_node_that_refused(*, by_peer: bool):
    looks = (look_at_photocurrent(3), look_at_vacuum_gain(Count(0, 0, 1e-5)))
    aborted = Aborted(Monitor.PHOTOCURRENT, "bright light", by_peer=by_peer)
    (told,) = recorded_monitors(small_block(), looks, aborted)  # a single photon's source has no vacuum
    assert (told.name, told.on, told.alarmed, told.refused) == ("photocurrent", True, True, not by_peer)
    assert [(each.value, each.limit, each.unit) for each in told.readings] == [(3, 1, "gates")]


@pytest.mark.parametrize("pair", [Pair(bob_is_in_the_dark=True), Pair(alice_loses_light="no receipts")])
def test_no_length_is_computed_anew_where_none_was_computed(pair: Pair):
    told = records(asyncio.run(pair.play()))[0]
    with pytest.raises(ConfigurationError, match="ended before its length was computed"):
        keyrate(told.model_dump_json())


def test_a_record_that_does_not_add_up_is_refused(ending: Ending):
    told = json.loads(records(ending)[0].model_dump_json())
    told["removed"][0]["events"] += 1
    with pytest.raises(ValueError, match="accounted for"):
        BlockRecord.model_validate_json(json.dumps(told))
    with pytest.raises(ConfigurationError, match="incomplete or altered: take it from a journal"):
        keyrate(json.dumps(told))


def test_no_reading_depends_on_the_value_of_a_bit():
    zeros, ones = look_at_arrivals((9, 1), (2, 3), 10**6), look_at_arrivals((1, 9), (3, 2), 10**6)
    assert zeros.readings == ones.readings
