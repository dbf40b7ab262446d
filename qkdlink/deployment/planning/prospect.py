"""What a block with given settings is expected to count, the key that it is worth, and how far keys scatter.

The expectation is that of the emulated detectors, so dead time and afterpulses are paid for; the leak is that of
reconciliation at a stated efficiency.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import permutations, product
from math import inf, isfinite, sqrt

import numpy as np
from numpy.typing import NDArray

from qkdlink.common.distillation.entropy import entropy_of_bound
from qkdlink.common.distillation.finite_key import KeyLength, Statistics
from qkdlink.common.keys.allotment import upkeep_bits
from qkdlink.common.optics.detector import DetectorSettings
from qkdlink.common.optics.expectation import Expectation, expected_light
from qkdlink.common.optics.fibre import Fibre
from qkdlink.common.optics.source import (
    BASIS_CHOICES,
    CLASS_CHOICES,
    choosable_basis_probability,
    choosable_probabilities,
)
from qkdlink.common.protocol.parameters import ProtocolName
from qkdlink.common.protocol.variants.catalogue import variant_named
from qkdlink.common.protocol.variants.variant import Terms, Variant

type Array = NDArray[np.float64]
type Counts = Sequence[Sequence[Sequence[float]]]
"""For the key basis and the test basis: clicks by class, and how many of them are wrong."""

_INTENSITY_DIGITS = 4
_NO_SINGLE_PHOTONS = 1e18
"""Cost, in bits, of settings that show no single photons."""

_STANDARD_DEVIATIONS = 2.0
"""How far below the expected length a key may fall that is still counted on: 49 of 50 blocks give more."""


@dataclass(frozen=True, slots=True)
class Task:
    """What planning cannot choose: the protocol, the hardware, the size of the block and the security."""

    protocol: ProtocolName
    fibre: Fibre
    detector: DetectorSettings
    block_pulses: int
    fixed_intensities: tuple[float | None, ...]
    """Mean photon number per class, None where it may be chosen; empty for a source that has none."""
    error_correction_efficiency: float = 1.16
    """Leaked bits over n h(QBER), at least 1."""
    eps_sec: float = 1e-9
    eps_cor: float = 1e-15
    least_secret_bits: int = upkeep_bits(tags=False)
    """What a block has to give on its link: one that cannot pay for itself makes no key."""

    @property
    def variant(self) -> Variant:
        """The protocol, with its bound and its search."""
        return variant_named(self.protocol)

    def described(self) -> str:
        """Return this task in words."""
        return f"{self.protocol} over {self.fibre.length_km:g} km in a block of {self.block_pulses} pulses"


@dataclass(frozen=True, slots=True)
class Settings:
    """What planning can choose, on the grid or off it."""

    intensities: tuple[float, ...]
    probabilities: tuple[float, ...]
    key_basis_probability: float

    def are_possible(self, variant: Variant) -> bool:
        """Tell whether a source could send them, within what the bound can be asked for."""
        return (
            self.intensities[0] <= 1.0
            and self.intensities[-1] >= variant.weakest_intensity
            and variant.accepts(self.intensities)
            and min(self.probabilities) >= 1 / CLASS_CHOICES
            and 1 / BASIS_CHOICES <= self.key_basis_probability <= 1 - 1 / BASIS_CHOICES
        )

    def on_grid(self) -> "Settings":
        """Return the nearest settings that choices can be drawn from exactly."""
        return Settings(
            tuple(round(intensity, _INTENSITY_DIGITS) for intensity in self.intensities),
            choosable_probabilities(self.probabilities),
            choosable_basis_probability(self.key_basis_probability),
        )

    def neighbours(self) -> Iterator["Settings"]:
        """Yield the grid points one step away: in the bias, or one share moved from a class to another."""
        for step in (-1, 1):
            yield replace(self, key_basis_probability=self.key_basis_probability + step / BASIS_CHOICES)
        for giver, taker in permutations(range(len(self.probabilities)), 2):
            shares = list(self.probabilities)
            shares[giver] -= 1 / CLASS_CHOICES
            shares[taker] += 1 / CLASS_CHOICES
            yield replace(self, probabilities=tuple(shares))


@dataclass(frozen=True, slots=True)
class Prospect:
    """What one block is expected to count, and the key it is worth."""

    qber: float
    key_bits: float
    test_bits: float
    leaked_bits: float
    length: KeyLength

    @property
    def balance_bits(self) -> float:
        """The length before rounding, below zero by what the block cannot pay."""
        return self.length.balance_bits if isfinite(self.length.balance_bits) else -_NO_SINGLE_PHOTONS


def prospect_of(
    task: Task, settings: Settings, expected: Expectation, tolerated_qber: float | None
) -> Prospect:
    """Return what a block with these settings is expected to give; `tolerated_qber` where one is agreed on."""
    statistics = _statistics(settings, _counts(task, expected))
    key_bits = sum(statistics.key_detections)
    leaked_bits = _leak(task, key_bits, expected.qber_key)
    return Prospect(
        expected.qber_key,
        key_bits,
        sum(statistics.test_detections),
        leaked_bits,
        task.variant.length(statistics, _terms(task, leaked_bits, tolerated_qber)),
    )


def expectation(task: Task, settings: Settings) -> Expectation:
    """Return how many pulses click, by basis and class."""
    bias = settings.key_basis_probability
    return expected_light(
        settings.intensities or (1.0,),
        settings.probabilities,
        bias,
        bias,
        task.fibre,
        task.detector,
        task.variant.statistics,
    )


def dependable_bits(task: Task, settings: Settings, tolerated_qber: float | None) -> float:
    """Return what 49 of 50 blocks give: two standard deviations below the expected length, or -inf.

    `tolerated_qber` is what the plan tolerates, if anything. Right and wrong clicks of each class and basis are taken
    for independent Poisson numbers, and the length is followed to first order: one standard deviation of each number up
    and down.
    """
    counts = np.array(_counts(task, expectation(task, settings)))

    def balance(moved: Array) -> float:
        return _length_of_counts(task, settings, np.maximum(moved, 0.0).tolist(), tolerated_qber).balance_bits

    spread = [balance(counts + step) - balance(counts - step) for step in _standard_deviations(counts)]
    reached = balance(counts) - _STANDARD_DEVIATIONS * sqrt(sum((each / 2) ** 2 for each in spread))
    return reached if isfinite(reached) else -inf


def _standard_deviations(counts: Array) -> Iterator[Array]:
    """Yield one standard deviation of each number of right clicks, and of each number of wrong ones."""
    for basis, of_class in product(range(2), range(counts.shape[2])):
        clicks, wrong = counts[basis, :, of_class]
        for size, moves in ((sqrt(max(0.0, clicks - wrong)), (1.0, 0.0)), (sqrt(wrong), (1.0, 1.0))):
            step = np.zeros_like(counts)
            step[basis, :, of_class] = np.multiply(size, moves)
            yield step


def _length_of_counts(
    task: Task, settings: Settings, counts: Counts, tolerated_qber: float | None
) -> KeyLength:
    statistics = _statistics(settings, counts)
    key_bits = sum(statistics.key_detections)
    leaked_bits = _leak(task, key_bits, sum(statistics.key_errors or ()) / key_bits if key_bits else 0.0)
    return task.variant.length(statistics, _terms(task, leaked_bits, tolerated_qber))


def _terms(task: Task, leaked_bits: float, tolerated_qber: float | None) -> Terms:
    return Terms(leaked_bits, task.eps_sec, task.eps_cor, tolerated_qber)


def _counts(task: Task, expected: Expectation) -> Counts:
    """Return the expected clicks of each class and how many of them are wrong, for the key and for the test basis."""
    bases = (
        (expected.sifted_key, expected.qber_key_by_class),
        (expected.sifted_test, expected.qber_test_by_class),
    )
    return [
        [
            [task.block_pulses * rate for rate in rates],
            [task.block_pulses * (rate * error) for rate, error in zip(rates, errors, strict=True)],
        ]
        for rates, errors in bases
    ]


def _statistics(settings: Settings, counts: Counts) -> Statistics:
    (key, key_errors), (test, test_errors) = ((tuple(clicks), tuple(wrong)) for clicks, wrong in counts)
    return Statistics(settings.intensities, settings.probabilities, key, key_errors, test, test_errors)


def _leak(task: Task, key_bits: float, qber: float) -> float:
    return task.error_correction_efficiency * key_bits * entropy_of_bound(qber)
