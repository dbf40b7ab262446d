"""Source, fibre and detectors as one would write them in numpy: the baseline of `light`.

The same model as `qkdlink.common.optics`, afterpulses and dead time included: arrays over all pulses where pulses are
independent, and a loop over the clicks where a click depends on the one before it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qkdlink.common.optics.detector import DetectorSettings
from qkdlink.common.optics.fibre import Fibre
from qkdlink.common.optics.source import Source

type Bytes = NDArray[np.uint8]
type Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Preparations:
    """What Alice knows, and how many photons each pulse holds: `uint8[n]` each."""

    bits: Bytes
    bases: Bytes
    classes: Bytes
    photons: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """What Bob knows: `int64[m]` gates in which a detector clicked, and his bases and bits there, `uint8[m]`."""

    gates: NDArray[np.int64]
    bases: Bytes
    bits: Bytes


def prepare(source: Source, count: int, rng: np.random.Generator) -> Preparations:
    """Emit `count` phase-randomised weak coherent pulses."""
    bits = rng.integers(0, 2, count, np.uint8)
    bases = (rng.random(count) >= source.key_basis_probability).astype(np.uint8)
    classes = rng.choice(source.class_count, count, p=source.probabilities).astype(np.uint8)
    photons = rng.poisson(np.array(source.intensities)[classes])
    return Preparations(bits, bases, classes, photons)


def detect(
    sent: Preparations,
    fibre: Fibre,
    detector: DetectorSettings,
    key_basis_probability: float,
    rng: np.random.Generator,
) -> Detections:
    """Let the pulses through the fibre and onto two threshold detectors."""
    count = len(sent.bits)
    bases = (rng.random(count) >= key_basis_probability).astype(np.uint8)
    arrived = rng.binomial(sent.photons, fibre.transmittance * detector.efficiency)
    to_1 = np.where(sent.bits == 1, 1 - fibre.misalignment, fibre.misalignment)
    to_1[bases != sent.bases] = 0.5
    at_1 = rng.binomial(arrived, to_1)
    dark = rng.random((2, count)) < detector.dark_count_probability
    fired = ((arrived - at_1 > 0) | dark[0]).astype(np.uint8) | ((at_1 > 0) | dark[1]).astype(np.uint8) << 1
    gates, masks = _remember(fired, detector, rng)
    coins = rng.integers(0, 2, len(gates), np.uint8)
    return Detections(gates, bases[gates], np.where(masks == 3, coins, masks >> 1).astype(np.uint8))


def _remember(
    fired: Bytes, detector: DetectorSettings, rng: np.random.Generator
) -> tuple[NDArray[np.int64], Bytes]:
    """Take out what falls into dead time, add afterpulses: gates and masks of the detectors that clicked."""
    candidates = np.flatnonzero(fired)
    if detector.dead_gates == 0 and detector.afterpulse_probability == 0:
        return candidates, fired[candidates]
    clicks: list[tuple[int, int]] = []
    live_from, afterpulse = 0, 0
    for gate, mask in zip(candidates.tolist(), fired[candidates].tolist(), strict=True):
        while afterpulse and live_from < gate:
            clicks.append((live_from, afterpulse))
            live_from, afterpulse = _after(live_from, afterpulse, detector, rng)
        if gate >= live_from:
            together = mask | afterpulse if gate == live_from else mask
            clicks.append((gate, together))
            live_from, afterpulse = _after(gate, together, detector, rng)
    while afterpulse and live_from < len(fired):
        clicks.append((live_from, afterpulse))
        live_from, afterpulse = _after(live_from, afterpulse, detector, rng)
    recorded = np.array(clicks, np.int64).reshape(-1, 2)
    return recorded[:, 0], recorded[:, 1].astype(np.uint8)


def _after(gate: int, mask: int, detector: DetectorSettings, rng: np.random.Generator) -> tuple[int, int]:
    """Return the first live gate after a click, and which of the detectors that clicked click again in it."""
    again = mask & 1 and rng.random() < detector.afterpulse_probability
    again_1 = mask & 2 and rng.random() < detector.afterpulse_probability
    return gate + 1 + detector.dead_gates, int(again) | int(again_1) << 1
