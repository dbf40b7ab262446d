"""Bob's receiver with the flaws of real detectors, and the monitors that watch for somebody who uses them.

Three things that `detector` leaves out. *Flaws*: off the middle of the gate one detector sees worse than the other;
and bright light blinds both, so that they click only where a pulse's power in one of them exceeds a threshold,
surely and without dark counts. *Random efficiency*: Bob switches his detectors to efficiency 0 in gates chosen in
secret; photons cannot click there, a blinding light's trigger does. *What he sees beside clicks*: photocurrent,
arrival times, clicks in switched-off gates (`SideCounts`).

Honest light in a receiver without switched-off gates takes the way of `Receiver`, unchanged.

Sources: Makarov, Anisimov, Skaar, Phys. Rev. A 74, 022313 (2006) and Qi, Fung, Lo, Ma, Quantum Inf. Comput. 7, 73
(2007) (mismatch); Lydersen et al., Nat. Photonics 4, 686 (2010) (blinding); Lim, Walenta, Legre, Gisin, Zbinden, IEEE
J. Sel. Top. Quantum Electron. 21, 6601305 (2015) (random detector efficiency).
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from qkdlink.common.errors import ConfigurationError, LocalProtocolError
from qkdlink.common.optics.detector import COSINES, DetectorSettings, Receiver, click_thresholds, outcomes
from qkdlink.common.optics.fibre import Fibre
from qkdlink.common.optics.loops import Thresholds
from qkdlink.common.optics.pulses import PulseTrain
from qkdlink.common.optics.records import MOST_PULSES, DetectionLog, SideCounts
from qkdlink.common.optics.side_light import BRIGHT, POWER_STEPS, RECEIVED, Arrival, Manners
from qkdlink.common.optics.side_loops import SWITCHED_OFF, measure_watchfully
from qkdlink.common.optics.states import PHOTON_NUMBERS, POLARISATIONS, Basis, bb84_polarisation
from qkdlink.common.randomness import ChoiceStream

OFF_CHOICES = 256
_NO_BYTES: NDArray[np.uint8] = np.empty(0, np.uint8)
_CERTAIN = np.uint64(2**64 - 1)


@dataclass(frozen=True, slots=True)
class DetectorFlaws:
    """What real detectors let an adversary do."""

    timing_mismatch: float = 0.5
    """Efficiency, 0..1, of the worse detector over that of the better one for light early or late in the gate."""

    def __post_init__(self) -> None:
        if not 0 <= self.timing_mismatch <= 1:
            raise ConfigurationError(
                f"a timing mismatch cannot be {self.timing_mismatch}: it is a ratio of efficiencies, 0 to 1"
            )


class WatchfulReceiver(Receiver):
    """A `Receiver` with flaws and monitors; like it, it measures every frame of one block once, in order."""

    def __init__(
        self,
        settings: DetectorSettings,
        key_basis_probability: float,
        choices: ChoiceStream,
        nature: np.random.Generator,
        flaws: DetectorFlaws,
        switched_off_probability: float = 0.0,
    ) -> None:
        """Take what `Receiver` takes, the flaws, and how often gates are switched off (a multiple of 1/256, below 1).

        Raises ConfigurationError for other probabilities. The choices stream is read from 2^32 on for these gates.
        """
        super().__init__(settings, key_basis_probability, choices, nature)
        check_switched_off_probability(switched_off_probability)
        self._off_below = round(switched_off_probability * OFF_CHOICES)
        self._flaws = flaws

    def detect_into(self, log: DetectionLog, train: PulseTrain) -> None:
        """Measure the next frame as `Receiver.detect_into` does, and watch."""
        if train.side is None and not self._off_below:
            super().detect_into(log, train)
        else:
            self._watch(train, log)

    def _watch(self, train: PulseTrain, log: DetectionLog) -> None:
        self._check_place(train)
        count, first = len(train), self._next_gate
        manners = _NO_BYTES if train.side is None else train.side.absorb()
        if len(manners) not in (0, count):
            raise LocalProtocolError(f"side light of {len(manners)} pulses cannot fly with {count} pulses")
        off_choices = self._choices.read(MOST_PULSES + first, count) if self._off_below else _NO_BYTES
        tally = np.zeros(5, np.int64)
        gates, bases, bits = log.room(count)
        clicks, double_clicks = measure_watchfully(
            train.absorb(),
            manners,
            off_choices,
            self._off_below,
            self._choices.read(first, count),
            first,
            self._key_basis_choices,
            side_thresholds(train.medium, self._settings, self._flaws),
            self._afterpulse_threshold,
            self._settings.dead_gates,
            self._lanes,
            self._memory,
            tally,
            gates,
            bases,
            bits,
        )
        self._next_gate += count
        log.add(count, clicks, double_clicks, _side_counts(manners, off_choices, self._off_below, tally))


def check_switched_off_probability(probability: float) -> None:
    """Raise ConfigurationError unless gates can be switched off with exactly this probability."""
    if not 0 <= probability < 1 or not (probability * OFF_CHOICES).is_integer():
        raise ConfigurationError(
            f"gates cannot be switched off with probability {probability}:"
            f" it is a multiple of 1/{OFF_CHOICES}, 0 or more and below 1"
        )


def _side_counts(
    manners: Manners, off_choices: NDArray[np.uint8], off_below: int, tally: NDArray[np.int64]
) -> SideCounts:
    off_clicks, *shifted = tally.tolist()
    return SideCounts(
        bright_gates=int(np.count_nonzero(manners & BRIGHT)),
        switched_off_gates=int(np.count_nonzero(off_choices < off_below)),
        switched_off_clicks=off_clicks,
        early=(shifted[0], shifted[1]),
        late=(shifted[2], shifted[3]),
    )


@lru_cache(maxsize=64)
def side_thresholds(fibre: Fibre, settings: DetectorSettings, flaws: DetectorFlaws) -> Thresholds:
    """Return the thresholds of one gate for each manner of light: `uint64[16, 2, 256, 3]`.

    Rows are manners 0..7, then the same with the efficiency at 0; the rest is as in `detector.click_thresholds`.
    """
    table = np.empty((2 * SWITCHED_OFF, len(Basis), PHOTON_NUMBERS * POLARISATIONS, 3), np.uint64)
    worse = flaws.timing_mismatch
    for arrival, better in ((Arrival.EARLY, (1.0, worse)), (Arrival.LATE, (worse, 1.0))):
        table[arrival] = _shifted(fibre, settings, better)
    table[Arrival.ON_TIME] = click_thresholds(fibre, settings)
    table[3] = table[Arrival.ON_TIME]
    table[SWITCHED_OFF : SWITCHED_OFF + BRIGHT] = outcomes(0.0, 0.0, settings.dark_count_probability)[0]
    for row in range(BRIGHT, RECEIVED + 1):
        table[row] = table[row + SWITCHED_OFF] = _blinded(fibre)
    table.flags.writeable = False
    return table


def _shifted(fibre: Fibre, settings: DetectorSettings, relative: tuple[float, float]) -> Thresholds:
    """Thresholds where each detector has only a part of its efficiency: `uint64[2, 256, 3]`."""

    def at(cosine: float) -> Thresholds:
        to_0, to_1 = _powers(fibre, cosine)
        efficiency, dark = settings.efficiency, settings.dark_count_probability
        return outcomes(to_0 * efficiency * relative[0], to_1 * efficiency * relative[1], dark)

    return _by_state([at(cosine) for cosine in COSINES])


def _blinded(fibre: Fibre) -> Thresholds:
    """Thresholds of blinded detectors, 0 or certainty: each clicks where the power in it suffices."""

    def at(cosine: float) -> Thresholds:
        to_0, to_1 = _powers(fibre, cosine)
        rows = np.zeros((PHOTON_NUMBERS, 3), np.uint64)
        for steps in range(PHOTON_NUMBERS):
            fires_0, fires_1 = steps * to_0 >= POWER_STEPS, steps * to_1 >= POWER_STEPS
            rows[steps] = np.cumsum([fires_0 and fires_1, fires_0 and not fires_1, fires_1 and not fires_0])
        return rows * _CERTAIN

    return _by_state([at(cosine) for cosine in COSINES])


def _powers(fibre: Fibre, cosine: float) -> tuple[float, float]:
    """Shares of a pulse that reach detector 0 and detector 1, at an angle of this cosine of 2D."""
    to_0 = fibre.transmittance * (1 + (1 - 2 * fibre.misalignment) * cosine) / 2
    return to_0, fibre.transmittance - to_0


def _by_state(by_angle: list[Thresholds]) -> Thresholds:
    """Spread thresholds by angle over bases and states, as `detector.click_thresholds` has them."""
    table = np.empty((len(Basis), PHOTON_NUMBERS * POLARISATIONS, 3), np.uint64)
    for basis in Basis:
        for polarisation in range(POLARISATIONS):
            angle = (polarisation - bb84_polarisation(basis, 0)) % POLARISATIONS
            table[basis, polarisation::POLARISATIONS] = by_angle[angle]
    return table
