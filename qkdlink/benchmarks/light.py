"""`source-channel-detector`: a block of light from Alice's choices to Bob's detections, nothing sent anywhere."""

from dataclasses import dataclass

import numpy as np

from qkdlink.benchmarks import naive_light
from qkdlink.benchmarks.alternation import Contender, Stage, alternate
from qkdlink.common.optics.detector import DetectorSettings, Receiver
from qkdlink.common.optics.fibre import Fibre
from qkdlink.common.optics.records import DetectionLog, DetectionRecord, PreparationRecord
from qkdlink.common.optics.source import PulseSource, Source
from qkdlink.common.randomness import Choice, Nature, Randomness

FRAME_PULSES = 2**20
"""What Alice's settings have by default."""
SOURCE = Source((0.5, 0.15), (0.75, 0.25), 0.875)
FIBRE = Fibre(length_km=0.0, attenuation_db_per_km=0.2, misalignment=0.01)
DETECTOR = DetectorSettings(
    efficiency=0.1,  # the total efficiency, since the fibre has no length: what a pulse costs depends on nothing else
    dark_count_probability=6e-7,
    dead_time_ns=0.0,  # dead gates would be skipped, in our favour
    afterpulse_probability=0.04,
    clock_hz=1e9,
)


@dataclass(frozen=True, slots=True)
class Light:
    """Both parties' records of one block."""

    prepared: PreparationRecord
    detected: DetectionRecord


def shine(pulses: int, detector: DetectorSettings = DETECTOR) -> Light:
    """Emit and detect a block frame by frame, as `qkdlink.alice.transmitter` and `qkdlink.bob.receiver` do."""
    alice, bob = Randomness("alice"), Randomness("bob")
    source = PulseSource(SOURCE, alice.choices(Choice.PULSES, 1), alice.nature(Nature.SOURCE, 1))
    receiver = Receiver(
        detector,
        SOURCE.key_basis_probability,
        bob.choices(Choice.MEASUREMENTS, 1),
        bob.nature(Nature.DETECTORS, 1),
    )
    prepared, log = PreparationRecord(pulses, SOURCE.class_count), DetectionLog(pulses)
    for first in range(0, pulses, FRAME_PULSES):
        room = prepared.room(min(FRAME_PULSES, pulses - first))
        frame, train = source.emit(first, len(room), FIBRE, room)
        prepared.append(frame)
        receiver.detect_into(log, train)
    return Light(prepared, log.record())


def shine_naively(pulses: int, detector: DetectorSettings = DETECTOR) -> list[naive_light.Detections]:
    """Emit and detect the same frames in plain numpy; memory of a click is not carried from frame to frame."""
    rng = np.random.default_rng()
    return [
        naive_light.detect(
            naive_light.prepare(SOURCE, min(FRAME_PULSES, pulses - first), rng),
            FIBRE,
            detector,
            SOURCE.key_basis_probability,
            rng,
        )
        for first in range(0, pulses, FRAME_PULSES)
    ]


def measure(pulses: int, naive_pulses: int, pairs: int, detector: DetectorSettings = DETECTOR) -> Stage:
    """Time blocks of `pulses` against frames of the naive model, `naive_pulses` in all."""
    return alternate(
        "source-channel-detector",
        "pulse/s",
        Contender("qkdlink.common.optics", pulses, lambda: shine(pulses, detector)),
        Contender("naive numpy", naive_pulses, lambda: shine_naively(naive_pulses, detector)),
        pairs,
    )
