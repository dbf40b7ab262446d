"""The three key lengths: published check points, what may never happen, which way each quantity pushes."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkdlink.common.distillation.decoy import (
    ContradictoryCountsError,
    IntensityClasses,
    PhotonEvents,
    two_decoy_events,
)
from qkdlink.common.distillation.entropy import binary_entropy, entropy_of_bound
from qkdlink.common.distillation.finite_key import (
    KeyLength,
    Statistics,
    one_decoy_length,
    one_decoy_outlook,
    single_photon_length,
    two_decoy_length,
)
from qkdlink.common.distillation.sampling import Sampling

type Length = Callable[[Statistics, int], KeyLength]

WORKED_EXAMPLE = Statistics(
    intensities=(0.51, 0.15),
    probabilities=(0.7, 0.3),
    key_detections=(8875913, 1124087),
    key_errors=(185856, 26055),
    test_detections=(165048, 20902),
    test_errors=(3456, 484),
)
EPS_SEC, EPS_COR = 1e-9, 1e-15

TWO_DECOY_EXAMPLE = Statistics(
    intensities=(0.48, 0.12, 2e-4),
    probabilities=(0.6, 0.25, 0.15),
    key_detections=(2_900_000, 310_000, 900),
    key_errors=None,
    test_detections=(720_000, 78_000, 230),
    test_errors=(8_600, 1_000, 110),
)


def one_decoy(statistics: Statistics, leaked_bits: int) -> KeyLength:
    return one_decoy_length(statistics, leaked_bits, EPS_SEC, EPS_COR)


def two_decoy(statistics: Statistics, leaked_bits: int) -> KeyLength:
    return two_decoy_length(statistics, leaked_bits, EPS_SEC, EPS_COR)


PROTOCOLS = pytest.mark.parametrize(
    ("length", "example"), [(one_decoy, WORKED_EXAMPLE), (two_decoy, TWO_DECOY_EXAMPLE)]
)


def test_the_worked_one_decoy_example_gives_the_verified_number_of_bits():
    """Source: the interval-arithmetic example of the FormalQKD project (A. Baliuka)."""
    assert one_decoy_length(WORKED_EXAMPLE, 1776924, 1e-9, 1e-15).secret_bits == 1464719


def test_the_single_photon_events_are_not_rounded():
    events = one_decoy(WORKED_EXAMPLE, 0).single_photon_events
    assert events == pytest.approx(5396516.26882, rel=1e-11)
    assert events != int(events)


def test_the_constant_price_of_a_two_decoy_key_is_the_published_one():
    """6 log2(21/1e-9) + log2(2/1e-15) = 256.57 bits; seen as the leak at which the last bit goes."""
    free = two_decoy(TWO_DECOY_EXAMPLE, 0).secret_bits
    assert two_decoy(TWO_DECOY_EXAMPLE, free - 1).secret_bits == 1
    assert two_decoy(TWO_DECOY_EXAMPLE, free) == KeyLength(
        0, two_decoy(TWO_DECOY_EXAMPLE, 0).single_photon_events, 0.5
    )


@PROTOCOLS
def test_every_leaked_bit_costs_exactly_one_secret_bit(length: Length, example: Statistics):
    assert length(example, 0).secret_bits - length(example, 12345).secret_bits == 12345


@PROTOCOLS
def test_no_key_is_zero_bits_at_phase_error_rate_one_half(length: Length, example: Statistics):
    assert (length(example, 10**9).secret_bits, length(example, 10**9).phase_error_rate) == (0, 0.5)


@PROTOCOLS
def test_the_balance_tells_by_how_many_bits_a_block_could_not_pay(length: Length, example: Statistics):
    rich = length(example, 0)
    poor = length(example, rich.secret_bits + 1000)
    assert rich.secret_bits <= rich.balance_bits < rich.secret_bits + 1
    assert -1000 <= poor.balance_bits < -999
    assert poor.secret_bits == 0


@PROTOCOLS
def test_a_block_without_detections_has_no_key(length: Length, example: Statistics):
    nothing = tuple(0 for _ in example.intensities)
    empty = replace(
        example, key_detections=nothing, key_errors=nothing, test_detections=nothing, test_errors=nothing
    )
    assert length(empty, 0) == KeyLength(0, 0.0, 0.5)


@PROTOCOLS
def test_a_block_without_test_detections_has_no_key(length: Length, example: Statistics):
    nothing = tuple(0 for _ in example.intensities)
    blind = replace(example, test_detections=nothing, test_errors=nothing)
    assert length(blind, 0).secret_bits == 0
    assert length(blind, 0).single_photon_events == length(example, 0).single_photon_events


@PROTOCOLS
def test_a_test_without_a_single_error_still_leaves_room_for_a_sampling_error(
    length: Length, example: Statistics
):
    faultless = replace(example, test_errors=tuple(0 for _ in example.intensities))
    assert 0.0 < length(faultless, 0).phase_error_rate < length(example, 0).phase_error_rate


@PROTOCOLS
def test_errors_everywhere_leave_no_key(length: Length, example: Statistics):
    wrong = replace(example, test_errors=example.test_detections)
    assert length(wrong, length(example, 0).secret_bits // 4).secret_bits == 0


def test_the_one_decoy_bound_needs_the_errors_of_the_key_basis():
    with pytest.raises(ValueError, match="errors that were corrected in the key basis"):
        one_decoy(replace(WORKED_EXAMPLE, key_errors=None), 0)


@pytest.mark.parametrize("intensities", [(0.5, 0.5), (0.1, 0.5), (0.5, 0.0), (0.5,), (0.5, 0.2, 0.1)])
def test_one_decoy_refuses_intensities_that_do_not_fit(intensities: tuple[float, ...]):
    with pytest.raises(ValueError, match="one decoy needs two intensities"):
        one_decoy(replace(WORKED_EXAMPLE, intensities=intensities), 0)


@pytest.mark.parametrize("intensities", [(0.5, 0.3, 0.2), (0.5, 0.1, 0.1), (0.5, 0.1, -0.1), (0.5, 0.1)])
def test_two_decoy_refuses_intensities_that_do_not_fit(intensities: tuple[float, ...]):
    with pytest.raises(ValueError, match="two decoys need three intensities"):
        two_decoy(replace(TWO_DECOY_EXAMPLE, intensities=intensities), 0)


def test_the_third_intensity_may_be_a_true_vacuum():
    assert two_decoy(replace(TWO_DECOY_EXAMPLE, intensities=(0.48, 0.12, 0.0)), 500_000).secret_bits > 0


def test_single_photon_key_reports_all_key_bits_and_the_tolerated_rate_with_its_margin():
    length = single_photon_length(100_000, 20_000, 0.02, 18_000, 1e-9, 1e-15)
    assert length.single_photon_events == 100_000.0
    assert 0.02 < length.phase_error_rate < 0.1
    assert length.secret_bits > 0


@pytest.mark.parametrize(("key_bits", "test_bits"), [(0, 100), (100, 0), (0, 0), (1, 1)])
def test_single_photon_blocks_that_are_too_small_have_no_key(key_bits: int, test_bits: int):
    assert single_photon_length(key_bits, test_bits, 0.0, 0, 1e-9, 1e-15) == KeyLength(
        0, float(key_bits), 0.5
    )


CONTRADICTIONS = {
    "only the weakest class clicks": (
        TWO_DECOY_EXAMPLE,
        {"key_detections": (0, 0, 10**6), "test_detections": (0, 10**6, 0), "test_errors": (0, 0, 0)},
    ),
    "two decoys, weakest class first": (TWO_DECOY_EXAMPLE, {"key_detections": (900, 310_000, 2_900_000)}),
    "two decoys, test errors reversed": (TWO_DECOY_EXAMPLE, {"test_errors": (0, 110, 8_600)}),
    "weaker class first in the key basis": (WORKED_EXAMPLE, {"key_detections": (1124087, 8875913)}),
    "weaker class first in the test basis": (
        WORKED_EXAMPLE,
        {"test_detections": (20902, 165048), "test_errors": (484, 3456)},
    ),
    "test errors reversed": (WORKED_EXAMPLE, {"test_errors": (484, 3456)}),
    "a vacuum that makes no errors": (
        WORKED_EXAMPLE,
        {"key_detections": (7_000_000, 3_000_000), "key_errors": (0, 0)},
    ),
}


@pytest.mark.parametrize("what", CONTRADICTIONS)
@pytest.mark.parametrize("sampling", Sampling)
def test_counts_that_no_such_source_gives_are_refused(what: str, sampling: Sampling):
    example, changes = CONTRADICTIONS[what]
    with pytest.raises(ContradictoryCountsError, match="no source with these intensities gives these counts"):
        LENGTHS[len(example.intensities)](replace(example, **changes), 0, EPS_SEC, EPS_COR, sampling)


def test_events_above_the_detections_but_within_the_limits_are_clipped():
    """Unclipped, the lower limit for single photons is 155.2 of 154 detections; at most 172 have room."""
    classes = IntensityClasses((0.7772, 0.2255, 0.02255), (0.0802, 0.2305, 0.6893))
    events = two_decoy_events(classes, (44, 87, 23), failure=0.3)
    assert events == PhotonEvents(vacuum=0.0, single=154)


@pytest.mark.parametrize(
    ("vacuum", "single", "clipped"),
    [
        (-5.0, -1.0, (0.0, 0.0)),
        (30.0, 60.0, (30.0, 60.0)),
        (60.0, 70.0, (30.0, 70.0)),
        (9.0, 101.0, (0.0, 100.0)),
    ],
)
def test_the_vacuum_gives_way_to_the_single_photons(
    vacuum: float, single: float, clipped: tuple[float, float]
):
    assert PhotonEvents.within(vacuum, single, (60, 40)) == PhotonEvents(*clipped)


def test_a_vacuum_that_shows_more_errors_than_were_found_so_far_is_no_contradiction_yet():
    dark = replace(WORKED_EXAMPLE, key_detections=(7_000_000, 3_000_000))
    hopeful = one_decoy_outlook(replace(dark, key_errors=None), 0, EPS_SEC, EPS_COR, Sampling.EXACT)
    with pytest.raises(ContradictoryCountsError):
        one_decoy_outlook(replace(dark, key_errors=(0, 0)), 0, EPS_SEC, EPS_COR, Sampling.EXACT)
    known = one_decoy(replace(dark, key_errors=(3_500_000, 1_500_000)), 0)
    assert hopeful.single_photon_events >= known.single_photon_events


def test_the_entropy_of_a_bound_does_not_fall_above_one_half():
    assert entropy_of_bound(0.9) == entropy_of_bound(0.5) == 1.0
    assert binary_entropy(0.11) == pytest.approx(0.499916, abs=1e-6)
    assert binary_entropy(0.0) == binary_entropy(1.0) == 0.0
    with pytest.raises(ValueError, match="between 0 and 1"):
        binary_entropy(1.01)


@st.composite
def blocks(draw: st.DrawFn, class_count: int) -> Statistics:
    """Any counts at all, from nothing to 10^12, physical or not."""
    weaker = draw(st.floats(1e-4, 0.3))
    weakest = draw(st.one_of(st.just(0.0), st.floats(1e-5, 0.3)))
    intensities = {2: (weaker + 0.1, weaker), 3: (weaker + 2 * weakest + 0.2, weaker + weakest, weakest)}
    weights = draw(st.lists(st.floats(0.01, 1.0), min_size=class_count, max_size=class_count))
    counts = st.one_of(st.just(0), st.integers(0, 1000), st.integers(0, 10**12))

    def basis() -> tuple[tuple[int, ...], tuple[int, ...]]:
        detections = tuple(draw(counts) for _ in range(class_count))
        return detections, tuple(draw(st.integers(0, count)) for count in detections)

    key_detections, key_errors = basis()
    test_detections, test_errors = basis()
    return Statistics(
        intensities[class_count],
        tuple(weight / sum(weights) for weight in weights),
        key_detections,
        key_errors,
        test_detections,
        test_errors,
    )


@st.composite
def plausible_blocks(draw: st.DrawFn, class_count: int) -> Statistics:
    """Counts near those of a real link, so that there often is a key."""
    intensities = {2: (0.5, 0.15), 3: (0.5, 0.12, 1e-3)}[class_count]
    probabilities = {2: (0.6, 0.4), 3: (0.5, 0.3, 0.2)}[class_count]
    pulses, transmittance = 10 ** draw(st.floats(5, 10)), 10 ** draw(st.floats(-3, -0.3))
    test_share, qber = draw(st.floats(0.05, 0.5)), draw(st.floats(0.0, 0.12))
    clicks = [
        pulses * p * (transmittance * k + 1e-7) for k, p in zip(intensities, probabilities, strict=True)
    ]
    test = tuple(int(count * test_share) for count in clicks)
    key = tuple(int(count * (1 - test_share)) for count in clicks)
    return Statistics(
        intensities,
        probabilities,
        key,
        tuple(int(n * qber) for n in key),
        test,
        tuple(int(n * qber) for n in test),
    )


LENGTHS = {2: one_decoy_length, 3: two_decoy_length}
CLASS_COUNTS = st.sampled_from([2, 3])
EPSILONS = st.floats(1e-300, 0.999999)


@given(
    CLASS_COUNTS.flatmap(lambda count: st.one_of(blocks(count), plausible_blocks(count))),
    st.integers(0, 10**12),
    EPSILONS,
    EPSILONS,
    st.sampled_from(Sampling),
)
def test_counts_are_refused_or_give_no_more_than_what_was_sifted_less_the_leak(
    statistics: Statistics, leaked_bits: int, eps_sec: float, eps_cor: float, sampling: Sampling
):
    bound = LENGTHS[len(statistics.intensities)]
    sifted = sum(statistics.key_detections)
    try:
        length = bound(statistics, leaked_bits % (sifted + 1), eps_sec, eps_cor, sampling)
    except ContradictoryCountsError:
        return
    assert 0 <= length.secret_bits <= sifted - leaked_bits % (sifted + 1)
    assert 0.0 <= length.single_photon_events <= sifted
    assert 0.0 <= length.phase_error_rate <= 0.5
    assert length.secret_bits > 0 or length.phase_error_rate == 0.5


@given(
    st.integers(0, 10**12),
    st.integers(0, 10**12),
    st.floats(0, 1),
    st.integers(0, 10**12),
    EPSILONS,
    EPSILONS,
    st.sampled_from(Sampling),
)
def test_no_single_photon_counts_give_a_negative_or_undefined_key(
    key: int, test: int, qber: float, leaked: int, eps_sec: float, eps_cor: float, sampling: Sampling
):
    length = single_photon_length(key, test, qber, leaked, eps_sec, eps_cor, sampling)
    assert 0 <= length.secret_bits <= max(0, key - leaked)
    assert 0.0 <= length.phase_error_rate <= 0.5


@given(CLASS_COUNTS.flatmap(plausible_blocks), st.integers(0, 10**6), st.integers(0, 10**6))
def test_more_leak_never_gives_more_key(statistics: Statistics, leaked_bits: int, more: int):
    length = LENGTHS[len(statistics.intensities)]
    before = length(statistics, leaked_bits, EPS_SEC, EPS_COR).secret_bits
    assert length(statistics, leaked_bits + more, EPS_SEC, EPS_COR).secret_bits <= before


@given(CLASS_COUNTS.flatmap(plausible_blocks), st.floats(1.0, 3.0))
def test_more_test_errors_never_give_more_key(statistics: Statistics, factor: float):
    worse = replace(
        statistics,
        test_errors=tuple(
            min(n, round(m * factor))
            for m, n in zip(statistics.test_errors, statistics.test_detections, strict=True)
        ),
    )
    length = LENGTHS[len(statistics.intensities)]
    assert (
        length(worse, 0, EPS_SEC, EPS_COR).secret_bits <= length(statistics, 0, EPS_SEC, EPS_COR).secret_bits
    )


@given(plausible_blocks(2), st.integers(0, 10**5))
def test_more_key_errors_never_give_more_key(statistics: Statistics, more: int):
    assert statistics.key_errors is not None
    worse = replace(statistics, key_errors=tuple(count + more for count in statistics.key_errors))
    assert one_decoy(worse, 0).secret_bits <= one_decoy(statistics, 0).secret_bits


@given(CLASS_COUNTS.flatmap(plausible_blocks), st.floats(1e-20, 0.1), st.floats(1e-20, 0.1))
def test_more_security_never_gives_more_key(statistics: Statistics, eps_sec: float, eps_cor: float):
    length = LENGTHS[len(statistics.intensities)]
    lax = length(statistics, 0, eps_sec, eps_cor).secret_bits
    assert length(statistics, 0, eps_sec / 10, eps_cor).secret_bits <= lax
    assert length(statistics, 0, eps_sec, eps_cor / 10).secret_bits <= lax


@given(
    st.integers(1, 10**7),
    st.integers(1, 10**7),
    st.floats(0, 0.2),
    st.floats(0, 0.05),
    st.integers(0, 10**5),
    st.integers(0, 10**5),
)
def test_single_photon_key_shrinks_with_tolerance_and_leak(
    key: int, test: int, qber: float, more_qber: float, leaked: int, more_leaked: int
):
    before = single_photon_length(key, test, qber, leaked, EPS_SEC, EPS_COR).secret_bits
    after = single_photon_length(key, test, qber + more_qber, leaked + more_leaked, EPS_SEC, EPS_COR)
    assert after.secret_bits <= before
