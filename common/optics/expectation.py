"""What the emulated source, fibre and detectors must show: gains and error rates, derived, not sampled.

A gate without memory has four outcomes: neither detector, the right one only, the wrong one only, both.
Photon loss is independent, so for Poissonian light the two detectors are independent with mean eta*mu*(1 -
e_d) and eta*mu*e_d: the *union* form of the published gain, Q = 1 - (1 - p_dc)^2 exp(-eta*mu), exact here
(Ma et al. 2005 print the sum form, which counts a dark count in a gate that clicks anyway). Dead time and
afterpulses give gates a memory; since Alice's and Bob's choices in a gate do not depend on the gates before
it, clicks form a renewal process whose cycle depends only on whether one or both detectors clicked, and its
steady state has a closed form. `docs/physics.md` derives it. To first order it reads R_k = D_k + p_ap (1 -
D_k) R: an afterpulse falls into the class of the gate in which it happens, not of the pulse that caused it,
unlike the R_k = D_k (1 + p_ap) of Lim et al. 2014.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from qkdlink.common.optics.detector import DetectorSettings
from qkdlink.common.optics.fibre import Fibre
from qkdlink.common.optics.source import PhotonStatistics, Source


@dataclass(frozen=True, slots=True)
class Expectation:
    """Expected statistics of a long block; tuples are per intensity class, strongest first.

    Error rates are the same in both bases, because the model treats both alike; whoever compares keeps them
    apart. An error rate is 0 where nothing ever clicks.
    """

    gains: tuple[float, ...]
    """Clicked over emitted gates of a class, all basis pairs."""
    sifted_key: tuple[float, ...]
    """Probability per emitted pulse (of any class) of a click with both in the key basis, in this class."""
    sifted_test: tuple[float, ...]
    """Likewise for the test basis."""
    qber_key_by_class: tuple[float, ...]
    qber_test_by_class: tuple[float, ...]
    qber_key: float
    """Errors over sifted bits in the key basis, all classes."""
    qber_test: float
    """Likewise for the test basis."""
    gain: float
    """Clicked over emitted gates, all classes."""
    double_clicks: float
    """Gates in which both detectors clicked, over emitted gates."""


class _Gate(NamedTuple):
    """Probabilities of the outcomes of one gate; "right" is the detector that Alice's bit points to."""

    neither: float
    right: float
    wrong: float
    both: float

    @property
    def click(self) -> float:
        return self.right + self.wrong + self.both

    @property
    def error(self) -> float:
        """Probability of a wrong bit: the wrong detector, or the coin where both click."""
        return self.wrong + self.both / 2

    def with_right_afterpulse(self, probability: float) -> "_Gate":
        return _Gate(
            self.neither * (1 - probability),
            self.right + self.neither * probability,
            self.wrong * (1 - probability),
            self.both + self.wrong * probability,
        )

    def with_wrong_afterpulse(self, probability: float) -> "_Gate":
        return self.mirrored().with_right_afterpulse(probability).mirrored()

    def mirrored(self) -> "_Gate":
        return _Gate(self.neither, self.wrong, self.right, self.both)


class _Live(NamedTuple):
    """A live gate, by what the click before it left behind."""

    quiet: _Gate
    """Nothing: no click in the last live gate."""
    after_one: _Gate
    """One detector may afterpulse: the right and the wrong one equally often, since bits are uniform."""
    after_both: _Gate


class _Cycle(NamedTuple):
    """Fractions of all gates in the steady state."""

    quiet: float
    after_one: float
    after_both: float

    def mean(self, quiet: float, after_one: float, after_both: float) -> float:
        return self.quiet * quiet + self.after_one * after_one + self.after_both * after_both

    def clicks(self, gate: _Gate, afterpulse: float) -> float:
        """Clicks in such gates, over all of them."""
        added = gate.neither * afterpulse
        return self.mean(gate.click, gate.click + added, gate.click + added * (2 - afterpulse))

    def errors(self, gate: _Gate, afterpulse: float) -> float:
        """Wrong bits in such gates: `_live` of the gate, with only what an error needs.

        An afterpulse errs where nothing else clicks, and half the time beside a click of the other detector.
        """
        beside = (gate.right - gate.wrong) / 2
        return self.mean(
            gate.error,
            gate.error + afterpulse / 2 * (gate.neither + beside),
            gate.error + afterpulse * (gate.neither * (1 - afterpulse / 2) + beside),
        )


def expected_statistics(
    source: Source, fibre: Fibre, detector: DetectorSettings, receiver_key_basis_probability: float
) -> Expectation:
    """Return what a long block of this source, fibre and detector shows; exact for the emulated model.

    `receiver_key_basis_probability` is Bob's, 0..1. Left out: the first gates of a block, in which no click
    has happened yet, and fluctuations.
    """
    return expected_light(
        source.intensities,
        source.probabilities,
        source.key_basis_probability,
        receiver_key_basis_probability,
        fibre,
        detector,
        source.statistics,
    )


def expected_light(
    intensities: Sequence[float],
    probabilities: Sequence[float],
    key_basis_probability: float,
    receiver_key_basis_probability: float,
    fibre: Fibre,
    detector: DetectorSettings,
    statistics: PhotonStatistics = PhotonStatistics.POISSON,
) -> Expectation:
    """Compute `expected_statistics` for settings off the grid of choices, as an optimiser asks."""
    eta = fibre.transmittance * detector.efficiency
    dark, afterpulse = detector.dark_count_probability, detector.afterpulse_probability
    both_key = key_basis_probability * receiver_key_basis_probability
    both_test = (1 - key_basis_probability) * (1 - receiver_key_basis_probability)
    matched = [_gate(statistics, k, eta, fibre.misalignment, dark) for k in intensities]
    mismatched = [_gate(statistics, k, eta, 0.5, dark) for k in intensities]
    same = both_key + both_test
    any_pair = [_mixed(((same, m), (1 - same, w))) for m, w in zip(matched, mismatched, strict=True)]
    mean = _live(_mixed(list(zip(probabilities, any_pair, strict=True))), afterpulse)
    cycle = _steady_state(mean, detector.dead_gates)

    gains = tuple(cycle.clicks(gate, afterpulse) for gate in any_pair)
    errors = tuple(cycle.errors(gate, afterpulse) for gate in matched)
    qber_by_class = tuple(_ratio(error, gain) for error, gain in zip(errors, gains, strict=True))
    gain = math.sumprod(probabilities, gains)
    qber = _ratio(math.sumprod(probabilities, errors), gain)
    return Expectation(
        gains=gains,
        sifted_key=tuple(p * both_key * gain for p, gain in zip(probabilities, gains, strict=True)),
        sifted_test=tuple(p * both_test * gain for p, gain in zip(probabilities, gains, strict=True)),
        qber_key_by_class=qber_by_class,
        qber_test_by_class=qber_by_class,
        qber_key=qber,
        qber_test=qber,
        gain=gain,
        double_clicks=cycle.mean(*(gate.both for gate in mean)),
    )


def _gate(statistics: PhotonStatistics, mean: float, eta: float, wrong: float, dark: float) -> _Gate:
    """Outcomes of a gate without memory; `wrong` is the probability of the wrong detector per photon."""
    if statistics is PhotonStatistics.SINGLE_PHOTON:
        eta *= mean  # 1, or 0 for a gate without light
        lost, to_right, to_wrong = 1 - eta, eta * (1 - wrong), eta * wrong
        return _Gate(
            lost * (1 - dark) ** 2,
            lost * dark * (1 - dark) + to_right * (1 - dark),
            lost * dark * (1 - dark) + to_wrong * (1 - dark),
            lost * dark**2 + (to_right + to_wrong) * dark,
        )
    right_clicks = _either(dark, -math.expm1(-eta * mean * (1 - wrong)))
    wrong_clicks = _either(dark, -math.expm1(-eta * mean * wrong))
    return _Gate(
        (1 - right_clicks) * (1 - wrong_clicks),
        right_clicks * (1 - wrong_clicks),
        wrong_clicks * (1 - right_clicks),
        right_clicks * wrong_clicks,
    )


def _either(a: float, b: float) -> float:
    """Probability of at least one of two independent events."""
    return a + b * (1 - a)


def _live(quiet: _Gate, afterpulse: float) -> _Live:
    after_right, after_wrong = (
        quiet.with_right_afterpulse(afterpulse),
        quiet.with_wrong_afterpulse(afterpulse),
    )
    return _Live(
        quiet=quiet,
        after_one=_mixed(((0.5, after_right), (0.5, after_wrong))),
        after_both=after_right.with_wrong_afterpulse(afterpulse),
    )


def _mixed(parts: Sequence[tuple[float, _Gate]]) -> _Gate:
    """Average gates with weights that sum to 1."""
    weights = [weight for weight, _ in parts]
    return _Gate(
        *(math.sumprod(weights, column) for column in zip(*(gate for _, gate in parts), strict=True))
    )


def _steady_state(gate: _Live, dead_gates: int) -> _Cycle:
    """Fractions of gates that are live and quiet, or first after a click of one or of both detectors.

    A cycle runs from click to click: dead gates, one gate that may afterpulse, and if that is silent a
    geometric wait.
    """
    click = gate.quiet.click
    if click == 0:
        return _Cycle(1.0, 0.0, 0.0)
    doubles_when_quiet = gate.quiet.both / click
    next_double = [
        after.both + after.neither * doubles_when_quiet for after in (gate.after_one, gate.after_both)
    ]
    double = next_double[0] / (1 - next_double[1] + next_double[0])
    silent = (1 - double) * gate.after_one.neither + double * gate.after_both.neither
    rate = 1 / (dead_gates + 1 + silent / click)
    return _Cycle(quiet=rate * silent / click, after_one=rate * (1 - double), after_both=rate * double)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
