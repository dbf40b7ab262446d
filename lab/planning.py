"""Choosing what to send: the intensities, probabilities and basis bias that make the most of a block.

A plan is made before light, from what the link is expected to show; the optimiser is deterministic, and its
answer lies on the grid that choices can be drawn from. The expectation is that of the emulated detectors, so
dead time and afterpulses are paid for; the leak is that of reconciliation at a stated efficiency.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import permutations, product
from math import ceil, floor, isfinite, log10, sqrt

from scipy.stats import binom

from common.distillation.decoy import Tally
from common.distillation.entropy import entropy_of_bound
from common.distillation.finite_key import KeyLength, Statistics, single_photon_length
from common.errors import ConfigurationError
from common.optics.detector import DetectorSettings
from common.optics.expectation import Expectation, expected_light
from common.optics.fibre import Fibre
from common.optics.presets import Preset
from common.optics.source import (
    BASIS_CHOICES,
    CLASS_CHOICES,
    PhotonStatistics,
    choosable_basis_probability,
    choosable_probabilities,
)
from common.protocol.key_length import LINK_SAMPLING, decoy_length
from common.protocol.parameters import LARGEST_BLOCK, LinkParameters, ProtocolName
from lab.optimiser import cheapest

WEAKEST_INTENSITY = 2e-4
"""The third of three intensities: what a shut modulator lets through. Source: Lim et al. (2014)."""

HONEST_ABORT = 1e-6
"""How often a link without Eve may exceed its tolerated error rate."""

_INTENSITY_DIGITS = 4
_NO_SINGLE_PHOTONS = 1e18
"""Cost, in bits, of settings that show no single photons."""

_IMPOSSIBLE = 2e18
"""Cost, in bits, of settings that cannot be sent."""

_STARTS = 3
"""How many of the starts are climbed from, for a plan; one is enough to ask whether there is a key."""

_FREE_INTENSITIES: dict[ProtocolName, tuple[float | None, ...]] = {
    ProtocolName.ONE_DECOY: (None, None),
    ProtocolName.TWO_DECOY: (None, None, WEAKEST_INTENSITY),
    ProtocolName.SINGLE_PHOTON: (),
}

_START_INTENSITIES = ((0.4, 0.65), (0.05, 0.12, 0.22), (0.001,))
_START_PROBABILITIES = {
    2: ((0.08, 0.92), (0.25, 0.75), (0.5, 0.5), (0.8, 0.2)),
    3: ((0.03, 0.47, 0.5), (0.1, 0.5, 0.4), (0.25, 0.6, 0.15), (0.45, 0.35, 0.2), (0.75, 0.15, 0.1)),
}
_START_BIASES = (0.55, 0.65, 0.75, 0.9)
"""Small blocks want few strong pulses and many tests: a start too far from that sees no single photons."""


@dataclass(frozen=True, slots=True)
class Task:
    """What planning cannot choose: the protocol, the hardware, the size of the block and the security."""

    protocol: ProtocolName
    fibre: Fibre
    detector: DetectorSettings
    block_pulses: int
    fixed_intensities: tuple[float | None, ...]
    """Mean photon number per class, None where it may be chosen; empty for single photons."""
    error_correction_efficiency: float = 1.16
    """Leaked bits over n h(QBER), at least 1."""
    eps_sec: float = 1e-9
    eps_cor: float = 1e-15

    def described(self) -> str:
        """Return this task in words."""
        return f"{self.protocol} over {self.fibre.length_km:g} km in a block of {self.block_pulses} pulses"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send, on the grid of choices, and what to expect of it; Alice and Bob share the basis bias."""

    task: Task
    intensities: tuple[float, ...]
    """Mean photon number per class, strongest first; empty for the single-photon source."""
    probabilities: tuple[float, ...]
    key_basis_probability: float
    tolerated_qber: float | None
    """For single photons: the test error rate above which the block is given up; fixed before light."""
    expected_qber: float
    expected_sifted_bits: int
    """Key-basis bits."""
    expected_test_bits: int
    expected_leaked_bits: int
    expected_secret_bits: int

    def link_parameters(self, *, reproducible: bool = False) -> LinkParameters:
        """Return what both nodes have to agree on to follow this plan."""
        return LinkParameters(
            protocol=self.task.protocol,
            block_pulses=self.task.block_pulses,
            intensities=self.intensities,
            probabilities=self.probabilities,
            key_basis_probability=self.key_basis_probability,
            expected_qber=self.expected_qber,
            tolerated_qber=self.tolerated_qber,
            eps_sec=self.task.eps_sec,
            eps_cor=self.task.eps_cor,
            fibre=self.task.fibre,
            detector=self.task.detector,
            reproducible=reproducible,
        )


def task_for(
    preset: Preset, block_pulses: int, protocol: ProtocolName | None = None, distance_km: float | None = None
) -> Task:
    """Return the task of a preset, at its own distance and with its own protocol unless told otherwise.

    The preset's published intensities hold for its own protocol only.
    """
    chosen = ProtocolName(preset.protocol) if protocol is None else protocol
    return Task(
        protocol=chosen,
        fibre=preset.fibre(distance_km),
        detector=preset.detector,
        block_pulses=block_pulses,
        fixed_intensities=preset.intensities if chosen == preset.protocol else _FREE_INTENSITIES[chosen],
        error_correction_efficiency=preset.error_correction_efficiency,
    )


def plan(task: Task) -> Plan:
    """Return the settings with the longest expected key, the same ones for the same task.

    ConfigurationError where no settings give a key; it says which block or which distance would.
    """
    found = best_plan(task)
    if found is None:
        raise ConfigurationError(_why_not(task))
    return found


def smallest_block(task: Task, secret_bits: int = 1) -> int | None:
    """Return the number of pulses, to two digits, of the smallest block expected to give `secret_bits`.

    The task's own block size is ignored. None where no block of at most `LARGEST_BLOCK` pulses does.
    """
    low, high = 3.0, log10(LARGEST_BLOCK)
    if not _gives(replace(task, block_pulses=LARGEST_BLOCK), secret_bits):
        return None
    while high - low > 0.01:
        middle = (low + high) / 2
        if _gives(replace(task, block_pulses=round(10**middle)), secret_bits):
            high = middle
        else:
            low = middle
    return min(_two_digits_up(10**high), LARGEST_BLOCK)


def furthest_distance_km(task: Task) -> float | None:
    """Return the distance, in whole km, up to which the task's block is expected to give a key.

    The task's own distance is ignored. None where not even 1 km gives one.
    """
    if not _gives(_at_distance(task, 1.0), 1):
        return None
    near, far = 1.0, 500.0
    while far - near > 0.5:
        middle = (near + far) / 2
        if _gives(_at_distance(task, middle), 1):
            near = middle
        else:
            far = middle
    return float(floor(near))


def tolerated_qber(expected_qber: float, expected_test_bits: float) -> float | None:
    """Return the test error rate that an honest link exceeds less often than `HONEST_ABORT`, to four digits.

    Half of that probability is spent on a test that is five standard deviations short. None where so few
    bits are tested that nothing could be tolerated.
    """
    test_bits = floor(expected_test_bits - 5 * sqrt(expected_test_bits))
    if test_bits < 1:
        return None
    most_errors = int(binom.isf(HONEST_ABORT / 2, test_bits, expected_qber))
    return min(1.0, ceil(most_errors / test_bits * 1e4) / 1e4)


@dataclass(frozen=True, slots=True)
class _Settings:
    """What planning can choose, on the grid or off it."""

    intensities: tuple[float, ...]
    probabilities: tuple[float, ...]
    key_basis_probability: float

    @property
    def are_possible(self) -> bool:
        """Whether a source could send them, within what the bounds can be asked for."""
        stronger, *weaker = self.intensities
        return (
            stronger <= 1.0
            and stronger > sum(weaker)
            and all(high > low for high, low in zip(self.intensities, weaker, strict=False))
            and self.intensities[-1] >= 0.0
            and (len(weaker) == 2 or weaker[-1] >= 1e-3)
            and min(self.probabilities) >= 1 / CLASS_CHOICES
            and 1 / BASIS_CHOICES <= self.key_basis_probability <= 1 - 1 / BASIS_CHOICES
        )

    def on_grid(self) -> "_Settings":
        """Return the nearest settings that choices can be drawn from exactly."""
        return _Settings(
            tuple(round(intensity, _INTENSITY_DIGITS) for intensity in self.intensities),
            choosable_probabilities(self.probabilities),
            choosable_basis_probability(self.key_basis_probability),
        )

    def neighbours(self) -> Iterator["_Settings"]:
        """Yield the grid points one step away: in the bias, or one share moved from a class to another."""
        for step in (-1, 1):
            yield replace(self, key_basis_probability=self.key_basis_probability + step / BASIS_CHOICES)
        for giver, taker in permutations(range(len(self.probabilities)), 2):
            shares = list(self.probabilities)
            shares[giver] -= 1 / CLASS_CHOICES
            shares[taker] += 1 / CLASS_CHOICES
            yield replace(self, probabilities=tuple(shares))


@dataclass(frozen=True, slots=True)
class _Outlook:
    """What one block is expected to count, and the key it is worth."""

    qber: float
    key_bits: float
    test_bits: float
    leaked_bits: float
    length: KeyLength

    @property
    def balance_bits(self) -> float:
        return self.length.balance_bits if isfinite(self.length.balance_bits) else -_NO_SINGLE_PHOTONS


def best_plan(task: Task, starts: int = _STARTS) -> Plan | None:
    """Return what `plan` returns, or None where no settings give a key."""
    if task.protocol is ProtocolName.SINGLE_PHOTON:
        return _best_single_photon_plan(task)
    settings = _climb(task, _optimum(task, starts).on_grid())
    outlook = _decoy_outlook(task, settings)
    if outlook.length.secret_bits == 0:
        return None
    return _planned(task, settings, outlook, None)


def _optimum(task: Task, start_count: int) -> _Settings:
    """Return the best settings off the grid."""

    def cost(free: Sequence[float]) -> float:
        settings = _settings(task, free)
        return -_decoy_outlook(task, settings).balance_bits if settings.are_possible else _IMPOSSIBLE

    return _settings(task, cheapest(cost, _starts(task), climb_from=start_count, tolerance=0.5))


def _starts(task: Task) -> Iterator[list[float]]:
    choices = [
        grid for grid, fixed in zip(_START_INTENSITIES, task.fixed_intensities, strict=False) if fixed is None
    ]
    for free, probabilities, bias in product(
        product(*choices), _START_PROBABILITIES[len(task.fixed_intensities)], _START_BIASES
    ):
        yield [*free, *probabilities[:-1], bias]


def _settings(task: Task, free: Sequence[float]) -> _Settings:
    """Read the optimiser's point: the free intensities, all probabilities but the last, the bias."""
    remaining = iter(free)
    intensities = tuple(next(remaining) if fixed is None else fixed for fixed in task.fixed_intensities)
    *shares, bias = remaining
    return _Settings(intensities, (*shares, 1.0 - sum(shares)), bias)


def _climb(task: Task, settings: _Settings) -> _Settings:
    """Walk to the best neighbour on the grid until there is none."""
    balance = _decoy_outlook(task, settings).balance_bits
    while True:
        candidates = [candidate for candidate in settings.neighbours() if candidate.are_possible]
        best = max(candidates, key=lambda candidate: _decoy_outlook(task, candidate).balance_bits)
        if (better := _decoy_outlook(task, best).balance_bits) <= balance:
            return settings
        settings, balance = best, better


def _best_single_photon_plan(task: Task) -> Plan | None:
    """Try every bias on the grid: there is nothing else to choose."""
    plans = [
        candidate
        for step in range(1, BASIS_CHOICES)
        if (candidate := _single_photon_plan(task, step / BASIS_CHOICES)) is not None
    ]
    return max(plans, key=lambda candidate: candidate.expected_secret_bits, default=None)


def _single_photon_plan(task: Task, bias: float) -> Plan | None:
    expected = expected_light(
        (1.0,), (1.0,), bias, bias, task.fibre, task.detector, PhotonStatistics.SINGLE_PHOTON
    )
    key_bits = task.block_pulses * sum(expected.sifted_key)
    test_bits = task.block_pulses * sum(expected.sifted_test)
    tolerated = tolerated_qber(expected.qber_test, test_bits)
    if tolerated is None:
        return None
    leaked_bits = _leak(task, key_bits, expected.qber_key)
    length = single_photon_length(
        key_bits, test_bits, tolerated, leaked_bits, task.eps_sec, task.eps_cor, LINK_SAMPLING
    )
    if length.secret_bits == 0:
        return None
    outlook = _Outlook(expected.qber_key, key_bits, test_bits, leaked_bits, length)
    return _planned(task, _Settings((), (1.0,), bias), outlook, tolerated)


def _planned(task: Task, settings: _Settings, outlook: _Outlook, tolerated: float | None) -> Plan:
    return Plan(
        task=task,
        intensities=settings.intensities,
        probabilities=settings.probabilities,
        key_basis_probability=settings.key_basis_probability,
        tolerated_qber=tolerated,
        expected_qber=outlook.qber,
        expected_sifted_bits=round(outlook.key_bits),
        expected_test_bits=round(outlook.test_bits),
        expected_leaked_bits=ceil(outlook.leaked_bits),
        expected_secret_bits=outlook.length.secret_bits,
    )


def _decoy_outlook(task: Task, settings: _Settings) -> _Outlook:
    bias = settings.key_basis_probability
    expected = expected_light(
        settings.intensities, settings.probabilities, bias, bias, task.fibre, task.detector
    )
    statistics = _expected_statistics(task, settings, expected)
    key_bits = sum(statistics.key_detections)
    leaked_bits = _leak(task, key_bits, expected.qber_key)
    return _Outlook(
        expected.qber_key,
        key_bits,
        sum(statistics.test_detections),
        leaked_bits,
        decoy_length(task.protocol, statistics, leaked_bits, task.eps_sec, task.eps_cor),
    )


def _expected_statistics(task: Task, settings: _Settings, expected: Expectation) -> Statistics:
    def counts(rates: Sequence[float]) -> Tally:
        return tuple(task.block_pulses * rate for rate in rates)

    key, test = expected.sifted_key, expected.sifted_test
    return Statistics(
        settings.intensities,
        settings.probabilities,
        counts(key),
        counts([rate * e for rate, e in zip(key, expected.qber_key_by_class, strict=True)]),
        counts(test),
        counts([rate * e for rate, e in zip(test, expected.qber_test_by_class, strict=True)]),
    )


def _leak(task: Task, key_bits: float, qber: float) -> float:
    return task.error_correction_efficiency * key_bits * entropy_of_bound(qber)


def _gives(task: Task, secret_bits: int) -> bool:
    """Tell whether a block is expected to give this much; a start that does spares the search."""
    if task.protocol is not ProtocolName.SINGLE_PHOTON:
        starts = (_settings(task, start).on_grid() for start in _starts(task))
        if any(_decoy_outlook(task, start).length.secret_bits >= secret_bits for start in starts):
            return True
    found = best_plan(task, starts=1)
    return found is not None and found.expected_secret_bits >= secret_bits


def _at_distance(task: Task, distance_km: float) -> Task:
    return replace(task, fibre=replace(task.fibre, length_km=distance_km))


def _two_digits_up(pulses: float) -> int:
    unit = int(10.0 ** (floor(log10(pulses)) - 1))
    return ceil(pulses / unit) * unit


def _why_not(task: Task) -> str:
    block, distance_km = smallest_block(task), furthest_distance_km(task)
    ways = []
    if block is not None:
        ways.append(f"a block of {block} pulses")
    if distance_km is not None:
        ways.append(f"a fibre of at most {distance_km:g} km")
    would = (
        f"{' or '.join(ways)} would do" if ways else "neither a larger block nor a shorter fibre would help"
    )
    return f"no key is possible with {task.described()}: {would}"
