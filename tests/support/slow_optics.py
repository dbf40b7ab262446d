"""Source and detectors once more, gate by gate in plain Python, to hold the compiled loops against."""

from dataclasses import dataclass, field

import numpy as np

from qkdlink.common.optics.detector import DetectorSettings, click_thresholds
from qkdlink.common.optics.fibre import Fibre
from qkdlink.common.optics.loops import lane_keys
from qkdlink.common.optics.source import Source, _photon_tails
from qkdlink.common.randomness import ChoiceStream

_64_BITS = 2**64 - 1


def draw(lane: int, index: int) -> int:
    """SplitMix64 (Steele, Lea and Flood 2014), output number `index` of seed `lane`."""
    z = (lane + (index + 1) * 0x9E3779B97F4A7C15) & _64_BITS
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _64_BITS
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _64_BITS
    return z ^ (z >> 31)


def chance(lanes: list[int], index: int) -> int:
    """64 bits about one pulse: a byte of the first lane's outputs (lowest first), then 56 bits of the second's."""
    first_byte = draw(lanes[0], index // 8) // 256 ** (index % 8) % 256
    return first_byte * 2**56 + draw(lanes[1], index) // 256


def prepare_slowly(
    source: Source, choices: ChoiceStream, nature: np.random.Generator, count: int
) -> tuple[list[int], list[int]]:
    """Prepared bytes and states of the first `count` pulses of a block."""
    lanes = [int(lane) for lane in lane_keys(nature, 2)]
    part = 2**15 * np.cumsum(_cells(source))
    tails = [[int(t) for t in _photon_tails(source, mean)] for mean in source.intensities]
    secret, more = choices.read(0, count).tolist(), choices.read(2**33, count).tolist()
    prepared, states = [], []
    for pulse in range(count):
        bit, chosen = secret[pulse] % 2, secret[pulse] // 2 * 256
        if any(chosen < bound < chosen + 256 for bound in part):
            chosen += more.pop(0)
        intensity_class, basis = divmod(int(np.searchsorted(part, chosen, side="right")), 2)
        drawn = chance(lanes, pulse)
        photons = sum(drawn < tail for tail in tails[intensity_class])
        prepared.append(bit + 2 * basis + 4 * intensity_class)
        states.append(2 * basis + 4 * bit + 8 * photons)
    return prepared, states


def _cells(source: Source) -> list[float]:
    """Probability of each class in each basis, the key basis first."""
    key = source.key_basis_probability
    return [p * q for p in source.probabilities for q in (key, 1 - key)]


@dataclass
class SlowReceiver:
    """Two detectors with their memory spelled out: from when they are live, which of them clicked last."""

    settings: DetectorSettings
    key_basis_probability: float
    clicks: list[tuple[int, int, int]] = field(default_factory=list)
    double_clicks: int = 0

    def detect(
        self, states: list[int], fibre: Fibre, choices: ChoiceStream, nature: np.random.Generator
    ) -> None:
        """Measure a whole block; `clicks` becomes the list of (gate, basis, bit)."""
        lanes = [int(lane) for lane in lane_keys(nature, 4)]
        table = click_thresholds(fibre, self.settings)
        secret = choices.read(0, len(states)).tolist()
        live_from = 0
        last_clicked: set[int] = set()
        for gate, state in enumerate(states):
            if gate < live_from:
                continue
            basis = 0 if secret[gate] // 2 < 128 * self.key_basis_probability else 1
            both, only_0, only_1 = (int(t) for t in table[basis, state])
            drawn = chance(lanes, gate)
            clicked: set[int] = set()
            if drawn < both:
                clicked = {0, 1}
            elif drawn < only_0:
                clicked = {0}
            elif drawn < only_1:
                clicked = {1}
            for detector in last_clicked:
                if draw(lanes[2 + detector], gate) < self.settings.afterpulse_probability * 2**64:
                    clicked.add(detector)
            last_clicked = clicked
            if clicked:
                self._register(gate, basis, clicked, coin=secret[gate] % 2)
                live_from = gate + 1 + self.settings.dead_gates

    def _register(self, gate: int, basis: int, clicked: set[int], coin: int) -> None:
        self.double_clicks += len(clicked) == 2
        self.clicks.append((gate, basis, coin if len(clicked) == 2 else min(clicked)))
