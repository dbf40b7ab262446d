"""An authenticated peer that says nonsense, and tags it: the other side refuses it and keeps no key."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from qkdlink.common.authentication.scheme import CheckpointScheme
from qkdlink.common.distillation.reconciliation.parity import Questions
from qkdlink.common.distillation.reconciliation.schedule import MAX_INDICES
from qkdlink.common.errors import LinkError, RemoteProtocolError
from qkdlink.common.protocol.conversation import BlockConversation, Line, Place
from qkdlink.common.protocol.parameters import ProtocolName
from qkdlink.common.protocol.roles import Role
from qkdlink.common.protocol.variants.one_decoy import ONE_DECOY
from qkdlink.common.protocol.variants.single_photon import SINGLE_PHOTON
from qkdlink.common.wire.messages import (
    AmplificationSeed,
    BasisAnnouncement,
    BlockAccepted,
    Confirmation,
    DetectionAnnouncement,
    Message,
    OpenBlock,
    ParityAnswers,
    ParityQuestions,
    ReconciliationEnded,
    ReconciliationOpened,
    TestBits,
    VerificationHash,
)
from qkdlink.common.wire.parities import encode_questions
from tests.support.pair import Ending, Pair, small_block
from tests.support.told_records import record_of

ALICE, BOB = Role.ALICE, Role.BOB


@dataclass(frozen=True, slots=True)
class Lie:
    """What one party says instead of the truth."""

    liar: Role
    kind: type[Message]
    changes: Callable[[Any], dict[str, object]]
    refusal: str
    protocol: ProtocolName = SINGLE_PHOTON.name

    def conversation(
        self, role: Role, place: Place, line: Line, scheme: CheckpointScheme
    ) -> BlockConversation:
        lie = self

        class Lying(BlockConversation):
            async def say(self, message: Message) -> None:
                if role is lie.liar and isinstance(message, lie.kind):
                    message = message.model_copy(update=lie.changes(message))
                await super().say(message)

        return Lying(role, place, line, scheme)


def longer(name: str) -> Callable[[Message], dict[str, object]]:
    return lambda message: {name: getattr(message, name) + b"\0"}


def shorter(name: str) -> Callable[[Message], dict[str, object]]:
    return lambda message: {name: getattr(message, name)[:-1]}


def more(name: str) -> Callable[[Message], dict[str, object]]:
    return lambda message: {name: getattr(message, name) + 1}


def being(**values: object) -> Callable[[Message], dict[str, object]]:
    return lambda _: values


def asking(start: int, end: int, *, index: int = 0, lanes: int = 1) -> Callable[[Message], dict[str, object]]:
    """Ask one question that nobody in his right mind would write."""
    question = Questions(
        np.array([index], np.uint8),
        np.array([start], np.uint32),
        np.array([end], np.uint32),
        np.array([lanes], np.uint64),
    )
    return being(questions=encode_questions(question))


NONSENSE = "makes no sense"
LIES = {
    "another number of pulses": Lie(ALICE, OpenBlock, more("pulses"), "are agreed"),
    "more frames than pulses": Lie(ALICE, OpenBlock, being(frames=2**20), "no frame is empty"),
    "one detection too many": Lie(BOB, DetectionAnnouncement, more("detections"), NONSENSE),
    "gates and something else": Lie(BOB, DetectionAnnouncement, longer("gaps"), NONSENSE),
    "gates cut short": Lie(BOB, DetectionAnnouncement, shorter("gaps"), NONSENSE),
    "a gate after the last pulse": Lie(
        BOB, DetectionAnnouncement, being(detections=1, gaps=b"\xff\xff\x7f", bases=b"\0"), NONSENSE
    ),
    "more detections than memory": Lie(BOB, DetectionAnnouncement, being(detections=2**40), NONSENSE),
    "too many bases": Lie(BOB, DetectionAnnouncement, longer("bases"), NONSENSE),
    "one sifted bit too many": Lie(ALICE, BasisAnnouncement, more("sifted"), "contradicts itself"),
    "too few classes emitted": Lie(ALICE, BasisAnnouncement, being(emitted=(1, 2)), "contradicts itself"),
    "too many classes detected": Lie(ALICE, BasisAnnouncement, being(detected=(1, 2)), "contradicts itself"),
    "more matched than detected of a class": Lie(
        ALICE,
        BasisAnnouncement,
        lambda message: {"detected": (0, sum(message.detected))},
        "more detections of a class than she says",
        ONE_DECOY.name,
    ),
    "a class of single photons": Lie(ALICE, BasisAnnouncement, longer("classes"), NONSENSE),
    "matches of other detections": Lie(ALICE, BasisAnnouncement, longer("matched"), NONSENSE),
    "too many test bits of Bob": Lie(BOB, TestBits, longer("bits"), NONSENSE),
    "too few test bits of Alice": Lie(ALICE, TestBits, shorter("bits"), NONSENSE),
    "a short shuffle seed": Lie(BOB, ReconciliationOpened, shorter("shuffle_seed"), NONSENSE),
    "no questions": Lie(BOB, ParityQuestions, being(questions=b""), NONSENSE),
    "half a question": Lie(BOB, ParityQuestions, shorter("questions"), NONSENSE),
    "questions and something else": Lie(BOB, ParityQuestions, longer("questions"), NONSENSE),
    "an empty range": Lie(BOB, ParityQuestions, being(questions=b"\0\0\0\0"), NONSENSE),
    "a range beyond the key": Lie(BOB, ParityQuestions, asking(0, 2**31), NONSENSE),
    "a lane that no word has": Lie(BOB, ParityQuestions, asking(0, 5, lanes=2**63), NONSENSE),
    "a check beyond the last": Lie(BOB, ParityQuestions, asking(0, 5, index=MAX_INDICES), NONSENSE),
    "one answer too many": Lie(ALICE, ParityAnswers, more("count"), "parity questions"),
    "answers cut short": Lie(ALICE, ParityAnswers, shorter("parities"), NONSENSE),
    "a parity not counted": Lie(BOB, ReconciliationEnded, being(disclosed_parities=1), "Alice answered"),
    "more errors than bits": Lie(
        BOB, ReconciliationEnded, being(key_errors=(2**40,)), "more corrected errors"
    ),
    "errors of a class that is none": Lie(
        BOB, ReconciliationEnded, being(key_errors=(1, 1)), "more corrected errors"
    ),
    "a parity too many": Lie(ALICE, VerificationHash, more("disclosed_parities"), "Bob received"),
    "a hash and something else": Lie(ALICE, VerificationHash, longer("tag"), NONSENSE),
    "half a hash": Lie(ALICE, VerificationHash, shorter("tag"), NONSENSE),
    "a short hash key": Lie(ALICE, VerificationHash, shorter("seed"), "wrong length"),
    "a long amplification seed": Lie(ALICE, AmplificationSeed, longer("seed"), "wrong length"),
    "a seed for a shorter key": Lie(ALICE, AmplificationSeed, being(secret_bits=256), "wrong length"),
    "a key that does not pay for its block": Lie(
        ALICE, AmplificationSeed, being(secret_bits=255), "does not pay for its block"
    ),
    "more for the reserve than the key has": Lie(
        ALICE, AmplificationSeed, being(reserve_bits=2**40), "more bits for the reserve than the key has"
    ),
    "a reserve where tags cost no key": Lie(
        ALICE, AmplificationSeed, being(reserve_bits=1), "never takes more than 0"
    ),
    "a verification key that nobody asked for": Lie(
        ALICE, OpenBlock, being(verification_key=bytes(32)), "of 32 bytes where 0 are due"
    ),
    "a verification key of Bob that nobody asked for": Lie(
        BOB, BlockAccepted, being(verification_key=bytes(32)), "of 32 bytes where 0 are due"
    ),
    "another length confirmed by Bob": Lie(BOB, Confirmation, more("secret_bits"), "another length"),
    "another length confirmed by Alice": Lie(ALICE, Confirmation, more("secret_bits"), "another length"),
}


@pytest.mark.parametrize("name", LIES)
async def test_nonsense_is_refused_although_its_tag_is_right(name: str):
    lie = LIES[name]
    ending = await Pair(parameters=small_block(lie.protocol), conversations=lie.conversation).play()
    liar, victim = (ending.alice, ending.bob) if lie.liar is ALICE else (ending.bob, ending.alice)
    assert isinstance(victim.outcome, RemoteProtocolError)
    assert lie.refusal in str(victim.outcome)
    assert victim.available is None
    assert record_of(victim).outcome.detail == str(victim.outcome)
    if lie.kind is not Confirmation or lie.liar is BOB:
        assert isinstance(liar.outcome, LinkError)
        assert (liar.available, victim.pending) == (None, None)


async def test_an_alice_who_answers_beyond_the_budget_of_the_block_is_refused(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("qkdlink.alice.steps.parity_budget", lambda *_: 2**40)
    ending = await Pair(bob_misreads_key_bits=0.2).play()
    assert isinstance(ending.bob.outcome, RemoteProtocolError)
    assert "the budget of the block is" in str(ending.bob.outcome)
    assert (ending.alice.available, ending.bob.pending) == (None, None)


async def test_a_question_asked_twice_is_counted_twice():
    """The number of parities is what the key pays for, whoever asks and however often."""
    ending = await Pair(conversations=_asking_twice).play()
    assert isinstance(ending.alice.outcome, RemoteProtocolError)
    assert "Alice answered" in str(ending.alice.outcome)
    assert _answered(ending) == 2 * ending.bob.block.account.leaked_bits


def _asking_twice(role: Role, place: Place, line: Line, scheme: CheckpointScheme) -> BlockConversation:
    class AskingTwice(BlockConversation):
        async def say(self, message: Message) -> None:
            if role is BOB and isinstance(message, ParityQuestions):
                await super().say(message)
                await self.expect(ParityAnswers)
            await super().say(message)

    return AskingTwice(role, place, line, scheme)


def _answered(ending: Ending) -> int:
    return sum(one.message.count for one in ending.said if isinstance(one.message, ParityAnswers))
