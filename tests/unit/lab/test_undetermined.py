"""The rank check: it agrees with slow algebra, and it fails when amplification removes too little."""

from dataclasses import replace

import numpy as np
import pytest

from qkdlink.common.bits import Bits
from qkdlink.common.distillation.amplification import amplify
from qkdlink.common.distillation.reconciliation.cascade import Answerer, Corrector, schedule
from qkdlink.common.distillation.reconciliation.parity import Questions
from qkdlink.common.distillation.reconciliation.rows import Rows, packed, parity_rows
from qkdlink.common.distillation.stages import VerifiedKey
from qkdlink.lab.light.undetermined import TAG_MARGIN_BITS, Disclosed, amplification_rows, rank, undetermined

SEED = bytes(range(32))
LENGTH = 4096
TAG_BITS = 50


@pytest.fixture(scope="module")
def disclosed() -> Disclosed:
    """A block that Cascade has corrected at 3 %, and all that it disclosed."""
    drawn = np.random.default_rng(1)
    alice = drawn.integers(0, 2, LENGTH, np.uint8)
    bob = alice ^ (drawn.random(LENGTH) < 0.03).astype(np.uint8)
    plan = schedule(LENGTH, 0.03)
    answerer, corrector = Answerer(alice, plan, SEED, 10**6), Corrector(bob, plan, SEED)
    asked: list[Questions] = []
    while (questions := corrector.questions()) is not None:
        asked.append(questions)
        corrector.receive(answerer.answer(questions))
    assert (corrector.bits == alice).all()
    return Disclosed(plan, SEED, tuple(asked), TAG_BITS)


def unknown(share: float) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.random.default_rng(2).random(LENGTH) < share


def seed_bits(secret_bits: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.random.default_rng(3).integers(0, 2, LENGTH + secret_bits - 1, np.uint8)


def slow_rank(rows: np.ndarray[tuple[int, int], np.dtype[np.int64]]) -> int:
    left, found = [int("".join(map(str, row)), 2) for row in rows.tolist()], 0
    while left:
        pivot = left.pop()
        if pivot:
            found += 1
            left = [row ^ pivot if row & pivot & -pivot else row for row in left]
    return found


def products(rows: Rows, key: Bits) -> Bits:
    return (np.bitwise_count(rows & packed(key[None] > 0)).sum(axis=1) % 2).astype(np.uint8)


def test_the_rank_is_that_of_slow_elimination():
    drawn = np.random.default_rng(4)
    for _ in range(150):
        height, width = drawn.integers(1, 200, 2).tolist()
        inner = int(drawn.integers(0, min(height, width) + 1))
        rows = drawn.integers(0, 2, (height, inner)) @ drawn.integers(0, 2, (inner, width)) % 2
        assert rank(packed(rows > 0)) == slow_rank(rows)


def test_the_rows_are_those_of_the_amplification():
    key = np.random.default_rng(5).integers(0, 2, LENGTH, np.uint8)
    rows = amplification_rows(np.arange(LENGTH), LENGTH, seed_bits(300), 300)
    secret = amplify(VerifiedKey(key, (0,), 0), np.packbits(seed_bits(300)).tobytes(), 300)
    assert np.packbits(products(rows, key)).tobytes() == secret.material


def test_a_key_short_enough_is_undetermined(disclosed: Disclosed):
    found = undetermined(unknown(0.6), seed_bits(800), 800, disclosed)
    assert found.holds
    assert found.undetermined_bits == 800
    assert found.spare_bits > 256


def test_with_amplification_that_removes_too_little_the_check_fails(disclosed: Disclosed):
    mask = unknown(0.6)
    free = int(mask.sum()) - rank(
        parity_rows(np.flatnonzero(mask), disclosed.plan, SEED, disclosed.questions)
    )
    most = free - TAG_BITS - TAG_MARGIN_BITS
    longest = undetermined(mask, seed_bits(most), most, disclosed)
    assert longest.holds
    for beyond_the_margin in (most + 1, free - TAG_BITS, free - 20):
        found = undetermined(mask, seed_bits(beyond_the_margin), beyond_the_margin, disclosed)
        assert found.undetermined_bits == beyond_the_margin
        assert not found.holds
    too_long = undetermined(mask, seed_bits(free + 40), free + 40, disclosed)
    assert not too_long.holds
    assert too_long.undetermined_bits < free + 40
    assert not undetermined(unknown(0.0), seed_bits(1), 1, disclosed).holds


def test_a_key_that_counting_finds_too_long_is_too_long_by_elimination(disclosed: Disclosed):
    columns = np.flatnonzero(unknown(0.3))
    told = parity_rows(columns, disclosed.plan, SEED, disclosed.questions)
    left = len(columns) - rank(told)
    for secret_bits in (left - TAG_BITS + 1, left, left + 1):
        found = undetermined(unknown(0.3), seed_bits(secret_bits), secret_bits, disclosed)
        rows = amplification_rows(columns, LENGTH, seed_bits(secret_bits), secret_bits)
        independent = rank(np.concatenate([told, rows])) - rank(told)
        assert not found.holds
        assert independent <= found.undetermined_bits <= secret_bits
        assert independent < secret_bits or left - independent < TAG_BITS


def test_without_amplification_a_known_bit_is_found(disclosed: Disclosed):
    # the identity: every secret bit is a bit of the reconciled key, and Eve knows one of them
    nothing = replace(disclosed, questions=(), tag_bits=0)
    identity = np.zeros(2 * LENGTH - 1, np.uint8)
    identity[LENGTH - 1] = 1
    mask = np.ones(LENGTH, np.bool_)
    assert undetermined(mask, identity, LENGTH, nothing).holds
    mask[1234] = False
    found = undetermined(mask, identity, LENGTH, nothing)
    assert not found.holds
    assert found.undetermined_bits == LENGTH - 1


def test_a_parity_that_was_disclosed_is_found_in_the_key(disclosed: Disclosed):
    # one secret bit, the sum of all bits, and Cascade's first blocks together disclose just that
    sum_of_all = np.ones(LENGTH, np.uint8)
    found = undetermined(np.ones(LENGTH, np.bool_), sum_of_all, 1, disclosed)
    assert not found.holds
    assert found.undetermined_bits == 0
    assert undetermined(np.ones(LENGTH, np.bool_), sum_of_all, 1, replace(disclosed, questions=())).holds
