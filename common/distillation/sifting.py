"""Sifting: keep the detections for which both parties had the same basis, and part them by basis.

Bennett and Brassard 1984; with biased bases Lo, Chau and Ardehali, J. Cryptology 18, 133 (2005): the frequent basis
makes the key, the rare one tests the channel, and the two are never pooled.
"""

import numpy as np
from numpy.typing import NDArray

from common.bits import Bits
from common.distillation.stages import Classes, SiftedKey

KEY_BASIS = 0
"""Number of the basis whose bits become key; the other one, 1, is shown."""


def sift(bits: Bits, bases: NDArray[np.uint8], classes: Classes, class_count: int) -> SiftedKey:
    """Part one party's matched detections by basis.

    `bits`, `bases` (0 key, 1 test) and `classes` are `uint8[n]`, one entry per detection for which the bases agreed,
    in the order of the gates.
    """
    key = bases == KEY_BASIS
    test = ~key
    return SiftedKey(bits[key], classes[key], bits[test], classes[test], class_count)
