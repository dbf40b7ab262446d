"""Alice's source, Eve's chain and Bob's watchful receiver in one place, without a socket; and what came of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qkdlink.common.distillation.monitors import Count
from qkdlink.common.optics.detector import DetectorSettings
from qkdlink.common.optics.expectation import expected_statistics
from qkdlink.common.optics.fibre import Fibre
from qkdlink.common.optics.loops import lane_keys
from qkdlink.common.optics.outlet import Outlet
from qkdlink.common.optics.records import DetectionRecord
from qkdlink.common.optics.source import PulseSource, Source
from qkdlink.common.optics.states import Basis
from qkdlink.common.optics.watchful_receiver import DetectorFlaws, WatchfulReceiver
from qkdlink.common.randomness import ChoiceStream, Randomness
from qkdlink.eve.notebook import BlockNotes, Knowledge
from qkdlink.eve.quantum_attacks.base import PublicLink, QuantumAttack, play
from qkdlink.eve.quantum_attacks.catalogue import attack_from

SIGMAS = 5
"""A false alarm of 5.7e-7 per number (two-sided, normal)."""

SINGLE_PHOTONS = Source.single_photon(0.5)
CITY = Fibre(5, 0.2, 0.0)
FLAWS = DetectorFlaws()
QUIET = DetectorSettings(1.0, 0.0, 0.0, 0.0, 1e9)


@dataclass
class Outcome:
    """One block, seen from above."""

    link: PublicLink
    prepared: NDArray[np.uint8]
    record: DetectionRecord
    notes: BlockNotes

    def __post_init__(self) -> None:
        at_clicks = self.prepared[self.record.gates]
        self.bits, self.bases, self.classes = at_clicks & 1, at_clicks >> 1 & 1, at_clicks >> 2
        self.matched = self.bases == self.record.bases
        self.wrong = self.bits != self.record.bits

    def sifted(self, basis: Basis | None = None, intensity: int | None = None) -> NDArray[np.bool_]:
        """Which clicks are sifted, in this basis and of this class if one is given."""
        chosen = self.matched
        if basis is not None:
            chosen = chosen & (self.bases == basis)
        return chosen if intensity is None else chosen & (self.classes == intensity)

    def errors(self, basis: Basis) -> tuple[int, int]:
        """Errors and bits of a basis."""
        sifted = self.sifted(basis)
        return int((sifted & self.wrong).sum()), int(sifted.sum())

    def known(self, basis: Basis | None = None, intensity: int | None = None) -> tuple[Knowledge, int]:
        """What Eve knows of these sifted bits of Alice after the announcements, and how many guesses are right."""
        sifted = self.sifted(basis, intensity)
        knowledge = self.notes.known(self.record.gates[sifted], self.bases[sifted])
        return knowledge, int((knowledge.guesses == self.bits[sifted]).sum())

    @property
    def gains(self) -> list[Count]:
        """Clicks of each class against what the honest link is expected to show."""
        classes = self.link.source.class_count
        emitted = np.bincount(self.prepared >> 2, minlength=classes).tolist()
        clicks = np.bincount(self.classes, minlength=classes).tolist()
        return [Count(*counted) for counted in zip(clicks, emitted, self._expected.gains, strict=True)]

    @property
    def doubles(self) -> Count:
        """Double clicks likewise."""
        return Count(self.record.double_clicks, len(self.prepared), self._expected.double_clicks)

    @property
    def _expected(self):
        link = self.link
        return expected_statistics(link.source, link.fibre, link.detector, link.key_basis_probability)


def live(
    attacks: str | Sequence[QuantumAttack],
    source: Source = SINGLE_PHOTONS,
    fibre: Fibre = CITY,
    detector: DetectorSettings = QUIET,
    pulses: int = 2**20,
    *,
    frame: int = 2**20,
    flaws: DetectorFlaws = FLAWS,
    switched_off: float = 0.0,
    probe_photons: float = 0.0,
    seed: int = 1,
) -> Outcome:
    """Run one block; `attacks` is a chain or its text, separated by spaces. Both choose bases alike."""
    chain = [attack_from(text) for text in attacks.split()] if isinstance(attacks, str) else attacks
    key = source.key_basis_probability
    link = PublicLink(source, fibre, detector, key, flaws)
    emitter = PulseSource(source, ChoiceStream(bytes(31) + b"A"), np.random.default_rng(seed))
    receiver = WatchfulReceiver(
        detector,
        key,
        ChoiceStream(bytes(31) + b"B"),
        np.random.default_rng(seed + 1000),
        flaws,
        switched_off,
    )
    reflections = lane_keys(np.random.default_rng(seed + 2000), 1)[0]
    notes, prepared, records = BlockNotes(), [], []
    for first in range(0, pulses, frame):
        of_frame, train = emitter.emit(first, min(frame, pulses - first), fibre)
        prepared.append(of_frame)
        train = Outlet().emit(train, probe_photons, reflections)
        train = play(chain, train, Randomness("eve", seed), link, 1, notes)
        records.append(receiver.detect(train))
    return Outcome(link, np.concatenate(prepared), DetectionRecord.joined(records), notes)


def assert_rate(counted: int, trials: int, expected: float) -> None:
    """Assert that a count lies within five binomial standard deviations; certainties are exact."""
    assert trials > 500
    assert abs(counted - trials * expected) <= SIGMAS * np.sqrt(trials * expected * (1 - expected)), (
        counted / trials,
        expected,
    )
