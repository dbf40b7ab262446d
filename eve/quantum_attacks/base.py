"""What an attack on light is: a frozen settings model that takes a frame and gives one back.

An attack sees light through its tools alone (`qkdlink.common.optics.adversary`) and writes what it learns into the
notes of the block. It keeps nothing between frames, so that attacks can be switched, added and removed while a link
runs; several form a chain, the first being the nearest to Alice. Any class with `name` and `touch` is an attack;
`Attack` adds the `fraction` of pulses that it touches, and sees to the others.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from qkdlink.common.optics.adversary import Bench, Mask
from qkdlink.common.optics.detector import DetectorSettings
from qkdlink.common.optics.fibre import Fibre
from qkdlink.common.optics.pulses import PulseTrain
from qkdlink.common.optics.source import PhotonStatistics, Source
from qkdlink.common.optics.watchful_receiver import DetectorFlaws
from qkdlink.common.protocol.parameters import LinkParameters
from qkdlink.common.randomness import Choice, ChoiceStream, Nature, Randomness
from qkdlink.eve.flight import GateModel, Marks
from qkdlink.eve.notebook import BlockNotes, FlightPage

type Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
"""0..1."""

_FLAWS = DetectorFlaws()
_LANE_BYTES = 2**36
_DRAW_BYTES = 4


@dataclass(frozen=True, slots=True)
class PublicLink:
    """What everybody knows of a link, Eve included."""

    source: Source
    fibre: Fibre
    detector: DetectorSettings
    key_basis_probability: float
    """Bob's."""
    flaws: DetectorFlaws = _FLAWS
    """Of Bob's detectors. Kerckhoffs: she has measured others of their make."""

    @classmethod
    def of(cls, parameters: LinkParameters, flaws: DetectorFlaws = _FLAWS) -> "PublicLink":
        """Read it off the parameters that Alice and Bob agree on in public, and the data sheets of their devices."""
        p = parameters
        return cls(p.source, p.fibre, p.detector, p.key_basis_probability, flaws)

    @property
    def has_single_photons(self) -> bool:
        """Whether no pulse of the source has more than one photon."""
        return self.source.statistics is PhotonStatistics.SINGLE_PHOTON

    @property
    def lossless_fibre(self) -> Fibre:
        """The best that Eve can put in the fibre's place: no loss; Bob's optics stay as well aligned as they are."""
        return Fibre(0.0, 0.0, self.fibre.misalignment)

    def gate_behind(self, fibre: Fibre) -> GateModel:
        """Bob's gate, for light that is launched into `fibre` at last."""
        mismatch = self.flaws.timing_mismatch
        return GateModel(self.source, fibre, self.detector, mismatch, self.key_basis_probability)


class Reflections:
    """What came back of a probe from Alice's modulators in one frame, until somebody in the chain takes it."""

    def __init__(self, light: PulseTrain) -> None:
        self._light = light

    def take(self, chosen: Mask, bench: Bench) -> PulseTrain:
        """Take the reflections of the `chosen` pulses (`bool[n]`), which are then gone, and leave the others."""
        taken, self._light = bench.switch(self._light, chosen)
        return taken


@dataclass(frozen=True, slots=True)
class EveTools:
    """What an attack works with in one frame: optics, her own random choices, and what everybody knows."""

    bench: Bench
    choices: ChoiceStream
    link: PublicLink
    reflections: Reflections
    """What came back from Alice's modulators; it flies beside her light, whatever other attacks do to that."""

    @classmethod
    def drawn(
        cls, randomness: Randomness, place: int, block: int, link: PublicLink, reflections: Reflections
    ) -> "EveTools":
        """Lay out the tools of the attack at `place` in the chain, for one frame of a block.

        In a seeded run they draw the same at every call.
        """
        own = Randomness(f"{randomness.node} {place}", randomness.seed)
        bench = Bench(own.nature(Nature.DETECTORS, block))
        return cls(bench, own.choices(Choice.MEASUREMENTS, block), link, reflections)

    def draw_bytes(self, train: PulseTrain, lane: int) -> NDArray[np.uint8]:
        """One random byte of hers per pulse: `uint8[n]`; another lane is independent."""
        return self.choices.read(_LANE_BYTES * lane + train.first_pulse, len(train))

    def decide(self, train: PulseTrain, probabilities: float | NDArray[np.float64], lane: int) -> Mask:
        """Decide for each pulse with its probability, 0..1: `bool[n]`; another lane is independent."""
        if isinstance(probabilities, float) and probabilities >= 1:
            return np.ones(len(train), np.bool_)
        start = _LANE_BYTES * lane + _DRAW_BYTES * train.first_pulse
        drawn = self.choices.read(start, _DRAW_BYTES * len(train)).view("<u4")
        return np.asarray(drawn < np.ceil(np.asarray(probabilities) * 2.0**32))


class QuantumAttack(Protocol):
    """An attack on light."""

    name: ClassVar[str]
    """What it is called on command lines and in control messages."""

    def touch(self, train: PulseTrain, tools: EveTools, notes: BlockNotes) -> PulseTrain:
        """Take a frame of light and return what goes on to Bob: as many pulses, from the same one on."""
        ...


class Attack(BaseModel, ABC):
    """An attack on a fraction of the pulses, chosen at random, independently of what they are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ClassVar[str]
    fraction: Fraction = 1.0
    """Share of the pulses that it touches."""

    def touch(self, train: PulseTrain, tools: EveTools, notes: BlockNotes) -> PulseTrain:
        """Part the frame, act on one part, and give the other the loss of the fibre that it was meant for."""
        if self.fraction == 0:
            return train
        if self.fraction == 1:
            return self.act(train, np.ones(len(train), np.bool_), tools, notes)
        medium = train.medium
        chosen = tools.decide(train, self.fraction, lane=0)
        touched, spared = tools.bench.switch(train, chosen)
        acted = self.act(touched, chosen, tools, notes)
        loss = medium.transmittance / acted.medium.transmittance
        if loss < 1:
            first, end = train.first_pulse, train.first_pulse + len(train)
            notes.add(FlightPage(first, end, faded=Marks.of(~chosen), faded_share=loss))
            spared, _ = tools.bench.split(spared, loss)
        return tools.bench.join(acted, spared)

    def obstacle(self, link: PublicLink) -> str | None:
        """Return the sentence that says why it cannot act on this link; None if it can."""
        del link
        return f"{self.name} touches no pulse: its fraction is 0." if not self.fraction else None

    @abstractmethod
    def act(self, train: PulseTrain, chosen: Mask, tools: EveTools, notes: BlockNotes) -> PulseTrain:
        """Do to the `chosen` pulses (`bool[n]`) what the attack is; the others are vacuum and stay it.

        Lane 0 of the tools' choices is taken.
        """


def play(
    attacks: Sequence[QuantumAttack],
    train: PulseTrain,
    randomness: Randomness,
    link: PublicLink,
    block: int,
    notes: BlockNotes,
) -> PulseTrain:
    """Send a frame of a block through a chain of attacks, the first one nearest to Alice.

    At the entrance reflections of a probe are parted from Alice's light.
    """
    entrance = Bench(randomness.nature(Nature.DETECTORS, block))
    train, reflected = entrance.reflections(train)
    reflections = Reflections(reflected)
    for place, attack in enumerate(attacks):
        train = attack.touch(train, EveTools.drawn(randomness, place, block, link, reflections), notes)
    notes.end(train.first_pulse, train.first_pulse + len(train), link.gate_behind(train.medium))
    return train
