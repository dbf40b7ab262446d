"""A block as Eve overhears it: what was announced, asked, answered and shown, until its conversation ends."""

from dataclasses import dataclass, field

import numpy as np

from qkdlink.common.bits import Bits, unpack
from qkdlink.common.distillation.reconciliation.parity import Questions
from qkdlink.common.distillation.reconciliation.schedule import Schedule, schedule
from qkdlink.common.optics.adversary import Mask
from qkdlink.common.optics.records import Gates
from qkdlink.common.optics.states import Basis
from qkdlink.common.wire.attachments import decode_classes, decode_gates
from qkdlink.common.wire.messages import (
    Abort,
    AmplificationSeed,
    BasisAnnouncement,
    Confirmation,
    DetectionAnnouncement,
    Message,
    OpenBlock,
    ParityAnswers,
    ParityQuestions,
    ReconciliationOpened,
    TestBits,
    VerificationHash,
)
from qkdlink.common.wire.parities import decode_questions
from qkdlink.eve.click_memory import Published
from qkdlink.eve.listening.errors import located_pairs
from qkdlink.eve.listening.hellos import NotUnderstood
from qkdlink.eve.relay import Way

_MOST_PARITIES = 2**28


@dataclass(slots=True)
class OverheardBlock:
    """What was said about one block so far; all of it is public to whoever reads the line."""

    pulses: int
    """Agreed for every block."""
    detected: Gates | None = field(default=None, repr=False)
    """All gates that clicked, `uint32[d]`, ascending."""
    bases: Bits | None = field(default=None, repr=False)
    """Bob's basis of each, `uint8[d]`."""
    matched: Mask | None = field(default=None, repr=False)
    """Where Alice's basis was the same, `bool[d]`."""
    announced: BasisAnnouncement | None = field(default=None, repr=False)
    """What Alice has said of her bases and intensities."""
    test_bits: list[Bits] = field(default_factory=list, repr=False)
    """Bob's bits of the test basis, then Alice's."""
    key_gates: Gates | None = field(default=None, repr=False)
    """Gates of the sifted key, `uint32[n]`, ascending; None before it is sifted."""
    plan: Schedule | None = None
    """The layout of the sifted key for Cascade; None before that begins."""
    shuffle_seed: bytes = b""
    questions: list[Questions] = field(default_factory=list, repr=False)
    answers: list[Bits] = field(default_factory=list, repr=False)
    """Alice's parities, `uint8[m]` for each list of questions that was answered: in its order and that of its lanes."""
    shown: VerificationHash | None = None
    amplified: AmplificationSeed | None = None
    aborted: bool = False
    stored_at_bob: bool = False
    ended: bool = False
    """Whether both have said their last about it."""
    _asked_parities: int = 0

    @property
    def sifted_bits(self) -> int:
        """Length of the sifted key; 0 before it is sifted."""
        return 0 if self.key_gates is None else len(self.key_gates)

    @property
    def disclosed_parities(self) -> int:
        """How many parities were answered."""
        return sum(map(len, self.answers))

    @property
    def answered(self) -> list[tuple[Questions, Bits]]:
        """Each list of questions with its answers; a last list may have gone unanswered."""
        return list(zip(self.questions, self.answers, strict=False))

    @property
    def has_key(self) -> bool:
        """Whether the block has ended, or will, with a key: Bob has stored it, and nothing is aborted after that."""
        return self.amplified is not None and self.stored_at_bob and not self.aborted

    def published(self) -> Published | None:
        """Return what was said about the gates that clicked; None before the errors were looked for.

        NotUnderstood if it makes no sense.
        """
        if self.detected is None or self.bases is None or self.matched is None or self.announced is None:
            return None
        if self.plan is None or len(self.test_bits) != 2:
            return None
        matched = int(np.count_nonzero(self.matched))
        try:
            classes = decode_classes(self.announced.classes, matched, len(self.announced.emitted))
        except ValueError as error:
            raise NotUnderstood(f"the intensity classes make no sense: {error}") from error
        pairs = located_pairs(self.plan, self.shuffle_seed, [asked for asked, _ in self.answered])
        return Published(
            self.detected,
            self.bases,
            self.matched,
            classes,
            (self.test_bits[0], self.test_bits[1]),
            np.zeros(self.sifted_bits, np.bool_),
            pairs,
        )

    def hear(self, way: Way, message: Message) -> None:
        """Take the next message of the block; NotUnderstood if it makes no sense after the others."""
        try:
            self._take(way, message)
        except ValueError as error:
            raise NotUnderstood(f"a message of the block makes no sense: {error}") from error

    def _take(self, way: Way, message: Message) -> None:  # noqa: C901 - one case for each kind of message
        match message:
            case OpenBlock():
                if message.pulses != self.pulses:
                    raise ValueError(f"{message.pulses} pulses, where {self.pulses} are agreed")
            case DetectionAnnouncement():
                self.detected = decode_gates(message.gaps, message.detections, self.pulses)
                self.bases = unpack(message.bases, message.detections)
            case BasisAnnouncement():
                self._sift(message)
            case TestBits():
                self._show_test_bits(message)
            case ReconciliationOpened():
                self.plan = schedule(self.sifted_bits, message.expected_qber)
                self.shuffle_seed = message.shuffle_seed
            case ParityQuestions():
                self._ask(message)
            case ParityAnswers():
                self._answer(message)
            case VerificationHash():
                self.shown = message
            case AmplificationSeed():
                self.amplified = message
            case Confirmation():
                self.stored_at_bob = True
                self.ended = way is Way.TO_BOB
            case Abort():
                self.ended, self.aborted = self.aborted, True  # it is answered in kind
            case _:
                return

    def _sift(self, announced: BasisAnnouncement) -> None:
        if self.detected is None or self.bases is None:
            raise ValueError("bases are announced before the detections")
        matched = unpack(announced.matched, len(self.detected)).astype(np.bool_)
        self.matched = matched
        self.announced = announced
        self.key_gates = self.detected[matched & (self.bases == Basis.KEY)]

    def _show_test_bits(self, shown: TestBits) -> None:
        if self.bases is None or self.matched is None or len(self.test_bits) == 2:
            raise ValueError("test bits are shown that nobody has asked for")
        count = int(np.count_nonzero(self.matched & (self.bases == Basis.TEST)))
        self.test_bits.append(unpack(shown.bits, count))

    def _ask(self, asked: ParityQuestions) -> None:
        if self.plan is None:
            raise ValueError("parities are asked for before the reconciliation is opened")
        if len(self.questions) != len(self.answers):
            raise ValueError("parities are asked for before the last ones were answered")
        questions = decode_questions(asked.questions)
        self._asked_parities = questions.parities(self.plan)
        self.questions.append(questions)

    def _answer(self, answered: ParityAnswers) -> None:
        if len(self.answers) >= len(self.questions) or answered.count != self._asked_parities:
            raise ValueError("parities are answered that nobody asked for")
        if self.disclosed_parities + answered.count > _MOST_PARITIES:
            raise ValueError("more parities are answered than any block needs")
        self.answers.append(unpack(answered.parities, answered.count))
