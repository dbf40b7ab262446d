"""Parity questions and their answers as attachments.

A question is written as bytes, one after the other:

1 byte    the pass or check
varint    distance of its start from that of the question before (from 0 at first), 2 d, or -2 d - 1 for a d below 0
varint    its length, at least 1
1 byte    the lane (0 to 63) if there is one only, 64 if a mask follows, 65 for all 64 lanes
8 bytes   the mask, lowest byte first, if it follows

A varint has seven bits per byte, the lowest first; the highest bit says that it goes on (LEB128). An answer is one
bit per parity, in the order of the questions and of their lanes, lowest first.
"""

import numpy as np
from numpy.typing import NDArray

from qkdlink.common.bits import check_packed
from qkdlink.common.distillation.reconciliation.parity import Questions, lanes_in
from qkdlink.common.distillation.reconciliation.schedule import PASSES
from qkdlink.common.kernels.compiled import kernel

_SHORTEST, _LONGEST = 4, 1 + 5 + 5 + 1 + 8
_MASK_FOLLOWS, _ALL_LANES = 64, 65
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_NONE, _ONE = np.uint64(0), np.uint64(1)


def encode_questions(questions: Questions) -> bytes:
    """Write questions whose ranges are not empty."""
    out = np.empty(_LONGEST * len(questions), np.uint8)
    used = _write(questions.indices, questions.starts, questions.ends, questions.masks, out)
    return out[:used].tobytes()


def decode_questions(data: bytes) -> Questions:
    """Read questions; ValueError unless `data` is their one encoding."""
    most = len(data) // _SHORTEST
    indices, starts = np.empty(most, np.uint8), np.empty(most, np.uint32)
    ends, masks = np.empty(most, np.uint32), np.empty(most, np.uint64)
    count = _read(np.frombuffer(data, np.uint8), indices, starts, ends, masks)
    if count < 0:
        raise ValueError("the parity questions are malformed or cut short")
    return Questions(indices[:count], starts[:count], ends[:count], masks[:count])


def encode_parities(questions: Questions, answers: NDArray[np.uint64], count: int) -> bytes:
    """Write the `count` parities that answer `questions`, as `Answerer.answer` gives them."""
    return _gather(questions.indices, questions.masks, answers, count).tobytes()


def decode_parities(questions: Questions, data: bytes, count: int) -> NDArray[np.uint64]:
    """Read what `encode_parities` wrote; ValueError unless it is `count` parities.

    `count` must be what the questions ask for.
    """
    check_packed(data, count)
    return _spread(questions.indices, questions.masks, np.frombuffer(data, np.uint8))


@kernel
def _write(
    indices: NDArray[np.uint8],
    starts: NDArray[np.uint32],
    ends: NDArray[np.uint32],
    masks: NDArray[np.uint64],
    out: NDArray[np.uint8],
) -> int:
    used, previous = 0, 0
    for each in range(indices.size):
        start, end, mask = int(np.int64(starts[each])), int(np.int64(ends[each])), masks[each]
        distance = start - previous
        previous = start
        out[used] = indices[each]
        used += 1
        for number in (2 * distance if distance >= 0 else -2 * distance - 1, end - start):
            value = number
            while value >= 128:
                out[used] = (value & 127) | 128
                value >>= 7
                used += 1
            out[used] = value
            used += 1
        if mask == _ALL:
            out[used] = _ALL_LANES
        elif mask & (mask - _ONE):
            out[used] = _MASK_FOLLOWS
            for byte in range(8):
                out[used + 1 + byte] = (mask >> np.uint64(8 * byte)) & np.uint64(255)
            used += 8
        else:
            out[used] = lanes_in(mask - _ONE)
        used += 1
    return used


@kernel
def _read(  # noqa: C901 - one pass over the bytes; a call per number would cost more than the reading
    data: NDArray[np.uint8],
    indices: NDArray[np.uint8],
    starts: NDArray[np.uint32],
    ends: NDArray[np.uint32],
    masks: NDArray[np.uint64],
) -> int:
    used, count, start = 0, 0, 0
    while used < data.size:
        if count == indices.size:
            return -1
        indices[count] = data[used]
        used += 1
        distance, length = 0, 0
        for part in range(2):
            value, shift = 0, 0
            while True:
                if used == data.size or shift == 35:
                    return -1
                byte = int(np.int64(data[used]))
                used += 1
                value |= (byte & 127) << shift
                if byte < 128:
                    break
                shift += 7
            if byte == 0 and shift > 0:  # a longer way to write the same number
                return -1
            if part == 0:
                distance = value >> 1 if value & 1 == 0 else -((value + 1) >> 1)
            else:
                length = value
        start += distance
        if length < 1 or start < 0 or start + length >= 1 << 32 or used == data.size:
            return -1
        lane = int(np.int64(data[used]))
        used += 1
        mask = _ALL
        if lane < _MASK_FOLLOWS:
            mask = _ONE << np.uint64(lane)
        elif lane == _MASK_FOLLOWS:
            if used + 8 > data.size:
                return -1
            mask = _NONE
            for place in range(8):
                mask |= np.uint64(data[used + place]) << np.uint64(8 * place)
            used += 8
            if mask == _ALL or mask & (mask - _ONE) == _NONE:
                return -1
        elif lane != _ALL_LANES:
            return -1
        starts[count], ends[count], masks[count] = start, start + length, mask
        count += 1
    return count


@kernel
def _gather(
    indices: NDArray[np.uint8], masks: NDArray[np.uint64], answers: NDArray[np.uint64], count: int
) -> NDArray[np.uint8]:
    packed = np.zeros((count + 7) // 8, np.uint8)
    used = 0
    for each in range(masks.size):
        lanes = masks[each] if indices[each] < PASSES else _ONE
        answer = answers[each]
        while lanes:
            lowest = lanes & (~lanes + _ONE)
            if answer & lowest:
                packed[used >> 3] |= 128 >> (used & 7)
            used += 1
            lanes ^= lowest
    return packed


@kernel
def _spread(
    indices: NDArray[np.uint8], masks: NDArray[np.uint64], packed: NDArray[np.uint8]
) -> NDArray[np.uint64]:
    answers = np.zeros(masks.size, np.uint64)
    used = 0
    for each in range(masks.size):
        lanes = masks[each] if indices[each] < PASSES else _ONE
        while lanes:
            lowest = lanes & (~lanes + _ONE)
            if packed[used >> 3] & (128 >> (used & 7)):
                answers[each] |= lowest
            used += 1
            lanes ^= lowest
    return answers
