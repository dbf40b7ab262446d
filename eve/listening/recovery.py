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

from common.bits import Bits
from common.distillation.amplification import amplify
from common.distillation.reconciliation.parity import Questions, running_parities
from common.distillation.reconciliation.shuffle import inverse, permutation
from common.distillation.stages import SecretKey, VerifiedKey
from common.distillation.verification import verification_tag
from common.wire.messages import AmplificationSeed, VerificationHash
from eve.listening.blocks import OverheardBlock
from eve.listening.hellos import NotUnderstood
from eve.notebook import Knowledge

MOST_UNKNOWN = 1024

type Places = NDArray[np.int64] | NDArray[np.uint32]
"""Positions in the sifted key, or in one permuted for a pass."""


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
    if not 0 < len(unknown) <= MOST_UNKNOWN:
        return bits
    guesses = bits[unknown].copy()
    bits[unknown] = 0
    bits[unknown] = _solve(_equations(block, bits, unknown), guesses)
    return bits


def _equations(block: OverheardBlock, known: Bits, unknown: Places) -> Iterator[int]:
    """Yield what each parity says of the unknown bits: bit j + 1 for the j-th of them, bit 0 for their sum."""
    passes: dict[int, tuple[Bits, Places]] = {}
    for asked, answers in block.answered:
        if asked.pass_index not in passes:
            order = permutation(block.shuffle_seed, asked.pass_index, len(known))
            passes[asked.pass_index] = running_parities(known[order]), inverse(order)[unknown]
        running, places = passes[asked.pass_index]
        yield from _of_pass(asked, places, answers ^ running[asked.starts] ^ running[asked.ends])


def _of_pass(asked: Questions, places: Places, sums: Bits) -> Iterator[int]:
    """Yield the equations of one list of questions; its ranges ascend, so each bit lies in one of them at most."""
    ranges = np.searchsorted(asked.ends, places, side="right")
    inside = ranges < len(asked)
    inside[inside] = asked.starts[ranges[inside]] <= places[inside]
    rows: dict[int, int] = {}
    for index in np.flatnonzero(inside).tolist():
        row = int(ranges[index])
        rows[row] = rows.get(row, 0) | 1 << index + 1
    for row, unknowns in rows.items():
        yield unknowns | int(sums[row])


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
