"""What Eve makes of her knowledge and of all that was disclosed: the key, or nothing."""

from dataclasses import replace

import numpy as np
import pytest

from qkdlink.common.bits import pack
from qkdlink.common.distillation.amplification import amplification_seed_bits, amplify
from qkdlink.common.distillation.reconciliation.cascade import Answerer, Corrector, Questions, schedule
from qkdlink.common.distillation.stages import VerifiedKey
from qkdlink.common.distillation.verification import verification_seed_bytes, verification_tag
from qkdlink.common.wire.attachments import encode_gates
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
    VerificationHash,
)
from qkdlink.common.wire.parities import encode_parities, encode_questions
from qkdlink.eve.listening.blocks import OverheardBlock
from qkdlink.eve.listening.hellos import NotUnderstood
from qkdlink.eve.listening.recovery import MOST_UNKNOWN, recover
from qkdlink.eve.notebook import Knowledge
from qkdlink.eve.relay import Way

LENGTH, SECRET_BITS, EPS_COR = 8192, 3000, 1e-15
DRAWN = np.random.default_rng(7)
ALICE = DRAWN.integers(0, 2, LENGTH, np.uint8)
WRONG_AT_BOB = DRAWN.random(LENGTH) < 0.02
SEED = bytes(range(32))
HASH_SEED = DRAWN.bytes(verification_seed_bytes(LENGTH, EPS_COR))
TOEPLITZ_SEED = DRAWN.bytes((amplification_seed_bits(LENGTH, SECRET_BITS) + 7) // 8)
KEY = amplify(VerifiedKey(ALICE, (0,), 0), TOEPLITZ_SEED, SECRET_BITS)
TO_BOB, TO_ALICE = Way.TO_BOB, Way.TO_ALICE


def conversation() -> list[tuple[Way, Message]]:
    """A block in which every detection is sifted, and every one in the key basis."""
    gates, ones = np.arange(LENGTH, dtype=np.uint32), np.ones(LENGTH, np.uint8)
    said: list[tuple[Way, Message]] = [
        (TO_BOB, OpenBlock(pulses=LENGTH, frames=1, verification_key=b"")),
        (
            TO_ALICE,
            DetectionAnnouncement(detections=LENGTH, gaps=encode_gates(gates), bases=bytes(LENGTH // 8)),
        ),
        (
            TO_BOB,
            BasisAnnouncement(
                sifted=LENGTH, matched=pack(ones), classes=b"", emitted=(LENGTH,), detected=(LENGTH,)
            ),
        ),
        (TO_ALICE, ReconciliationOpened(shuffle_seed=SEED, expected_qber=0.02)),
    ]
    plan = schedule(LENGTH, 0.02)
    answerer, corrector = Answerer(ALICE, plan, SEED, 10**6), Corrector(ALICE ^ WRONG_AT_BOB, plan, SEED)
    while (asked := corrector.questions()) is not None:
        answers, count = answerer.answer(asked), asked.parities(plan)
        corrector.receive(answers)
        told = ParityAnswers(count=count, parities=encode_parities(asked, answers, count))
        said += [(TO_ALICE, ParityQuestions(questions=encode_questions(asked))), (TO_BOB, told)]
    tag = verification_tag(ALICE, HASH_SEED, EPS_COR)
    return [
        *said,
        (TO_BOB, VerificationHash(disclosed_parities=answerer.disclosed_bits, seed=HASH_SEED, tag=tag)),
        (TO_BOB, AmplificationSeed(secret_bits=SECRET_BITS, reserve_bits=0, seed=TOEPLITZ_SEED)),
        (TO_ALICE, Confirmation(secret_bits=SECRET_BITS)),
        (TO_BOB, Confirmation(secret_bits=SECRET_BITS)),
    ]


CONVERSATION = conversation()
BEYOND_THE_KEY = Questions(
    np.zeros(1, np.uint8), np.zeros(1, np.uint32), np.full(1, LENGTH + 1, np.uint32), np.ones(1, np.uint64)
)


def overheard(said: list[tuple[Way, Message]] = CONVERSATION) -> OverheardBlock:
    block = OverheardBlock(LENGTH)
    for way, message in said:
        block.hear(way, message)
    return block


def knowing(known: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Knowledge:
    return Knowledge(np.where(known, ALICE, 0).astype(np.uint8), np.where(known, 1.0, 0.5))


def recovered(known: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> bytes | None:
    key = recover(overheard(), knowing(known), EPS_COR)
    return key.material if key else None


def test_whoever_knows_every_bit_has_the_key():
    block = overheard()
    assert block.has_key
    assert block.ended
    assert recovered(np.ones(LENGTH, np.bool_)) == KEY.material


def test_parities_give_the_few_bits_that_she_lacks():
    lacking = np.flatnonzero(WRONG_AT_BOB)[:150]  # Cascade has closed in on each of these
    known = np.ones(LENGTH, np.bool_)
    known[lacking] = False
    assert recovered(known) == KEY.material


def test_bits_that_no_parity_singles_out_stay_unknown():
    known = np.ones(LENGTH, np.bool_)
    known[np.flatnonzero(~WRONG_AT_BOB)[: MOST_UNKNOWN - 1]] = False
    assert recovered(known) is None


def test_half_of_the_bits_are_not_the_key():
    assert recovered(np.arange(LENGTH) % 2 == 0) is None


def test_a_certainty_that_is_wrong_is_caught_by_a_parity_or_by_the_tag():
    known = knowing(np.ones(LENGTH, np.bool_))
    known.guesses[5] ^= 1
    assert recover(overheard(), known, EPS_COR) is None
    lacking = replace(known, probabilities=np.where(np.arange(LENGTH) == 7, 0.5, 1.0))
    assert recover(overheard(), lacking, EPS_COR) is None


def test_a_block_without_a_seed_or_a_hash_has_no_key():
    for until in (3, len(CONVERSATION) - 4, len(CONVERSATION) - 3):
        block = overheard(CONVERSATION[:until])
        assert not block.has_key
        assert recover(block, knowing(np.ones(LENGTH, np.bool_)), EPS_COR) is None


def test_an_abort_ends_a_block_once_it_is_answered():
    abort = Abort(reason="gain", detail="")
    block = overheard([*CONVERSATION[:4], (TO_ALICE, abort)])
    assert not block.ended
    block.hear(TO_BOB, abort)
    assert block.ended
    assert not block.has_key


def test_a_seed_of_the_wrong_length_is_not_understood():
    said = [
        (
            way,
            message.model_copy(update={"seed": b"x"}) if isinstance(message, AmplificationSeed) else message,
        )
        for way, message in CONVERSATION
    ]
    with pytest.raises(NotUnderstood, match="does not fit the key"):
        recover(overheard(said), knowing(np.ones(LENGTH, np.bool_)), EPS_COR)


@pytest.mark.parametrize(
    ("heard", "then"),
    [
        (0, OpenBlock(pulses=7, frames=1, verification_key=b"")),
        (1, CONVERSATION[2][1]),
        (1, DetectionAnnouncement(detections=10, gaps=b"", bases=b"")),
        (4, ParityAnswers(count=1, parities=b"\0")),
        (2, CONVERSATION[3][1]),
        (3, CONVERSATION[4][1]),
        (4, ParityQuestions(questions=b"")),
        (4, ParityQuestions(questions=b"\0")),
        (4, ParityQuestions(questions=encode_questions(BEYOND_THE_KEY))),
        (5, CONVERSATION[4][1]),
        (5, ParityAnswers(count=1, parities=b"\0")),
    ],
)
def test_words_that_make_no_sense_after_the_others_are_not_understood(heard: int, then: Message):
    block = overheard(CONVERSATION[:heard])
    with pytest.raises(NotUnderstood, match="makes no sense"):
        block.hear(TO_ALICE, then)
