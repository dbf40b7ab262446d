"""Store and forge: Eve keeps Alice's light, speaks as Bob, and measures once Alice has told her the bases.

Her column, beside Alice's and Bob's: keep every pulse; announce detections in Bob's name; hear from Alice in which
of them the bases agreed, which tells Alice's basis for each; measure just there, without an error; send Bob fresh
light; in Alice's name, let count only those of his detections that have Alice's basis. Both then hold the same
sifted key without an error in it, and so does she: whatever is said, tagged and verified from there on is true.

It fails because Alice tells no basis before she has verified Bob's tag over his complete announcement, and because
every later tag covers what was announced as well. What she needs of the world: single photons (she would have to
count others first), a fibre whose loss and misalignment begin behind her, and nobody who checks the announcements.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import ceil, log

import numpy as np
from numpy.typing import NDArray

from qkdlink.common.bits import Bits, pack, unpack
from qkdlink.common.distillation.amplification import amplify
from qkdlink.common.distillation.stages import SecretKey, VerifiedKey
from qkdlink.common.errors import RemoteProtocolError
from qkdlink.common.optics.detector import DetectorSettings, Receiver
from qkdlink.common.optics.fibre import Fibre
from qkdlink.common.optics.pulses import PulseTrain
from qkdlink.common.optics.records import Gates
from qkdlink.common.optics.source import PulseSource, Source
from qkdlink.common.optics.states import Basis
from qkdlink.common.protocol.conversation import Line
from qkdlink.common.protocol.parameters import LinkParameters
from qkdlink.common.protocol.phases import BLOCK_TABLE, FINAL_PHASES, BlockPhase, Move, speaker_in
from qkdlink.common.protocol.roles import Role
from qkdlink.common.randomness import Choice, ChoiceStream, Nature, Randomness
from qkdlink.common.wire.attachments import decode_gates, encode_gates
from qkdlink.common.wire.framing import Envelope, Received, encode
from qkdlink.common.wire.messages import (
    AmplificationSeed,
    BasisAnnouncement,
    Checkpoint,
    DetectionAnnouncement,
    Message,
)

_MISS = 1e-12
"""Probability that none of the pulses she spends on one sifted bit is detected in its basis."""
_FILLING = 0.9
"""Share of the block that her pulses may fill, by expectation."""
_TAG_BYTES = 64
_NOTHING_MEANT = np.uint8(2)
"""No basis: what the pulses after her last sifted bit mean."""
_EVEN = 0.5
"""Her apparatus is told each basis; any bias would do."""

_PERFECT_DETECTORS = DetectorSettings(
    efficiency=1.0, dark_count_probability=0.0, dead_time_ns=0.0, afterpulse_probability=0.0, clock_hz=1e9
)
_PERFECT_FIBRE = Fibre(length_km=0.0, attenuation_db_per_km=0.0, misalignment=0.0)

type Bases = NDArray[np.uint8]
"""`uint8[n]` of `Basis`."""


@dataclass(frozen=True, slots=True, eq=False)
class Learnt:
    """What she knows once Alice has told her bases: the sifted key, both bases, in the order of the gates."""

    gates: Gates = field(repr=False)
    bits: Bits = field(repr=False)
    bases: Bases = field(repr=False)


class StoreAndForge:
    """The attack on one block, and what it has taught her."""

    def __init__(self, parameters: LinkParameters, randomness: Randomness, number: int) -> None:
        """Take what everybody knows of the link, her own randomness and the number of the block."""
        self._parameters = parameters
        self._choices = randomness.choices(Choice.MEASUREMENTS, number)
        self._nature = randomness.nature(Nature.DETECTORS, number)
        self._stored: list[PulseTrain] = []
        self.learnt: Learnt | None = None
        self.key: SecretKey | None = None
        """The secret key of Alice and Bob, if the attack went through."""

    def store(self, train: PulseTrain) -> None:
        """Keep a frame of light, unmeasured; Alice believes that it went on to Bob."""
        self._stored.append(train)

    async def attack(self, to_alice: Line, to_bob: Line, relight: Callable[[PulseTrain], None]) -> None:
        """Live the block in between; what her lines raise when she is found out ends it.

        `relight` takes the frames that she sends Bob. RemoteProtocolError if either does not go along.
        """
        await _pass_on(to_alice, to_bob)  # the block is opened
        await _pass_on(to_bob, to_alice)  # and accepted
        light_ended = await to_alice.receive()
        gates, claimed = self._forge()
        await self._speak_as_bob(to_alice, light_ended, gates, claimed)

        told, its_place = await _hear(to_alice, BasisAnnouncement)
        alices_checkpoint = await to_alice.receive()
        self.learnt = learnt = self._measure(told, gates, claimed)
        self._relight(learnt, relight)
        await to_bob.send(light_ended.frame)

        announced, _ = await _hear(to_bob, DetectionAnnouncement)
        await to_bob.receive()  # his checkpoint, which Alice never hears
        await to_bob.send(_frame(its_place, self._let_count(announced, learnt)))
        await to_bob.send(alices_checkpoint.frame)
        await self._listen(to_alice, to_bob, learnt)

    def _forge(self) -> tuple[Gates, Bases]:
        """Detections that nobody made, in bases that nobody chose."""
        pulses = self._parameters.block_pulses
        key = self._parameters.key_basis_probability
        pulses_per_detection = (key * self._repeats(Basis.KEY) + (1 - key) * self._repeats(Basis.TEST)) / 2
        draws = self._choices.read(0, 2 * pulses).view("<u2")
        gates = np.flatnonzero(draws < 2**16 * _FILLING / pulses_per_detection).astype(np.uint32)
        return gates, self._choices.read(2 * pulses, len(gates)) & np.uint8(1)

    async def _speak_as_bob(self, to_alice: Line, heard: Received, gates: Gates, claimed: Bases) -> None:
        """Announce them, under a tag that nobody gave."""
        words = (
            DetectionAnnouncement(detections=len(gates), gaps=encode_gates(gates), bases=pack(claimed)),
            Checkpoint(position=0, scheme="certificate-signature", tag=bytes(_TAG_BYTES)),
        )
        for sequence, message in enumerate(words, start=1):  # Bob's word 0 accepted the block
            await to_alice.send(_frame(replace(heard.envelope, sequence=sequence), message))

    def _measure(self, told: BasisAnnouncement, gates: Gates, claimed: Bases) -> Learnt:
        """Measure every announced pulse in the basis that Alice has just told."""
        matched = unpack(told.matched, len(gates)).astype(np.bool_)
        bases = np.where(matched, claimed, 1 - claimed).astype(np.uint8)
        by_gate, bits = np.zeros((2, self._parameters.block_pulses), np.uint8)
        by_gate[gates] = bases
        detectors = Receiver(_PERFECT_DETECTORS, _EVEN, _Decided(_measured_in(by_gate)), self._nature)
        for train in self._stored:
            record = detectors.detect(train)
            bits[record.gates] = record.bits
        return Learnt(gates[matched], bits[gates[matched]], bases[matched])

    def _relight(self, learnt: Learnt, relight: Callable[[PulseTrain], None]) -> None:
        """Send each sifted bit in its basis, so often that Bob will not miss it, in frames like Alice's."""
        bits, bases = np.zeros((2, self._parameters.block_pulses), np.uint8)
        counts = self._repeats_of(learnt.bases)
        bits[: counts.sum()] = np.repeat(learnt.bits, counts)
        bases[: counts.sum()] = np.repeat(learnt.bases, counts)
        source = PulseSource(Source.single_photon(_EVEN), _Decided(_prepared_as(bits, bases)), self._nature)
        for train in self._stored:
            relight(source.emit(train.first_pulse, len(train), _PERFECT_FIBRE)[1])

    def _let_count(self, announced: DetectionAnnouncement, learnt: Learnt) -> BasisAnnouncement:
        """Speak as Alice: of Bob's detections, only the first in the right basis counts for each sifted bit."""
        pulses, count = self._parameters.block_pulses, announced.detections
        gates = decode_gates(announced.gaps, count, pulses)
        meant = np.searchsorted(np.cumsum(self._repeats_of(learnt.bases)), gates, side="right")
        right_basis = unpack(announced.bases, count) == np.append(learnt.bases, _NOTHING_MEANT)[meant]
        _, first_of_each = np.unique(meant[right_basis], return_index=True)
        matched = np.zeros(count, np.uint8)
        matched[np.flatnonzero(right_basis)[first_of_each]] = 1
        return BasisAnnouncement(
            sifted=len(first_of_each),
            matched=pack(matched),
            classes=b"",
            emitted=(pulses,),
            detected=(count,),
        )

    async def _listen(self, to_alice: Line, to_bob: Line, learnt: Learnt) -> None:
        """Pass on every true word of the rest, and do with the key what they do."""
        phase = BlockPhase.SIFTED
        while phase not in FINAL_PHASES:
            speaker = Role.ALICE if speaker_in(phase, BLOCK_TABLE) is Role.ALICE else Role.BOB
            source, target = (to_alice, to_bob) if speaker is Role.ALICE else (to_bob, to_alice)
            message = await _pass_on(source, target)
            if isinstance(message, AmplificationSeed):
                key_bits = learnt.bits[learnt.bases == Basis.KEY]
                self.key = amplify(VerifiedKey(key_bits, (0,), 0), message.seed, message.secret_bits)
            phase = BlockPhase(BLOCK_TABLE[phase, Move(speaker, type(message))])

    def _repeats_of(self, bases: Bases) -> NDArray[np.int64]:
        return np.where(bases == Basis.KEY, self._repeats(Basis.KEY), self._repeats(Basis.TEST))

    def _repeats(self, basis: Basis) -> int:
        """How many pulses make Bob's missing one of her bits as unlikely as `_MISS`."""
        key = self._parameters.key_basis_probability
        detected = (key if basis is Basis.KEY else 1 - key) * self._parameters.detector.efficiency
        return ceil(log(_MISS) / log(1 - detected))


class _Decided(ChoiceStream):
    """Choices that are no choices: the bytes that her apparatus shall read, from a plan."""

    def __init__(self, plan: NDArray[np.uint8]) -> None:
        super().__init__(bytes(32))
        self._plan = plan

    def read(self, start: int, count: int) -> NDArray[np.uint8]:
        return self._plan[start : start + count]


_BASIS_BITS = np.uint8(254)
"""Where an apparatus reads its basis in a byte of choices: all seven zero is the key basis, all one the test basis."""


def _measured_in(bases: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """One byte per gate, as `qkdlink.common.optics.gate_loops.measure` reads it."""
    return bases * _BASIS_BITS


def _prepared_as(bits: Bits, bases: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """One byte per pulse, as `qkdlink.common.optics.loops.choose` reads it where there is one class: none needs a
    second."""
    return bits | bases * _BASIS_BITS


async def _pass_on(source: Line, target: Line) -> Message:
    received = await source.receive()
    await target.send(received.frame)
    return received.envelope.message


async def _hear[M: Message](line: Line, kind: type[M]) -> tuple[M, Envelope]:
    """Wait for what her plan needs to be said next."""
    place = (await line.receive()).envelope
    if not isinstance(place.message, kind):
        raise RemoteProtocolError(f"Eve was told {place.message!r} where her plan has a {kind.__name__}.")
    return place.message, place


def _frame(place: Envelope, message: Message) -> bytes:
    """Put a message into a place of the conversation."""
    return encode(replace(place, message=message))
