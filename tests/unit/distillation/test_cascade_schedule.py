"""The plan of a reconciliation: block sizes, permutations, expected and highest disclosure."""

from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from common.bits import Bits
from common.distillation.reconciliation.cascade import Answerer, Corrector
from common.distillation.reconciliation.efficiency import efficiency, expected_leak_bits, parity_budget
from common.distillation.reconciliation.reference import shuffled
from common.distillation.reconciliation.schedule import replanned, schedule
from common.distillation.reconciliation.shuffle import inverse, permutation

SEED = bytes(range(32))


def test_block_sizes_follow_the_expected_error_rate() -> None:
    plan = schedule(100_000, 0.02)
    assert [plan.block_bits(index) for index in range(5)] == [40, 200, 4096, 25_000, 25_000]
    assert [plan.in_tail(index) for index in range(5)] == [False, False, False, True, True]


def test_a_schedule_is_a_value() -> None:
    assert schedule(1000, 0.01) == schedule(1000, 0.01)
    with pytest.raises(FrozenInstanceError):
        schedule(1000, 0.01).key_length = 5  # type: ignore[misc]


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 10, 100, 1000])
@pytest.mark.parametrize("qber", [0.0, 1e-9, 0.05, 0.5, 1.0])
def test_every_block_of_a_small_key_has_at_least_one_bit_and_at_most_the_key(
    length: int, qber: float
) -> None:
    plan = schedule(length, qber)
    assert all(1 <= plan.block_bits(index) <= length for index in range(20))


@pytest.mark.parametrize(
    ("length", "qber"), [(0, 0.01), (-1, 0.01), (10, -0.1), (10, 1.1), (10, float("nan"))]
)
def test_impossible_keys_and_rates_are_refused(length: int, qber: float) -> None:
    with pytest.raises(ValueError, match=r"at least one bit|between 0 and 1"):
        schedule(length, qber)


def test_the_second_pass_follows_a_higher_rate_that_the_first_has_shown() -> None:
    plan = schedule(100_000, 0.01)
    odd_share = (1 - (1 - 2 * 0.02) ** 80) / 2
    assert replanned(plan, round(odd_share * 1250), 1250).expected_qber == pytest.approx(0.02, rel=0.02)


def test_the_second_pass_ignores_a_lower_rate_and_believes_no_more_than_four_times_the_expected() -> None:
    plan = schedule(100_000, 0.01)
    assert replanned(plan, 10, 1250) == plan
    assert replanned(plan, 640, 1250) == schedule(100_000, 0.04)


def test_permutations_are_those_of_the_specification() -> None:
    for pass_index, length in [(0, 1), (0, 2), (1, 100), (63, 1000)]:
        assert permutation(SEED, pass_index, length).tolist() == shuffled(SEED, pass_index, length)


def test_a_permutation_is_the_same_on_every_machine() -> None:
    assert permutation(SEED, 5, 12).tolist() == [6, 11, 0, 4, 7, 1, 3, 8, 10, 5, 2, 9]


def test_each_pass_permutes_all_positions_in_its_own_way() -> None:
    orders = [permutation(SEED, pass_index, 5000) for pass_index in range(4)]
    for order in orders:
        assert np.array_equal(np.sort(order), np.arange(5000))
        assert np.array_equal(inverse(order)[order], np.arange(5000))
    assert len({order.tobytes() for order in orders}) == 4


def test_a_permutation_needs_a_seed_of_32_bytes() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        permutation(bytes(31), 0, 10)


def test_efficiency_is_disclosure_over_shannons_limit() -> None:
    assert efficiency(100, 100, 0.5) == 1.0
    assert efficiency(50_000, 100_000, 0.11) == pytest.approx(1.0, rel=1e-3)
    assert efficiency(10, 100, 0.0) is None


@pytest.mark.parametrize("qber", [0.01, 0.03, 0.05, 0.1])
def test_planning_expects_what_a_run_discloses_and_the_budget_is_far_above(qber: float) -> None:
    length, disclosed = 30_000, []
    for frame in range(4):
        rng = np.random.default_rng(frame)
        alice = rng.integers(0, 2, length, dtype=np.uint8)
        bob = alice ^ (rng.permutation(length) < qber * length).astype(np.uint8)
        disclosed.append(_disclosed(alice, bob, qber))
    assert expected_leak_bits(length, qber) == pytest.approx(np.mean(disclosed), rel=0.05)
    assert max(disclosed) < 0.6 * parity_budget(length, qber)


@pytest.mark.parametrize("length", [1, 10, 100, 1000])
@pytest.mark.parametrize("qber", [0.0, 0.01, 0.05, 0.1])
def test_short_keys_with_three_times_the_errors_stay_within_the_budget(length: int, qber: float) -> None:
    for frame in range(5):
        rng = np.random.default_rng(frame)
        alice = rng.integers(0, 2, length, dtype=np.uint8)
        bob = alice ^ (rng.random(length) < 3 * qber).astype(np.uint8)
        assert _disclosed(alice, bob, qber) < parity_budget(length, qber)


def _disclosed(alice: Bits, bob: Bits, expected_qber: float) -> int:
    plan = schedule(len(alice), expected_qber)
    answerer, corrector = Answerer(alice, plan, SEED, 10**9), Corrector(bob, plan, SEED)
    while (questions := corrector.questions()) is not None:
        corrector.receive(answerer.answer(questions))
    assert np.array_equal(corrector.bits, alice)
    return answerer.disclosed_bits
