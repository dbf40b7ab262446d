"""Sifting: keep the detections for which both parties had the same basis, and part them by basis.

Bennett and Brassard 1984; with biased bases Lo, Chau and Ardehali, J. Cryptology 18, 133 (2005): the frequent basis
makes the key, the rare one tests the channel, and the two are never pooled.
"""

import numpy as np
from numpy.typing import NDArray

from common.bits import Bits
from common.distillation.stages import Classes, SiftedKey
from common.kernels import kernel

KEY_BASIS = 0
"""Number of the basis whose bits become key; the other one, 1, is shown."""


def sift(
    bits: Bits,
    bases: NDArray[np.uint8],
    classes: Classes,
    class_count: int,
    matched: NDArray[np.bool_] | None = None,
) -> SiftedKey:
    """Part one party's matched detections by basis.

    `bits` and `bases` (0 key, 1 test) are `uint8[n]`, one entry per detection in the order of the gates. `matched`,
    `bool[n]`, says for which of them the bases agreed; left out, all did. `classes` has one entry per detection that
    is matched. Raises ValueError where it has another number.
    """
    marks = np.ones(len(bits), np.bool_) if matched is None else matched
    count = int(np.count_nonzero(marks))
    if len(classes) != count:
        raise ValueError(f"{len(classes)} classes cannot be of {count} matched detections")
    key_bits, key_classes, test_bits, test_classes = (np.empty(count + 1, np.uint8) for _ in range(4))
    if not count:
        return SiftedKey(key_bits[:0], key_classes[:0], test_bits[:0], test_classes[:0], class_count)
    kept = _part(bits, bases, classes, marks, key_bits, key_classes, test_bits, test_classes)
    shown = count - kept
    return SiftedKey(
        key_bits[:kept], key_classes[:kept], test_bits[:shown], test_classes[:shown], class_count
    )


@kernel
def _part(
    bits: NDArray[np.uint8],
    bases: NDArray[np.uint8],
    classes: NDArray[np.uint8],
    matched: NDArray[np.bool_],
    key_bits: NDArray[np.uint8],
    key_classes: NDArray[np.uint8],
    test_bits: NDArray[np.uint8],
    test_classes: NDArray[np.uint8],
) -> int:
    """Write each matched detection where its basis belongs; return how many are of the key.

    Without a branch on match or basis, which nobody could foresee: both places are written, one of them counts or none,
    and what does not count is overwritten (the places have room for one more).
    """
    key, sifted, last = 0, 0, len(classes) - 1
    for i in range(len(bits)):
        test = sifted - key
        intensity_class = classes[min(sifted, last)]
        key_bits[key] = test_bits[test] = bits[i]
        key_classes[key] = test_classes[test] = intensity_class
        key += int(matched[i]) & int(bases[i] == KEY_BASIS)
        sifted += int(matched[i])
    return key


def select(values: NDArray[np.uint8], matched: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return `values[matched]`, several times as fast where nobody could foresee what is matched."""
    room = np.empty(len(values) + 1, np.uint8)
    return room[: _select(values, matched, room)]


@kernel
def _select(values: NDArray[np.uint8], matched: NDArray[np.bool_], room: NDArray[np.uint8]) -> int:
    found = 0
    for i in range(len(values)):
        room[found] = values[i]
        found += int(matched[i])
    return found
