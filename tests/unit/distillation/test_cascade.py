"""Cascade, two ends against each other: Bob gets Alice's key, and both count what it cost."""

from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkdlink.benchmarks.reference_cascade import Asked, reconcile
from qkdlink.common.bits import Bits
from qkdlink.common.distillation.reconciliation.cascade import (
    Answerer,
    BudgetExhausted,
    Corrector,
    Pace,
    Questions,
    parity_budget,
    schedule,
)
from qkdlink.common.distillation.reconciliation.efficiency import efficiency
from qkdlink.common.distillation.reconciliation.schedule import LARGEST_FRAME_WORDS, MAX_INDICES, PASSES
from qkdlink.common.errors import RemoteProtocolError

SEED = bytes(range(32))
PLENTY = 10**9


@dataclass
class Played:
    alice: Answerer
    bob: Corrector
    asked: list[Questions]


def keys(length: int, qber: float, seed: int) -> tuple[Bits, Bits]:
    rng = np.random.default_rng(seed)
    alice = rng.integers(0, 2, length, dtype=np.uint8)
    return alice, alice ^ (rng.random(length) < qber).astype(np.uint8)


def play(alice: Bits, bob: Bits, expected_qber: float, shuffle_seed: bytes = SEED) -> Played:
    plan = schedule(len(alice), expected_qber)
    played = Played(Answerer(alice, plan, shuffle_seed, PLENTY), Corrector(bob, plan, shuffle_seed), [])
    while (asked := played.bob.questions()) is not None:
        played.asked.append(asked)
        played.bob.receive(played.alice.answer(asked))
    return played


def ranges(asked: Questions) -> list[tuple[int, int, int, int]]:
    """Index, start, end and mask of each question."""
    columns = (asked.indices, asked.starts, asked.ends, asked.masks)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def as_the_reference_writes(asked: Questions) -> Asked:
    lanes = [frozenset(lane for lane in range(64) if mask >> lane & 1) for *_, mask in ranges(asked)]
    bounds = zip(asked.starts.tolist(), asked.ends.tolist(), lanes, strict=True)
    return Asked(int(asked.indices[0]), frozenset(bounds))


def questions(index: int, *ranges: tuple[int, int], mask: int = 1) -> Questions:
    starts, ends = np.array(ranges, np.uint32).reshape(-1, 2).T
    count = len(ranges)
    return Questions(np.full(count, index, np.uint8), starts, ends, np.full(count, mask, np.uint64))


# Derandomised: the same examples in each run, so that errors that escape (6e-8) fail no run by chance.
@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    length=st.integers(1, 3000),
    expected_qber=st.sampled_from([0.0, 0.001, 0.01, 0.05, 0.1, 0.15]),
    wrong_by=st.sampled_from([0.0, 1 / 3, 1.0, 3.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_bob_ends_with_alices_key_and_both_count_the_same_parities(
    length: int, expected_qber: float, wrong_by: float, seed: int
) -> None:
    alice, bob = keys(length, min(expected_qber * wrong_by, 0.3), seed)
    played = play(alice, bob, expected_qber, np.random.default_rng(seed).bytes(32))
    assert np.array_equal(played.bob.bits, alice)
    assert np.array_equal(played.bob.corrected, np.flatnonzero(alice != bob))
    plan = schedule(length, expected_qber)
    asked = sum(each.parities(plan) for each in played.asked)
    assert played.alice.disclosed_bits == played.bob.disclosed_bits == asked


@pytest.mark.parametrize("length", range(1, 6))
def test_every_error_pattern_of_a_tiny_key_is_corrected(length: int) -> None:
    alice = np.ones(length, np.uint8)
    for pattern in product((0, 1), repeat=length):
        assert np.array_equal(play(alice, alice ^ np.array(pattern, np.uint8), 0.1).bob.bits, alice)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    length=st.integers(1, 600),
    expected_qber=st.sampled_from([0.0, 0.01, 0.05, 0.15]),
    wrong_by=st.sampled_from([1 / 3, 1.0, 3.0]),
    lanes=st.sampled_from([1, 2, 8, 64]),
    frame_words=st.sampled_from([4, 30, 2**14]),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_reference_asks_the_same_questions_and_finds_the_same_key(
    length: int, expected_qber: float, wrong_by: float, lanes: int, frame_words: int, seed: int
) -> None:
    alice, bob = keys(length, min(expected_qber * wrong_by, 0.3), seed)
    plan = replace(schedule(length, expected_qber), lanes=lanes, frame_words=frame_words)
    answerer, corrector = Answerer(alice, plan, SEED, PLENTY), Corrector(bob, plan, SEED)
    slow = reconcile(alice, bob, plan, SEED)
    asked: list[list[Asked]] = [[] for _ in range(plan.frames)]
    bounds = np.array(plan.frame_bounds())
    while (each := corrector.questions()) is not None:
        frames = np.searchsorted(bounds, each.starts, side="right") - 1
        for frame in np.unique(frames):
            own = Questions(
                *(column[frames == frame] for column in (each.indices, each.starts, each.ends, each.masks))
            )
            local = replace(own, starts=own.starts - bounds[frame], ends=own.ends - bounds[frame])
            asked[frame].append(as_the_reference_writes(local))
        corrector.receive(answerer.answer(each))
    assert asked == slow.frames
    assert corrector.disclosed_bits == answerer.disclosed_bits == slow.disclosed_bits
    assert corrector.bits.tolist() == slow.bits == alice.tolist()


# Over 1000 other keys at each rate no f was above its limit, and no run took more than 503 exchanges. So a frame is
# beyond a limit with probability p < 0.007 (confidence 0.999), the median of 8 only if four are: false alarm below
# 70 p^4 = 2e-7.
@pytest.mark.parametrize(("qber", "limit"), [(0.01, 1.052), (0.02, 1.051), (0.03, 1.056), (0.05, 1.06)])
def test_little_is_disclosed_in_a_few_hundred_exchanges_at_1e5_bits(qber: float, limit: float) -> None:
    costs: list[float] = []
    exchanges: list[int] = []
    for frame in range(8):
        alice, bob = keys(100_000, qber, frame)
        played = play(alice, bob, qber)
        assert np.array_equal(played.bob.bits, alice)
        costs.append(efficiency(played.bob.disclosed_bits, 100_000, float(np.mean(alice != bob))) or 0.0)
        exchanges.append(len(played.asked))
    assert 1.0 < np.median(costs) < limit
    assert np.median(exchanges) < 510


def test_frames_share_their_messages() -> None:
    alice, bob = keys(100_000, 0.02, 20)
    plan = replace(schedule(100_000, 0.02), frame_words=1_000)
    bounds = np.array(plan.frame_bounds())
    answerer, corrector = Answerer(alice, plan, SEED, PLENTY), Corrector(bob, plan, SEED)
    asking = set(range(plan.frames))
    assert len(asking) == 6
    while (asked := corrector.questions()) is not None:
        frames = set((np.searchsorted(bounds, asked.starts, side="right") - 1).tolist())
        assert frames <= asking  # all at first, and each until it is done
        asking = frames
        corrector.receive(answerer.answer(asked))
    assert np.array_equal(corrector.bits, alice)


# Over 200 other keys the ratio of parities was 0.9945 with a deviation of 0.0016, nearly normal, that of exchanges
# 2.48 with one of 0.68, steeper towards 1: for the sums over 8 keys, 1 is 9 and 6 deviations away. Over a distance they
# were 1.0134 and 0.0026, and 0.47 and 0.098, both steeper towards 1: 14 deviations and 15.
def test_a_pace_spares_parities_or_exchanges_and_pays_with_the_other() -> None:
    disclosed, exchanges = dict.fromkeys(Pace, 0), dict.fromkeys(Pace, 0)
    for pace, seed in product(Pace, range(8)):
        alice, bob = keys(200_000, 0.03, seed)
        plan = schedule(200_000, 0.03, pace)
        answerer, corrector = Answerer(alice, plan, SEED, PLENTY), Corrector(bob, plan, SEED)
        while (asked := corrector.questions()) is not None:
            corrector.receive(answerer.answer(asked))
            exchanges[pace] += 1
        assert np.array_equal(corrector.bits, alice)
        disclosed[pace] += answerer.disclosed_bits
    assert disclosed[Pace.PARITIES] < disclosed[Pace.EXCHANGES]
    assert exchanges[Pace.PARITIES] > exchanges[Pace.EXCHANGES]
    assert disclosed[Pace.DISTANCE] > disclosed[Pace.EXCHANGES]
    assert exchanges[Pace.DISTANCE] < exchanges[Pace.EXCHANGES]


# Of 1000 other keys each, none took more than 82 exchanges with too few errors, and 17 more than 1400 with too many: a
# tail so long that a mean says little. p < 0.035 (confidence 0.999); the median of 16 is above the limit only if eight
# are: false alarm below 12870 p^8 = 3e-8. No share of the budget was above 0.804, at 0.780 with a deviation of 0.006.
@pytest.mark.parametrize(("wrong_by", "limit"), [(1 / 3, 82), (3.0, 1400)])
def test_a_badly_wrong_error_rate_costs_but_does_not_fail(wrong_by: float, limit: int) -> None:
    exchanges = []
    for frame in range(16):
        alice, bob = keys(100_000, 0.03 * wrong_by, frame)
        played = play(alice, bob, 0.03)
        assert np.array_equal(played.bob.bits, alice)
        assert played.bob.disclosed_bits < parity_budget(100_000, 0.03)
        exchanges.append(len(played.asked))
    assert np.median(exchanges) <= limit


def test_a_key_without_errors_costs_little_more_than_its_first_parities() -> None:
    alice, _ = keys(50_000, 0.0, 8)
    played = play(alice, alice, 0.0)
    assert len(played.bob.corrected) == 0
    assert played.bob.disclosed_bits < 0.0025 * 50_000 + 60


BURSTS = {
    "one long burst": np.arange(1000),
    "bursts of a word": (np.arange(0, 50_000, 3200)[:, None] + np.arange(64)).reshape(-1),
    "the same bit of many words": np.arange(5, 50_000, 64),
    "pairs of neighbours": (np.arange(0, 50_000, 97)[:, None] + np.arange(2)).reshape(-1),
    "the last bits": np.arange(49_000, 50_000),
}


# In 25 pairs of each kind one cost over the other lay between 0.999 and 1.003 and spread by at most 0.008, nearly
# normally: of the 375 pairs none was further than 3 deviations from its mean. Of the sums over three pairs 5 % are 10.
# Where the first pass does not shuffle, some bursts cost 10 % less, and four times the exchanges.
@pytest.mark.parametrize("lanes", [1, 8, 64])
@pytest.mark.parametrize("name", BURSTS)
def test_errors_in_bursts_cost_what_scattered_ones_cost(name: str, lanes: int) -> None:
    alice, _ = keys(50_000, 0.0, 9)
    burst = alice.copy()
    burst[BURSTS[name]] ^= 1
    plan = replace(schedule(50_000, len(BURSTS[name]) / 50_000), lanes=lanes)
    plan = replace(plan, frame_words=plan.words // 3)
    assert plan.frames == 3
    cost = [0, 0]
    for seed in range(3):
        rng = np.random.default_rng(seed)
        scattered = alice.copy()
        scattered[rng.permutation(50_000)[: len(BURSTS[name])]] ^= 1
        shuffle_seed = rng.bytes(32)
        for kind, bob in enumerate((scattered, burst)):
            answerer, corrector = (
                Answerer(alice, plan, shuffle_seed, PLENTY),
                Corrector(bob, plan, shuffle_seed),
            )
            while (asked := corrector.questions()) is not None:
                corrector.receive(answerer.answer(asked))
            assert np.array_equal(corrector.bits, alice)
            cost[kind] += answerer.disclosed_bits
    assert abs(cost[1] / cost[0] - 1) < 0.05


def test_no_parity_of_a_pass_is_asked_for_that_is_known_or_follows_from_known_ones() -> None:
    length = 20_000
    alice, bob = keys(length, 0.05, 10)
    plan = schedule(length, 0.05)
    leaves: dict[
        tuple[int, int], dict[int, int]
    ] = {}  # per pass and lane: the smallest ranges of known parity
    opened: set[int] = set()
    for asked in play(alice, bob, 0.05).asked:
        opening = set(asked.indices.tolist()) - opened
        for index, start, end, mask in ranges(asked):
            if index >= PASSES:
                continue
            for lane in (lane for lane in range(plan.lanes) if mask >> lane & 1):
                known = leaves.setdefault((index, lane), {})
                if index in opening:
                    assert all(end <= begun or start >= known[begun] for begun in known)
                    known[start] = end
                else:
                    known_end = known[start]
                    assert start < end < known_end
                    known |= {start: end, end: known_end}
        opened |= opening
    assert all(min(known) == 0 and max(known.values()) == plan.words for known in leaves.values())
    assert opened >= set(range(PASSES))


@pytest.mark.parametrize("pair", [(0, 1), (7, 300), (398, 399)])
def test_a_pair_of_errors_that_no_block_can_show_is_found_by_random_parities(pair: tuple[int, int]) -> None:
    alice, bob = keys(400, 0.0, 30)
    bob[list(pair)] ^= 1
    assert schedule(400, 0.001).block_words(0, 400) > 400  # one block in each pass, and it is even
    assert np.array_equal(play(alice, bob, 0.001).bob.bits, alice)


def test_the_checks_must_be_clean_24_times_in_a_row() -> None:
    alice, _ = keys(30_000, 0.0, 31)
    checks = [
        index for asked in play(alice, alice, 0.02).asked for index, *_ in ranges(asked) if index >= PASSES
    ]
    assert checks == list(range(PASSES, PASSES + 24))


def test_the_run_is_a_function_of_its_inputs() -> None:
    alice, bob = keys(5_000, 0.03, 11)
    runs = [
        [ranges(asked) for asked in play(alice, bob, 0.03, seed).asked] for seed in (SEED, SEED, bytes(32))
    ]
    assert runs[0] == runs[1] != runs[2]


def test_the_received_key_is_left_as_it_was() -> None:
    alice, bob = keys(1_000, 0.05, 12)
    received = bob.copy()
    play(alice, bob, 0.05)
    assert np.array_equal(bob, received)


def test_the_budget_is_refused_before_anything_beyond_it_is_disclosed() -> None:
    alice, _ = keys(100, 0.0, 13)
    answerer = Answerer(alice, schedule(100, 0.05), SEED, 3)
    answerer.answer(questions(0, (0, 10), (10, 20)))
    with pytest.raises(BudgetExhausted, match="budget of the block is 3"):
        answerer.answer(questions(0, (20, 30), (30, 40)))
    assert answerer.disclosed_bits == 2
    answerer.answer(questions(0, (20, 30)))
    assert answerer.disclosed_bits == 3


def test_a_repeated_question_is_answered_alike_and_counted_again() -> None:
    alice, _ = keys(100, 0.0, 14)
    answerer = Answerer(alice, schedule(100, 0.05), SEED, PLENTY)
    first = answerer.answer(questions(2, (0, 50)))
    for other in (0, 1, 77, 2):
        answerer.answer(questions(other, (0, 50)))
    assert np.array_equal(answerer.answer(questions(2, (0, 50))), first)
    assert answerer.disclosed_bits == 6


def test_a_pass_is_answered_lane_by_lane_and_a_check_in_one_bit() -> None:
    alice, _ = keys(640, 0.0, 14)
    plan = replace(schedule(640, 0.05), lanes=64)
    answerer = Answerer(alice, plan, SEED, PLENTY)
    passes = answerer.answer(questions(0, (0, 10), mask=0b1101))
    assert answerer.disclosed_bits == 3
    assert int(passes[0]) & ~0b1101 == 0
    check = answerer.answer(questions(PASSES, (0, 10), mask=0b1101))
    assert answerer.disclosed_bits == 4
    assert int(check[0]) in (0, 1)


@pytest.mark.parametrize(
    ("senseless", "complaint"),
    [
        (questions(0, (0, 101)), "beyond the key"),
        (questions(0, (0, 10), (50, 101)), "beyond the key"),
        (questions(0, (2**32 - 2, 2**32 - 1)), "beyond the key"),
        (questions(0, (5, 5)), "empty"),
        (questions(0, (6, 5)), "empty"),
        (questions(PASSES, (6, 5)), "empty"),
        (questions(0), "no parity"),
        (questions(MAX_INDICES, (0, 10)), "beyond the last"),
        (questions(255, (0, 10)), "beyond the last"),
        (questions(0, (0, 10), mask=0), "no lane"),
        (questions(PASSES, (0, 10), mask=0), "no lane"),
        (questions(0, (0, 10), mask=2), "no lane"),
        (replace(questions(0, (0, 10)), ends=np.array([5, 6], np.uint32)), "one index"),
        (replace(questions(0, (0, 10)), masks=np.array([[1]], np.uint64)), "one index"),
    ],
)
def test_senseless_questions_are_refused_and_nothing_is_counted(senseless: Questions, complaint: str) -> None:
    alice, _ = keys(100, 0.0, 15)
    answerer = Answerer(alice, schedule(100, 0.05), SEED, PLENTY)
    with pytest.raises(ValueError, match=complaint):
        answerer.answer(senseless)
    assert answerer.disclosed_bits == 0


def test_a_check_spans_one_frame_at_most_so_that_nobody_is_kept_busy() -> None:
    length = 64 * (LARGEST_FRAME_WORDS + 1)
    answerer = Answerer(np.zeros(length, np.uint8), schedule(length, 0.05), SEED, PLENTY)
    with pytest.raises(ValueError, match="more than one frame"):
        answerer.answer(questions(PASSES, (0, LARGEST_FRAME_WORDS + 1)))
    answerer.answer(questions(PASSES, (0, LARGEST_FRAME_WORDS)))
    assert answerer.disclosed_bits == 1


@pytest.mark.parametrize(
    "answers", [np.zeros(3, np.uint64), np.zeros((1, 7), np.uint64), np.zeros(7, np.uint8)]
)
def test_answers_of_the_wrong_form_are_refused_and_the_question_stands(answers: Bits) -> None:
    _, bob = keys(100, 0.05, 16)
    corrector = Corrector(bob, schedule(100, 0.05), SEED)
    asked = corrector.questions()
    assert asked is not None
    assert len(asked) == 7
    with pytest.raises(ValueError, match="answers"):
        corrector.receive(answers)
    assert corrector.questions() is asked
    assert corrector.disclosed_bits == 0


def test_answers_that_nobody_asked_for_are_refused() -> None:
    corrector = Corrector(np.zeros(10, np.uint8), schedule(10, 0.05), SEED)
    while (asked := corrector.questions()) is not None:
        corrector.receive(np.zeros(len(asked), np.uint64))
    with pytest.raises(ValueError, match="nobody asked"):
        corrector.receive(np.zeros(1, np.uint64))


def test_a_key_of_another_length_than_the_schedule_is_refused() -> None:
    for party in (
        lambda bits, plan: Answerer(bits, plan, SEED, PLENTY),
        lambda bits, plan: Corrector(bits, plan, SEED),
    ):
        with pytest.raises(ValueError, match="schedule is for 11 bits"):
            party(np.zeros(10, np.uint8), schedule(11, 0.05))


@pytest.mark.parametrize("seed", range(10))
def test_an_alice_who_answers_at_random_contradicts_herself_before_long(seed: int) -> None:
    rng = np.random.default_rng(seed)
    _, bob = keys(300, 0.05, seed)
    corrector = Corrector(bob, schedule(300, 0.05), SEED)
    with pytest.raises(RemoteProtocolError, match="Alice's parities contradict each other"):  # noqa: PT012
        while (asked := corrector.questions()) is not None:
            corrector.receive(rng.integers(0, 2, len(asked), dtype=np.uint64))
    assert corrector.disclosed_bits < 300


@pytest.mark.parametrize("lie_at", range(10))
def test_one_wrong_answer_does_not_keep_bob_asking_forever(lie_at: int) -> None:
    alice, bob = keys(2000, 0.03, lie_at)
    plan = schedule(2000, 0.03)
    answerer, corrector = Answerer(alice, plan, SEED, parity_budget(2000, 0.03)), Corrector(bob, plan, SEED)
    with suppress(RemoteProtocolError):
        for exchange in count():
            if (asked := corrector.questions()) is None:
                break
            answers = answerer.answer(asked)
            answers[0] ^= np.uint64(exchange == lie_at)
            corrector.receive(answers)
    assert exchange > lie_at
    assert corrector.disclosed_bits < 2 * play(alice, bob, 0.03).bob.disclosed_bits
