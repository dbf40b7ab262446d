"""Plans: on the grid, near the optimum, the same every time, and an honest word where no key is possible."""

import re
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from qkdlink.common.distillation.finite_key import Statistics
from qkdlink.common.errors import ConfigurationError
from qkdlink.common.keys.allotment import LINK_PSK_BITS, upkeep_bits
from qkdlink.common.optics.expectation import expected_statistics
from qkdlink.common.optics.presets import PRESETS, preset
from qkdlink.common.protocol.parameters import ProtocolName
from qkdlink.common.protocol.variants.catalogue import VARIANTS
from qkdlink.common.protocol.variants.one_decoy import ONE_DECOY
from qkdlink.common.protocol.variants.single_photon import SINGLE_PHOTON
from qkdlink.common.protocol.variants.two_decoy import TWO_DECOY
from qkdlink.common.protocol.variants.variant import Terms
from qkdlink.deployment.planning.planner import (
    Plan,
    best_plan,
    furthest_distance_km,
    plan,
    smallest_block,
    smallest_block_with_key,
    task_for,
    tolerated_qber,
)
from qkdlink.deployment.planning.prospect import Settings, Task, expectation, prospect_of
from qkdlink.lab.light.block_with_eve import live_block

METROPOLITAN = preset("metropolitan")


def metropolitan(
    block_pulses: int, protocol: ProtocolName = ONE_DECOY.name, distance_km: float = 10.0
) -> Task:
    return task_for(METROPOLITAN, block_pulses, protocol, distance_km)


@pytest.mark.parametrize("protocol", VARIANTS)
@pytest.mark.parametrize("block_pulses", [2_000_000, 50_000_000])
def test_a_plan_is_what_both_nodes_accept_as_parameters(protocol: ProtocolName, block_pulses: int):
    found = plan(metropolitan(block_pulses, protocol))
    parameters = found.link_parameters()
    assert parameters.block_pulses == block_pulses
    assert parameters.source.key_basis_probability == found.key_basis_probability
    assert found.expected_secret_bits > 0


@pytest.mark.parametrize("protocol", VARIANTS)
def test_the_same_task_gives_the_same_plan(protocol: ProtocolName):
    found = plan(metropolitan(3_000_000, protocol))
    best_plan.cache_clear()
    again = plan(metropolitan(3_000_000, protocol))
    assert again is not found
    assert again == found


def test_the_expected_key_is_that_of_the_expected_counts():
    found = plan(metropolitan(10_000_000))
    parameters = found.link_parameters()
    expected = expected_statistics(
        parameters.source, parameters.fibre, parameters.detector, parameters.key_basis_probability
    )

    def counts(rates: tuple[float, ...], qber: float = 1.0) -> tuple[int, ...]:
        return tuple(round(10_000_000 * rate * qber) for rate in rates)

    statistics = Statistics(
        found.intensities,
        found.probabilities,
        counts(expected.sifted_key),
        counts(expected.sifted_key, expected.qber_key),
        counts(expected.sifted_test),
        counts(expected.sifted_test, expected.qber_test),
    )
    length = ONE_DECOY.length(statistics, Terms(found.expected_leaked_bits, 1e-9, 1e-15))
    assert length.secret_bits == pytest.approx(found.expected_secret_bits, rel=1e-3)
    assert sum(statistics.key_detections) == found.expected_sifted_bits


def test_no_settings_of_a_coarse_search_beat_the_plan():
    """The plan rests on a local optimiser; a search that looks everywhere must not find better."""
    block, found = 5_000_000, plan(metropolitan(5_000_000))
    best = 0
    for mu1, ratio, p1, bias in product(
        np.linspace(0.3, 1.0, 8), np.linspace(0.15, 0.6, 7), np.linspace(0.1, 0.9, 9), np.arange(76, 125, 6)
    ):
        p, q = round(p1 * 256) / 256, float(bias) / 128
        fixed = replace(metropolitan(block), fixed_intensities=(float(mu1), float(mu1 * ratio)))
        best = max(best, _expected_bits(fixed, (p, 1 - p), q))
    assert 0 < best <= found.expected_secret_bits


def _expected_bits(task: Task, probabilities: tuple[float, ...], bias: float) -> int:
    mu = tuple(k for k in task.fixed_intensities if k is not None)
    eta, e = task.fibre.transmittance * task.detector.efficiency, task.fibre.misalignment

    def counts(share: float) -> tuple[tuple[int, ...], tuple[int, ...]]:
        rates = [p * share * -np.expm1(-eta * k) for k, p in zip(mu, probabilities, strict=True)]
        return tuple(round(task.block_pulses * r) for r in rates), tuple(
            round(task.block_pulses * r * e) for r in rates
        )

    (key, key_errors), (test, test_errors) = counts(bias**2), counts((1 - bias) ** 2)
    h = -e * np.log2(e) - (1 - e) * np.log2(1 - e)
    statistics = Statistics(mu, probabilities, key, key_errors, test, test_errors)
    leaked = round(1.16 * sum(key) * h)
    return ONE_DECOY.length(statistics, Terms(leaked, 1e-9, 1e-15)).secret_bits


@pytest.mark.parametrize("protocol", [ONE_DECOY.name, TWO_DECOY.name])
@pytest.mark.parametrize("block_pulses", [450_000, 1_000_000, 50_000_000])
def test_no_neighbour_on_the_grid_beats_the_plan(protocol: ProtocolName, block_pulses: int):
    task = metropolitan(block_pulses, protocol)
    found = plan(task)
    settings = Settings(found.intensities, found.probabilities, found.key_basis_probability)
    neighbours = [candidate for candidate in settings.neighbours() if candidate.are_possible(task.variant)]
    assert len(neighbours) >= 3
    for candidate in neighbours:
        assert (
            prospect_of(task, candidate, expectation(task, candidate), None).length.secret_bits
            <= found.expected_secret_bits
        )


def test_published_intensities_hold_for_the_protocol_they_were_published_for():
    assert plan(task_for(preset("gys-2004"), 10**9)).intensities == (0.48, 0.05, 0.0)
    lim = plan(task_for(preset("lim-2014"), 10**8))
    assert lim.intensities[2] == 2e-4
    assert lim.intensities[0] > lim.intensities[1] > 0.05
    assert len(plan(task_for(preset("lim-2014"), 10**8, ONE_DECOY.name)).intensities) == 2


@pytest.mark.parametrize("name", list(PRESETS))
def test_every_preset_has_a_plan_at_its_own_distance(name: str):
    assert plan(task_for(preset(name), 10**9)).expected_secret_bits > 10_000


def test_a_longer_block_gives_more_key_per_pulse():
    keys = [plan(metropolitan(10**exponent)).expected_secret_bits / 10**exponent for exponent in (6, 7, 8)]
    assert keys == sorted(keys)


@pytest.mark.parametrize("protocol", [ONE_DECOY.name, SINGLE_PHOTON.name])
def test_the_smallest_block_gives_what_was_asked_and_little_more(protocol: ProtocolName):
    task = task_for(preset("metropolitan"), 1, protocol)
    block = smallest_block(task, secret_bits=3000)
    assert block is not None
    assert plan(replace(task, block_pulses=block)).expected_secret_bits >= 3000
    with_less = replace(task, block_pulses=round(block * 0.9))
    assert plan(with_less).expected_secret_bits < 3000


@pytest.mark.parametrize(
    ("protocol", "tags", "pulses", "why"),
    [
        (
            ONE_DECOY.name,
            True,
            400_000,
            r"which has to give 1280 to pay for itself: a block of (\d+)",
        ),
        (TWO_DECOY.name, False, 1, r"no key is possible with .*: a block of (\d+) pulses would do"),
        (
            SINGLE_PHOTON.name,
            True,
            1,
            r"no key is possible with .*: a block of (\d+) pulses would do",
        ),
    ],
)
def test_the_block_that_would_do_makes_a_key_for_nearly_every_seed(
    protocol: ProtocolName, tags: bool, pulses: int, why: str
):
    """One in 50 may fall short: 4 of 12 do so once in 14,000 honest runs, and the seeds are fixed."""
    task = replace(metropolitan(pulses, protocol), least_secret_bits=upkeep_bits(tags=tags))
    with pytest.raises(ConfigurationError) as refused:
        plan(task)
    found = re.search(why, str(refused.value))
    assert found is not None
    would_do = plan(replace(task, block_pulses=int(found[1])))
    parameters = would_do.link_parameters(reproducible=True)
    keys = [live_block(parameters, (), 5, number, checked=False).secret_bits for number in range(1, 13)]
    assert sum(key >= task.least_secret_bits for key in keys) >= 9
    assert would_do.expected_secret_bits < 2 * task.least_secret_bits + 500, "a smaller block would do"


@pytest.mark.parametrize("name", ["gys-2004", "rusca-2018"])
def test_49_in_50_of_the_smallest_blocks_pay_for_themselves_by_counts_drawn_at_random(name: str):
    """Binomial tail at 0.96 and 300 draws, where 0.977 is expected: below 1e-6 is 0.925."""
    task = replace(task_for(preset(name), 1), least_secret_bits=upkeep_bits(tags=True))
    found = plan(replace(task, block_pulses=smallest_block_with_key(task) or 0))
    rng = np.random.default_rng(11)
    reached = [_drawn_bits(found, rng) >= task.least_secret_bits for _ in range(300)]
    assert np.mean(reached) > 0.925


def _drawn_bits(found: Plan, rng: np.random.Generator) -> int:
    """Return the length of a block whose counts are drawn from Poisson distributions around the expected ones."""
    parameters, task = found.link_parameters(), found.task
    expected = expected_statistics(
        parameters.source, parameters.fibre, parameters.detector, parameters.key_basis_probability
    )

    def drawn(rates: tuple[float, ...], errors: tuple[float, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        wrong = [
            int(rng.poisson(task.block_pulses * rate * e)) for rate, e in zip(rates, errors, strict=True)
        ]
        right = [
            rng.poisson(task.block_pulses * rate * (1 - e)) for rate, e in zip(rates, errors, strict=True)
        ]
        return tuple(int(a + b) for a, b in zip(right, wrong, strict=True)), tuple(wrong)

    key, key_errors = drawn(expected.sifted_key, expected.qber_key_by_class)
    test, test_errors = drawn(expected.sifted_test, expected.qber_test_by_class)
    e = sum(key_errors) / sum(key)
    leaked = task.error_correction_efficiency * sum(key) * (-e * np.log2(e) - (1 - e) * np.log2(1 - e))
    statistics = Statistics(found.intensities, found.probabilities, key, key_errors, test, test_errors)
    return task.variant.length(statistics, Terms(leaked, task.eps_sec, task.eps_cor)).secret_bits


def test_the_furthest_distance_still_gives_a_key_and_a_little_further_does_not():
    task = metropolitan(10_000_000)
    distance_km = furthest_distance_km(task)
    assert distance_km is not None
    assert plan(metropolitan(10_000_000, distance_km=distance_km)).expected_secret_bits > LINK_PSK_BITS
    with pytest.raises(ConfigurationError):
        plan(metropolitan(10_000_000, distance_km=distance_km + 6))


def test_where_no_key_is_possible_the_user_learns_what_would_do():
    with pytest.raises(ConfigurationError) as refused:
        plan(metropolitan(1_000_000, distance_km=60.0))
    sentence = str(refused.value)
    assert "no key is possible with one-decoy over 60 km in a block of 1000000 pulses" in sentence
    assert "a block of" in sentence
    assert "a fibre of at most" in sentence


@pytest.mark.parametrize("protocol", VARIANTS)
def test_where_nothing_helps_the_user_learns_that_too(protocol: ProtocolName):
    blind = replace(METROPOLITAN, misalignment=0.2)
    with pytest.raises(ConfigurationError, match="neither a larger block nor a shorter fibre would help"):
        plan(task_for(blind, 10**6, protocol))


@pytest.mark.parametrize("protocol", VARIANTS)
def test_a_block_of_one_pulse_is_refused_and_not_a_crash(protocol: ProtocolName):
    with pytest.raises(ConfigurationError, match="no key is possible"):
        plan(metropolitan(1, protocol))


def test_an_honest_link_keeps_within_its_tolerated_error_rate():
    """Exact binomial tail at the planned test size: honest aborts are rarer than agreed."""
    found: Plan = plan(metropolitan(1_000_000, SINGLE_PHOTON.name))
    assert found.tolerated_qber is not None
    assert SINGLE_PHOTON.honest_abort is not None
    n, e = found.expected_test_bits, found.expected_qber
    allowed = int(found.tolerated_qber * n)
    term, tail = (1 - e) ** n, 1.0
    for k in range(allowed + 1):
        tail -= term
        term *= (n - k) / (k + 1) * e / (1 - e)
    assert tail < SINGLE_PHOTON.honest_abort
    assert found.expected_qber < found.tolerated_qber < 2 * found.expected_qber


def test_nothing_is_tolerated_of_a_test_without_bits():
    assert tolerated_qber(0.01, 0, 1e-6) is None
    assert tolerated_qber(0.01, 20, 1e-6) is None


@pytest.mark.parametrize("protocol", [ONE_DECOY.name, TWO_DECOY.name])
@pytest.mark.parametrize("name", ["metropolitan", "rusca-2018"])
def test_above_the_smallest_block_every_block_has_a_plan(name: str, protocol: ProtocolName):
    """Small blocks want unusual settings; an optimiser that loses its way leaves holes here."""
    task = task_for(preset(name), 1, protocol)
    smallest = smallest_block(task, LINK_PSK_BITS)
    assert smallest is not None
    keys = [
        plan(replace(task, block_pulses=round(smallest * factor))).expected_secret_bits
        for factor in (1.0, 1.2, 3.0)
    ]
    assert keys == sorted(keys)
