"""Bob's receiver: a basis chosen per gate, two threshold detectors, and what real detectors add to the light.

Every photon survives fibre and receiver independently and goes to detector 0 with probability (1 + V cos 2D)
/ 2, D being the angle between its polarisation and the analyser, V = 1 - 2 * misalignment. Detectors tell a
click from no click, nothing more. They have dark counts; after a click both are dead for a while, together,
since one dead detector would bias the bits; in the first live gate after a click each detector that clicked
may click again (afterpulse). Where both click, Bob tosses a secret coin: dropping double clicks would let
Eve choose which gates count (Lim et al. 2014, section II).
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from qkdlink.common.errors import ConfigurationError, LocalProtocolError
from qkdlink.common.optics.fibre import Fibre
from qkdlink.common.optics.gate_loops import measure, verdicts
from qkdlink.common.optics.loops import PIECE, Thresholds, lane_keys, thresholds
from qkdlink.common.optics.pulses import PulseTrain
from qkdlink.common.optics.records import MOST_PULSES, DetectionLog, DetectionRecord
from qkdlink.common.optics.source import BASIS_CHOICES, check_basis_probability
from qkdlink.common.optics.states import PHOTON_NUMBERS, POLARISATIONS, Basis, States, bb84_polarisation
from qkdlink.common.randomness import ChoiceStream

_LANES = 4  # light and dark counts (a chance has two), afterpulse of detector 0, of detector 1
COSINES = (1.0, math.sqrt(0.5), 0.0, -math.sqrt(0.5), -1.0, -math.sqrt(0.5), 0.0, math.sqrt(0.5))
"""cos 2D in steps of 22.5 degrees, written out so that the wrong BB84 basis gives exactly one half."""


@dataclass(frozen=True, slots=True)
class DetectorSettings:
    """Two equal threshold detectors behind the receiver's optics."""

    efficiency: float
    """Probability 0..1 that a photon at the receiver's input is detected: optics and detector together."""
    dark_count_probability: float
    """Per detector and gate, 0..1."""
    dead_time_ns: float
    """After a click both detectors are dead for the gates that begin within this time."""
    afterpulse_probability: float
    """Probability 0..1 that a detector clicks again in its first live gate after a click."""
    clock_hz: float
    """Gates per second."""

    def __post_init__(self) -> None:
        for name, probability in (
            ("a detector efficiency", self.efficiency),
            ("a dark count probability", self.dark_count_probability),
            ("an afterpulse probability", self.afterpulse_probability),
        ):
            if not 0 <= probability <= 1:
                raise ConfigurationError(f"{name} cannot be {probability}: it is between 0 and 1")
        if not 0 <= self.dead_time_ns < math.inf:
            raise ConfigurationError(f"a dead time cannot be {self.dead_time_ns} ns: it is 0 or more")
        if not 0 < self.clock_hz < math.inf:
            raise ConfigurationError(f"a clock cannot run at {self.clock_hz} Hz: it must be more than 0")
        if self.dead_time_ns * (self.clock_hz / 1e9) > MOST_PULSES:
            raise ConfigurationError(
                f"a dead time of {self.dead_time_ns:g} ns is longer than any block at {self.clock_hz:g} Hz:"
                f" a block has {MOST_PULSES} gates at most"
            )

    @property
    def dead_gates(self) -> int:
        """Gates lost after a click: the dead time in clock periods, rounded up (rounding errors aside)."""
        return math.ceil(self.dead_time_ns * (self.clock_hz / 1e9) - 1e-9)


class Receiver:
    """Bob's receiver during one block: it measures every frame of the block once, in order."""

    def __init__(
        self,
        settings: DetectorSettings,
        key_basis_probability: float,
        choices: ChoiceStream,
        nature: np.random.Generator,
    ) -> None:
        check_basis_probability(key_basis_probability)
        self._settings = settings
        self._key_basis_choices = round(key_basis_probability * BASIS_CHOICES)
        self._choices = choices
        self._lanes = lane_keys(nature, _LANES)
        self._afterpulse_threshold = thresholds([settings.afterpulse_probability])[0]
        self._memory = np.zeros(2, np.int64)
        self._next_gate = 0

    def __repr__(self) -> str:
        return f"Receiver(next gate {self._next_gate}, redacted)"

    def detect(self, train: PulseTrain) -> DetectionRecord:
        """Measure the next frame of the block; its light is gone afterwards.

        Raises LocalProtocolError where the frame does not begin at the next gate: a missing frame is missing
        light, never attenuation.
        """
        log = DetectionLog(len(train))
        self.detect_into(log, train)
        return log.record()

    def detect_into(self, log: DetectionLog, train: PulseTrain) -> None:
        """Do as `detect` does, and add what is detected to the log of the block."""
        self._check_place(train)
        medium, states = train.medium, train.absorb()
        for begin in range(0, len(states), PIECE):
            self._measure(states[begin : begin + PIECE], medium, log)

    def _measure(self, states: States, medium: Fibre, log: DetectionLog) -> None:
        count = len(states)
        gates, bases, bits = log.room(count)
        clicks, double_clicks = measure(
            states,
            self._choices.read(self._next_gate, count),
            self._next_gate,
            self._key_basis_choices,
            click_thresholds(medium, self._settings),
            _settled(medium, self._settings),
            self._afterpulse_threshold,
            self._settings.dead_gates,
            self._lanes,
            self._memory,
            gates,
            bases,
            bits,
        )
        self._next_gate += count
        log.add(count, clicks, double_clicks)

    def _check_place(self, train: PulseTrain) -> None:
        if train.first_pulse != self._next_gate:
            raise LocalProtocolError(
                f"gate {self._next_gate} is next, but this light begins at {train.first_pulse}"
            )
        if train.first_pulse + len(train) > MOST_PULSES:
            raise LocalProtocolError(f"a block has at most {MOST_PULSES} pulses")


@lru_cache(maxsize=64)
def click_thresholds(fibre: Fibre, settings: DetectorSettings) -> Thresholds:
    """Return the thresholds of one gate without memory: `uint64[2, 256, 3]` for basis, state and outcome.

    The outcomes cumulate: both detectors; only detector 0 besides; only detector 1 besides.
    """
    by_angle = [_outcomes(fibre, settings, COSINES[angle]) for angle in range(POLARISATIONS)]
    table = np.empty((len(Basis), PHOTON_NUMBERS * POLARISATIONS, 3), np.uint64)
    for basis in Basis:
        analyser = bb84_polarisation(basis, 0)
        for polarisation in range(POLARISATIONS):
            table[basis, polarisation::POLARISATIONS] = by_angle[(polarisation - analyser) % POLARISATIONS]
    table.flags.writeable = False
    return table


@lru_cache(maxsize=64)
def _settled(fibre: Fibre, settings: DetectorSettings) -> NDArray[np.uint8]:
    """What the first byte of a gate's chance settles."""
    table = verdicts(click_thresholds(fibre, settings))
    table.flags.writeable = False
    return table


def _outcomes(fibre: Fibre, settings: DetectorSettings, cosine: float) -> NDArray[np.uint64]:
    """Thresholds for 0..31 photons at one angle: `uint64[32, 3]`."""
    detected = fibre.transmittance * settings.efficiency
    to_0 = detected * (1 + (1 - 2 * fibre.misalignment) * cosine) / 2
    return outcomes(to_0, detected - to_0, settings.dark_count_probability)


def outcomes(to_0: float, to_1: float, dark: float) -> Thresholds:
    """Thresholds for 0..31 photons, each detected by detector 0 or 1 with these probabilities: `uint64[32, 3]`.

    Dark counts first, then photons one by one: sums of products of probabilities, so that small ones keep
    all their digits.
    """
    detected = to_0 + to_1
    neither, only_0, only_1, both = (1 - dark) ** 2, dark * (1 - dark), dark * (1 - dark), dark**2
    rows = []
    for _ in range(PHOTON_NUMBERS):
        rows.append(thresholds((both, both + only_0, both + only_0 + only_1)))
        both += only_0 * to_1 + only_1 * to_0
        only_0 = only_0 * (1 - to_1) + neither * to_0
        only_1 = only_1 * (1 - to_0) + neither * to_1
        neither *= 1 - detected
    return np.stack(rows)
