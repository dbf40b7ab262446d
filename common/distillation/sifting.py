"""Sifting: keep the detections for which both parties had the same basis, and part them by basis.

Bennett and Brassard 1984; with biased bases Lo, Chau and Ardehali, J. Cryptology 18, 133 (2005): the frequent basis
makes the key, the rare one tests the channel, and the two are never pooled.
"""

import numpy as np
from numpy.typing import NDArray

from qkdlink.common.bits import Bits
from qkdlink.common.distillation.stages import Classes, SiftedKey
from qkdlink.common.kernels.compaction import SPARE_BYTES, select
from qkdlink.common.kernels.compiled import kernel

KEY_BASIS = 0
"""Number of the basis whose bits become key; the other one, 1, is shown."""


type Settings = NDArray[np.uint8]
"""One byte per detection: bit 0 is the key bit, bit 1 the basis (0 key, 1 test), the bits above it the class."""

PIECE = 2**16
"""Detections that pass all steps before the next: what one step leaves, the other finds in the second cache."""


class Sifter:
    """Parts one party's matched detections by basis, piece by piece, in the order of the gates."""

    def __init__(self, most: int, class_count: int) -> None:
        """Make room for `most` detections."""
        self._class_count = class_count
        self._most = most
        self._key, self._test, self._key_classes, self._test_classes = (
            np.empty(most + SPARE_BYTES, np.uint8) for _ in range(4)
        )
        self._kept = self._shown = 0

    def __repr__(self) -> str:
        return f"Sifter({self._kept} of the key, {self._shown} of the test, redacted)"

    def add(self, settings: Settings) -> None:
        """Part some more matched detections; ValueError if they are more than there is room for."""
        if self._kept + self._shown + len(settings) > self._most:
            raise ValueError(f"there are more matched detections than {self._most}")
        count = _part(
            settings,
            self._key[self._kept :],
            self._key_classes[self._kept :],
            self._test[self._shown :],
            self._test_classes[self._shown :],
        )
        self._kept += count
        self._shown += len(settings) - count

    def key(self) -> SiftedKey:
        """Return what was parted so far."""
        return SiftedKey(
            self._key[: self._kept],
            self._key_classes[: self._kept],
            self._test[: self._shown],
            self._test_classes[: self._shown],
            self._class_count,
        )


@kernel
def _part(
    settings: NDArray[np.uint8],
    key_bits: NDArray[np.uint8],
    key_classes: NDArray[np.uint8],
    test_bits: NDArray[np.uint8],
    test_classes: NDArray[np.uint8],
) -> int:
    """Write the detections of each basis to their place, bit and class apart; return how many are of the key."""
    of_test = (settings >> np.uint8(1)) & np.uint8(1)
    key = select(settings, of_test ^ np.uint8(1), key_bits)
    test = select(settings, of_test, test_bits)
    for bits, classes, count in ((key_bits, key_classes, key), (test_bits, test_classes, test)):
        for i in range(count):
            classes[i] = bits[i] >> 2
            bits[i] &= 1
    return key


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
    count = len(bits) if matched is None else int(np.count_nonzero(matched))
    if len(classes) != count:
        raise ValueError(f"{len(classes)} classes cannot be of {count} matched detections")
    sifter, sifted = Sifter(count, class_count), 0
    for begin in range(0, len(bits), PIECE):
        piece = slice(begin, begin + PIECE)
        settings = bits[piece] | bases[piece] << np.uint8(1)
        if matched is not None:
            settings = selected(settings, matched[piece])
        settings |= classes[sifted : sifted + len(settings)] << np.uint8(2)
        sifter.add(settings)
        sifted += len(settings)
    return sifter.key()


def selected(values: NDArray[np.uint8], matched: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return `values[matched]`, many times as fast where nobody could foresee what is matched."""
    room = np.empty(len(values) + SPARE_BYTES, np.uint8)
    return room[: select(values, matched.view(np.uint8), room)]
