import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkdlink.common.distillation.reconciliation.parity import Questions
from qkdlink.common.distillation.reconciliation.schedule import PASSES
from qkdlink.common.wire.parities import decode_parities, decode_questions, encode_parities, encode_questions

ALL = 2**64 - 1
type Asked = tuple[int, int, int, int]
"""Index, start, length and mask."""

_masks = st.integers(0, 63).map(lambda lane: 1 << lane) | st.integers(1, ALL) | st.just(ALL)
asked_questions = st.lists(
    st.tuples(
        st.integers(0, 255),
        st.integers(0, 2**32 - 2) | st.integers(0, 300),
        st.integers(1, 2**32) | st.integers(1, 300),
        _masks,
    ).map(lambda asked: (asked[0], asked[1], min(asked[2], 2**32 - 1 - asked[1]), asked[3])),
    max_size=20,
)


def written(asked: list[Asked]) -> Questions:
    starts = np.array([start for _, start, _, _ in asked], np.uint32)
    return Questions(
        np.array([index for index, _, _, _ in asked], np.uint8),
        starts,
        np.array([start + length for _, start, length, _ in asked], np.uint32),
        np.array([mask for _, _, _, mask in asked], np.uint64),
    )


@given(asked=asked_questions)
def test_questions_read_back_as_they_were_written(asked: list[Asked]):
    questions = decode_questions(encode_questions(written(asked)))
    columns = (questions.indices, questions.starts, questions.ends, questions.masks)
    read = list(zip(*(column.tolist() for column in columns), strict=True))
    assert read == [(index, start, start + length, mask) for index, start, length, mask in asked]


def test_questions_are_written_as_specified():
    data = encode_questions(written([(1, 64, 2, 1 << 5), (2, 0, 128, ALL), (77, 1, 1, 0b11)]))
    assert data == bytes(
        [1, 0x80, 1, 2, 5, 2, 127, 0x80, 1, 65, 77, 2, 1, 64, 3, 0, 0, 0, 0, 0, 0, 0],
    )


@given(data=st.binary(max_size=40))
def test_whatever_is_read_has_that_one_encoding(data: bytes):
    try:
        questions = decode_questions(data)
    except ValueError:
        return
    assert encode_questions(questions) == data


@pytest.mark.parametrize(
    "data",
    {
        "cut in a start": b"\0\x80",
        "cut before the lanes": b"\0\0\1",
        "cut in a mask": b"\0\0\1\x40\3\0\0\0",
        "an empty range": b"\0\0\0\0",
        "a start before the first word": b"\0\1\1\0",
        "a varint longer than it needs to be": b"\0\x80\0\1\0",
        "a varint of six bytes": b"\0\x80\x80\x80\x80\x80\1\1\0",
        "an end beyond 32 bits": b"\0\0\xff\xff\xff\xff\x7f\0",
        "a lane beyond the last": b"\0\0\1\x42",
        "a mask of one lane": b"\0\0\1\x40\1\0\0\0\0\0\0\0",
        "a mask of no lane": b"\0\0\1\x40\0\0\0\0\0\0\0\0",
        "a mask of all lanes": b"\0\0\1\x40" + b"\xff" * 8,
    }.values(),
)
def test_malformed_questions_are_refused(data: bytes):
    good = encode_questions(written([(0, 0, 1, 1)]))
    with pytest.raises(ValueError, match="malformed or cut short"):
        decode_questions(data)
    if data[1] != 1:  # after a question at 0 as at first
        with pytest.raises(ValueError, match="malformed or cut short"):
            decode_questions(good + data)


@given(asked=asked_questions, seed=st.integers(0, 2**32 - 1))
def test_parities_read_back_as_they_were_written_one_bit_each(asked: list[Asked], seed: int):
    questions = written(asked)
    lanes = np.where(questions.indices < PASSES, questions.masks, np.uint64(1))
    answers = np.random.default_rng(seed).integers(0, 2**64, len(asked), np.uint64) & lanes
    count = int(np.bitwise_count(lanes).sum())
    data = encode_parities(questions, answers, count)
    assert len(data) == (count + 7) // 8
    assert np.array_equal(decode_parities(questions, data, count), answers)
    for wrong in (data + b"\0", data[:-1]) if data else (b"\0",):
        with pytest.raises(ValueError, match="need"):
            decode_parities(questions, wrong, count)


def test_parities_stand_in_the_order_of_the_questions_and_of_their_lanes():
    questions = written([(0, 0, 1, 0b10110), (PASSES, 0, 1, ALL), (1, 0, 1, 1 << 63)])
    answers = np.array([0b10100, 1, 0], np.uint64)
    assert encode_parities(questions, answers, 5) == bytes([0b01110000])
