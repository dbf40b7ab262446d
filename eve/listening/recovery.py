"""From what Eve knows of the sifted key to the key itself, as far as what was disclosed carries her.

Alice's answers are parities of Alice's bits. Eve takes the bits that she knows for sure, and solves for the others
over GF(2); where that leaves a choice she takes her best guess. She has the key if, and only if, the string that she
comes to has the verification tag that Alice has shown: then she amplifies it as both of them do.

Solving is for a few unknown bits (`MOST_UNKNOWN`). Where she lacks more, parities do not make up for them:
amplification has removed more than Cascade has told.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from qkdlink.common.bits import Bits, unpack
from qkdlink.common.distillation.amplification import amplify
from qkdlink.common.distillation.reconciliation.cascade import Answerer
from qkdlink.common.distillation.reconciliation.parity import Questions
from qkdlink.common.distillation.reconciliation.rows import parity_rows
from qkdlink.common.distillation.reconciliation.schedule import Schedule
from qkdlink.common.distillation.stages import SecretKey, VerifiedKey
from qkdlink.common.distillation.verification import verification_tag
from qkdlink.common.wire.messages import AmplificationSeed, VerificationHash
from qkdlink.common.wire.parities import encode_parities
from qkdlink.eve.listening.blocks import OverheardBlock
from qkdlink.eve.listening.hellos import NotUnderstood
from qkdlink.eve.notebook import Knowledge

MOST_UNKNOWN = 1024


def recover(block: OverheardBlock, knowledge: Knowledge, eps_cor: float) -> SecretKey | None:
    """Return the secret key of a block of which Eve knows this much; None if there is none, or she does not get it."""
    if block.shown is None or block.amplified is None or not len(knowledge):
        return None
    try:
        return _secret(_corrected(block, knowledge), block.shown, block.amplified, eps_cor)
    except ValueError as error:
        raise NotUnderstood(f"what Alice has shown does not fit the key: {error}") from error


def _secret(
    bits: Bits, shown: VerificationHash, amplified: AmplificationSeed, eps_cor: float
) -> SecretKey | None:
    if verification_tag(bits, shown.seed, eps_cor) != shown.tag:
        return None
    verified = VerifiedKey(bits, (0,), shown.disclosed_parities)
    return amplify(verified, amplified.seed, amplified.secret_bits)


def _corrected(block: OverheardBlock, knowledge: Knowledge) -> Bits:
    """Return her best guess of Alice's bits that agrees with the parities, if what she takes for certain does."""
    unknown = np.flatnonzero(~knowledge.certain)
    bits = knowledge.guesses.copy()
    if block.plan is None or not block.answers or not 0 < len(unknown) <= MOST_UNKNOWN:
        return bits
    guesses = bits[unknown].copy()
    bits[unknown] = 0
    bits[unknown] = _solve(_equations(block, block.plan, bits, unknown), guesses)
    return bits


def _equations(
    block: OverheardBlock, plan: Schedule, known: Bits, unknown: NDArray[np.int64]
) -> Iterator[int]:
    """Yield what each parity says of the unknown bits: bit j + 1 for the j-th of them, bit 0 for their sum.

    `known` has zeros where she knows nothing, so what her own parities lack are those of the unknown bits.
    """
    asked = [questions for questions, _ in block.answered]
    rows = parity_rows(unknown, plan, block.shuffle_seed, asked)
    hers = Answerer(known, plan, block.shuffle_seed, block.disclosed_parities)
    sums = np.concatenate([told ^ _parities(hers, each) for each, told in block.answered])
    for row in np.flatnonzero(rows.any(axis=1)):
        yield int.from_bytes(rows[row].tobytes(), "little") << 1 | int(sums[row])


def _parities(answerer: Answerer, asked: Questions) -> Bits:
    """Return her own parities as Alice's are heard: in the order of the questions and of their lanes."""
    before, answers = answerer.disclosed_bits, answerer.answer(asked)
    count = answerer.disclosed_bits - before
    return unpack(encode_parities(asked, answers, count), count)


def _solve(equations: Iterable[int], guesses: Bits) -> Bits:
    """Solve by elimination, with `guesses` where there is a choice; of contradictions, which a tag finds, the first."""
    pivots: dict[int, int] = {}
    for equation in equations:
        left = equation
        while left > 1 and (pivot := pivots.get(left.bit_length())) is not None:
            left ^= pivot
        if left > 1:
            pivots[left.bit_length()] = left
    solution = 1  # bit 0 stands for the constant
    for index, guess in enumerate(guesses.tolist()):
        pivot = pivots.get(index + 2)
        value = guess if pivot is None else (pivot & solution).bit_count() & 1
        solution |= value << index + 1
    return np.array([solution >> index + 1 & 1 for index in range(len(guesses))], np.uint8)
