"""The rows of disclosed parities: multiplied with the key they are what Alice answers, as it stands on the wire."""

from dataclasses import replace

import numpy as np
import pytest

from qkdlink.common.bits import Bits, unpack
from qkdlink.common.distillation.reconciliation.cascade import Answerer, Corrector, Schedule, schedule
from qkdlink.common.distillation.reconciliation.parity import Questions
from qkdlink.common.distillation.reconciliation.rows import Rows, packed, parity_rows
from qkdlink.common.distillation.reconciliation.schedule import MAX_INDICES, PASSES
from qkdlink.common.wire.parities import encode_parities

SEED = bytes(range(32))


def products(rows: Rows, key: Bits) -> Bits:
    return (np.bitwise_count(rows & packed(key[None] > 0)).sum(axis=1) % 2).astype(np.uint8)


def at_random(drawn: np.random.Generator, plan: Schedule) -> Questions:
    """Ranges of every pass and of the first and last checks, mixed, about any lanes."""
    indices = drawn.permutation(np.repeat([*range(PASSES), PASSES, PASSES + 1, MAX_INDICES - 1], 20))
    ends = drawn.integers(1, plan.words + 1, len(indices))
    masks = drawn.integers(1, 2**plan.lanes, len(indices), np.uint64)
    return Questions(
        indices.astype(np.uint8), drawn.integers(0, ends).astype(np.uint32), ends.astype(np.uint32), masks
    )


def told(key: Bits, plan: Schedule, asked: list[Questions]) -> Bits:
    """What Alice answers, one bit per parity."""
    answerer = Answerer(key, plan, SEED, 10**6)
    return np.concatenate(
        [
            unpack(encode_parities(each, answerer.answer(each), count), count)
            for each in asked
            for count in [each.parities(plan)]
        ]
    )


@pytest.mark.parametrize("length", [1, 63, 4096, 4099])
@pytest.mark.parametrize("lanes", [1, 2, 8, 64])
@pytest.mark.parametrize("frame_words", [7, 100, 2**14])
def test_the_rows_are_those_of_the_parities_that_alice_answers(length: int, lanes: int, frame_words: int):
    drawn = np.random.default_rng([length, lanes, frame_words])
    key = drawn.integers(0, 2, length, np.uint8)
    plan = replace(schedule(length, 0.03), lanes=lanes, frame_words=frame_words)
    asked = [at_random(drawn, plan) for _ in range(3)]
    rows = parity_rows(np.arange(length), plan, SEED, asked)
    np.testing.assert_array_equal(products(rows, key), told(key, plan, asked))
    some = np.flatnonzero(drawn.random(length) < 0.3)  # with the other bits zero, these decide alone
    part = np.where(np.isin(np.arange(length), some), key, 0)
    np.testing.assert_array_equal(
        products(parity_rows(some, plan, SEED, asked), key[some]), products(rows, part)
    )


def test_the_rows_are_those_of_a_whole_reconciliation():
    drawn, length = np.random.default_rng(5), 4096
    key = drawn.integers(0, 2, length, np.uint8)
    plan = schedule(length, 0.03)
    alice = Answerer(key, plan, SEED, 10**6)
    bob = Corrector(key ^ (drawn.random(length) < 0.03).astype(np.uint8), plan, SEED)
    asked: list[Questions] = []
    while (questions := bob.questions()) is not None:
        asked.append(questions)
        bob.receive(alice.answer(questions))
    other = drawn.integers(0, 2, length, np.uint8)
    rows = parity_rows(np.arange(length), plan, SEED, asked)
    assert len(rows) == alice.disclosed_bits
    np.testing.assert_array_equal(products(rows, other), told(other, plan, asked))


def test_columns_are_packed_lowest_first():
    columns = np.arange(70) == np.array([[0], [1], [64]])
    np.testing.assert_array_equal(packed(columns), [[1, 0], [2, 0], [0, 1]])


def test_of_no_questions_there_are_no_rows():
    assert parity_rows(np.arange(65), schedule(65, 0.03), SEED, []).shape == (0, 2)
