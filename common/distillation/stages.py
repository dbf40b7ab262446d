"""The stages of a key: the type changes its name at each stop, so that no stop can be skipped or repeated.

SiftedKey -> (Estimate) -> ReconciledKey -> VerifiedKey -> SecretKey. Bits are `uint8` arrays of zeros and ones until
the key is secret; a class is the index of an intensity (0 is the strongest), and counts stand in the order of
classes. Nothing is pooled over bases or classes.
"""

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from qkdlink.common.bits import Bits

type Classes = NDArray[np.uint8]
"""The intensity class of each event: `uint8`, 0 for the strongest intensity."""

type Counts = tuple[int, ...]
"""One count per intensity class, strongest first."""


@dataclass(frozen=True, slots=True, eq=False)
class SiftedKey:
    """One party's bits where both bases agreed: the key basis makes the key, the test basis is shown."""

    key_bits: Bits = field(repr=False)
    key_classes: Classes = field(repr=False)
    test_bits: Bits = field(repr=False)
    test_classes: Classes = field(repr=False)
    class_count: int
    emitted: Counts = ()
    """Pulses emitted per class, as Alice has announced them."""
    detected: Counts = ()
    """Gates that clicked per class, over all basis pairs, likewise."""

    @property
    def key_detections(self) -> Counts:
        """Sifted detections in the key basis, per class."""
        return count_classes(self.key_classes, self.class_count)

    @property
    def test_detections(self) -> Counts:
        """Sifted detections in the test basis, per class."""
        return count_classes(self.test_classes, self.class_count)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What both parties know after the test bits were shown: counts per basis and class."""

    key_detections: Counts
    test_detections: Counts
    test_errors: Counts

    @property
    def qber_test(self) -> float | None:
        """Error rate in the test basis over all classes, 0..1; None without a single test bit."""
        total = sum(self.test_detections)
        return sum(self.test_errors) / total if total else None


@dataclass(frozen=True, slots=True, eq=False)
class ReconciledKey:
    """Key-basis bits after error correction, still unverified."""

    bits: Bits = field(repr=False)
    key_errors: Counts
    """Errors corrected in the key basis, per class."""
    leaked_bits: int
    """Every parity disclosed, by whichever side."""


@dataclass(frozen=True, slots=True, eq=False)
class VerifiedKey:
    """Key-basis bits that a universal hash has found equal on both sides."""

    bits: Bits = field(repr=False)
    key_errors: Counts
    leaked_bits: int
    """Disclosed parities plus what the verification tag costs beyond log2(2 / eps_cor)."""
    tag_bits: int = 0
    """Length of that tag."""


@dataclass(frozen=True, slots=True, eq=False)
class SecretKey:
    """The key after privacy amplification; `material` holds `secret_bits` bits, packed, first bit highest."""

    material: bytes = field(repr=False)
    secret_bits: int
    reserve_bits: int = 0
    """How many of them both sides have agreed to put aside for later tags."""


def count_classes(classes: Classes, class_count: int) -> Counts:
    """Count the events of each class: `uint8[n]` of numbers below `class_count` -> `class_count` integers.

    Comparing bytes is cheaper than a counter for each event, even once for every class.
    """
    at_least = [int(np.count_nonzero(classes >= np.uint8(each))) for each in range(1, class_count)]
    return tuple(more - fewer for more, fewer in pairwise((len(classes), *at_least, 0)))
