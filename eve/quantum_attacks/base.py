"""What an attack on light is: a frozen settings model that takes a frame and gives one back.

An attack sees light through its tools alone (`common.optics.bench`) and writes what it learns into the notes of the
block. It keeps nothing between frames, so that attacks can be switched, added and removed while a link runs; several
form a chain, the first being the nearest to Alice. Any class with `name` and `touch` is an attack; `Attack` adds the
`fraction` of pulses that it touches, and sees to the others.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from common.optics.bench import Bench, Mask
from common.optics.detector import DetectorSettings
from common.optics.fibre import Fibre
from common.optics.pulses import PulseTrain
from common.optics.source import Source
from common.protocol.parameters import LinkParameters
from common.randomness import Choice, ChoiceStream, Nature, Randomness
from eve.notebook import BlockNotes

type Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
"""0..1."""

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

    @classmethod
    def of(cls, parameters: LinkParameters) -> "PublicLink":
        """Read it off the parameters that Alice and Bob agree on in public."""
        return cls(parameters.source, parameters.fibre, parameters.detector, parameters.key_basis_probability)

    @property
    def lossless_fibre(self) -> Fibre:
        """The best that Eve can put in the fibre's place: no loss; Bob's optics stay as well aligned as they are."""
        return Fibre(0.0, 0.0, self.fibre.misalignment)


@dataclass(frozen=True, slots=True)
class EveTools:
    """What an attack works with in one frame: optics, her own random choices, and what everybody knows."""

    bench: Bench
    choices: ChoiceStream
    link: PublicLink

    @classmethod
    def drawn(cls, randomness: Randomness, place: int, block: int, link: PublicLink) -> "EveTools":
        """Lay out the tools of the attack at `place` in the chain, for any frame of a block.

        In a seeded run they draw the same at every call.
        """
        own = Randomness(f"{randomness.node} {place}", randomness.seed)
        bench = Bench(own.nature(Nature.DETECTORS, block))
        return cls(bench, own.choices(Choice.MEASUREMENTS, block), link)

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
            spared, _ = tools.bench.split(spared, loss)
        return tools.bench.join(acted, spared)

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
    """Send a frame of a block through a chain of attacks, the first one nearest to Alice."""
    for place, attack in enumerate(attacks):
        train = attack.touch(train, EveTools.drawn(randomness, place, block, link), notes)
    return train
