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
_ALL: NDArray[np.bool_] = np.empty(0, np.bool_)


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
    marks = _ALL if matched is None else matched
    count = len(bits) if matched is None else int(np.count_nonzero(matched))
    if len(classes) != count:
        raise ValueError(f"{len(classes)} classes cannot be of {count} matched detections")
    key_bits, key_classes, test_bits, test_classes = (np.empty(count, np.uint8) for _ in range(4))
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
    """Write each matched detection where its basis belongs; return how many are of the key. `matched` may be empty.

    Without a branch on the basis, which nobody could foresee: both places are written, and one of them counts.
    """
    key, sifted = 0, 0
    for i in range(len(bits)):
        if len(matched) and not matched[i]:
            continue
        test = sifted - key
        key_bits[key] = test_bits[test] = bits[i]
        key_classes[key] = test_classes[test] = classes[sifted]
        key += int(bases[i] == KEY_BASIS)
        sifted += 1
    return key
