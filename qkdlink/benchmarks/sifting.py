"""`sift`: from both records to both sifted keys, with everything that is said on the way encoded and decoded."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qkdlink.benchmarks.alternation import Contender, Stage, alternate
from qkdlink.benchmarks.light import SOURCE, Light, shine
from qkdlink.common.bits import Bits, pack, unpack
from qkdlink.common.distillation.sifting import PIECE, Sifter, selected, sift
from qkdlink.common.distillation.stages import Classes, Counts, SiftedKey
from qkdlink.common.wire.attachments import GateReader, decode_classes, encode_classes, encode_gates

_CLASSES = SOURCE.class_count


class Sifted(NamedTuple):
    """Both parties' keys, and their detections per basis and class as each has counted them."""

    alice: SiftedKey
    bob: SiftedKey
    alice_counts: tuple[Counts, Counts]
    bob_counts: tuple[Counts, Counts]


def sift_both(light: Light, pulses: int) -> Sifted:
    """Sift as `qkdlink.alice.steps` and `qkdlink.bob.steps` do, less the tags and the envelopes of the messages."""
    detected = light.detected
    gaps, bases = encode_gates(detected.gates), pack(detected.bases)

    alice, said_matched, said_classes = _sift_prepared(light, gaps, bases, pulses)

    heard_matched = unpack(said_matched, len(detected)).view(np.bool_)
    heard_classes = decode_classes(said_classes, int(np.count_nonzero(heard_matched)), _CLASSES)
    bob = sift(detected.bits, detected.bases, heard_classes, _CLASSES, heard_matched)
    return Sifted(alice, bob, _counts(alice), _counts(bob))


def _sift_prepared(light: Light, gaps: bytes, bases: bytes, pulses: int) -> tuple[SiftedKey, bytes, bytes]:
    """Return Alice's key, and what she says: which detections match, and their classes."""
    count = len(light.detected)
    gates, bob_bases = GateReader(gaps, count, pulses), unpack(bases, count)
    sifter, matched, classes = Sifter(count, _CLASSES), list[bytes](), list[Classes]()
    for begin in range(0, count, PIECE):
        settings = light.prepared.prepared_at(gates.read(PIECE))
        agrees = ((settings >> np.uint8(1)) & np.uint8(1)) == bob_bases[begin : begin + PIECE]
        kept = selected(settings, agrees)
        sifter.add(kept)
        matched.append(pack(agrees))
        classes.append(kept >> np.uint8(2))
    return sifter.key(), b"".join(matched), encode_classes(np.concatenate(classes), _CLASSES)


def sift_naively(light: Light) -> Sifted:
    """Sift in plain numpy: arrays are sent as they are, classes counted one by one."""
    detected = light.detected
    gates = np.frombuffer(detected.gates.tobytes(), np.uint32)
    bases = np.frombuffer(detected.bases.tobytes(), np.uint8)

    bits, alice_bases, classes = light.prepared.at(gates)
    matched = alice_bases == bases
    alice = _part(bits, alice_bases, classes, matched)

    heard_matched = np.frombuffer(matched.tobytes(), np.bool_)
    heard_classes = np.frombuffer(classes.tobytes(), np.uint8)
    bob = _part(detected.bits, detected.bases, heard_classes, heard_matched)
    return Sifted(alice, bob, _slow_counts(alice), _slow_counts(bob))


def measure(pulses: int, pairs: int) -> Stage:
    """Time the sifting of what a block of `pulses` has left in the records."""
    light = shine(pulses)
    clicks = len(light.detected)
    return alternate(
        "sift",
        "click/s",
        Contender("qkdlink.common.distillation", clicks, lambda: sift_both(light, pulses)),
        Contender("numpy, unencoded", clicks, lambda: sift_naively(light)),
        pairs,
    )


def _part(bits: Bits, bases: NDArray[np.uint8], classes: Classes, matched: NDArray[np.bool_]) -> SiftedKey:
    key, test = matched & (bases == 0), matched & (bases == 1)
    return SiftedKey(bits[key], classes[key], bits[test], classes[test], _CLASSES)


def _counts(key: SiftedKey) -> tuple[Counts, Counts]:
    return key.key_detections, key.test_detections


def _slow_counts(key: SiftedKey) -> tuple[Counts, Counts]:
    return (
        tuple(int(np.sum(key.key_classes == each)) for each in range(_CLASSES)),
        tuple(int(np.sum(key.test_classes == each)) for each in range(_CLASSES)),
    )
