"""What detectors that remember tell Eve: clicks that follow each other, and the errors among them.

An afterpulse repeats the click before it: the same detector clicks in the first live gate after it, whatever light
comes. Which gates clicked, Bob's bases, the test bits and the intensities are announced. Where the errors are follows
from Bob's questions (`qkdlink.eve.listening.errors`). An error right after a click is mostly an afterpulse, so Bob's
bit is that of the click before; without an error it is that more often than not. So neighbouring bits of the key depend
on each other for her.

Clicks that can have been caused by the one before form a run. Along a run the detectors are a hidden Markov chain:
which of them clicked (one, the other, both) is the state, Bob's bit its output. Alice's bit is Bob's where the key is
right. Backward messages make every step conditional on all that is announced later. Two totals follow, each in Eve's
favour:

- the Shannon entropy of each bit, given the hidden state before it, which is more than she knows;
- the min-entropy of each run: the probability of the best string of its bits, where strings that end alike are
  bounded, state by state, by the best of them.

Sources: Rabiner, Proc. IEEE 77, 257 (1989) (hidden Markov models); Tupkary, Luetkenhaus, arXiv:2307.00576 (the error
pattern is public).
"""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from qkdlink.common.bits import Bits
from qkdlink.common.kernels.compiled import kernel
from qkdlink.common.optics.adversary import Mask
from qkdlink.common.optics.records import Gates
from qkdlink.common.optics.states import Basis

type Outcomes = NDArray[np.float64]
"""`float64[d, 2, 4]`: if Alice's bit is 0 or 1, probability that light and dark counts make no detector click, only
detector 0, only detector 1, both."""

_KEY, _TEST, _UNMATCHED = 0, 1, 2


@dataclass(frozen=True, slots=True, eq=False)
class Published:
    """What is said in public about the gates of a block that clicked."""

    gates: Gates = field(repr=False)
    """`uint32[d]`, ascending."""
    bases: NDArray[np.uint8] = field(repr=False)
    """Bob's basis in each, `uint8[d]`."""
    matched: Mask = field(repr=False)
    """Where Alice's basis was the same, `bool[d]`."""
    classes: NDArray[np.uint8] = field(repr=False)
    """Intensity class of each matched gate, `uint8[m]`."""
    test_bits: tuple[Bits, Bits] = field(repr=False)
    """Bob's and Alice's bits of the test basis."""
    wrong: Mask = field(repr=False)
    """Where the sifted key is known to be wrong, `bool[n]`."""
    pairs: NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 2), np.int64), repr=False)
    """Places in the sifted key, `int64[k, 2]`: just one bit of each pair is wrong."""

    @property
    def in_key(self) -> Mask:
        """Which of the gates are in the sifted key, `bool[d]`."""
        return np.asarray(self.matched & (self.bases == Basis.KEY))

    @property
    def all_classes(self) -> NDArray[np.int64]:
        """Intensity class of each gate, -1 where it was not announced: `int64[d]`."""
        classes = np.full(len(self.gates), -1, np.int64)
        classes[self.matched] = self.classes
        return classes


@dataclass(frozen=True, slots=True)
class Joint:
    """What Eve lacks of the bits of a key together, in bits."""

    entropy_bits: float
    """Shannon entropy, at least."""
    min_entropy_bits: float
    """Min-entropy, at least."""


def joint(
    published: Published,
    light: Outcomes,
    weights: NDArray[np.float64],
    afterpulse_probability: float,
    dead_gates: int,
) -> tuple[NDArray[np.float64], Joint]:
    """Return the probability, 0..1, that each key bit of Alice's is 1 (`float64[n]`), and what Eve lacks of all.

    `weights` are what her notes tell of the key bits, `float64[2, n]`: the probability of what she saw if the bit is 0,
    and if it is 1, up to a factor.
    """
    in_key = published.in_key
    linked = np.zeros(len(published.gates), np.bool_)
    linked[1:] = np.diff(published.gates.astype(np.int64)) == 1 + dead_gates
    transitions = _transitions(afterpulse_probability)
    kinds = np.where(in_key, _KEY, np.where(published.matched, _TEST, _UNMATCHED)).astype(np.uint8)
    bobs, alices = np.zeros((2, len(kinds)), np.uint8)
    bobs[kinds == _TEST], alices[kinds == _TEST] = published.test_bits
    errors = np.zeros(len(kinds), np.uint8)
    errors[in_key] = _located(published, light[in_key, 0], linked[in_key], transitions)
    told = np.ones((len(kinds), 2))
    told[in_key] = weights.T
    ones, entropy, min_entropy = _account(kinds, errors, bobs, alices, light, told, linked, transitions)
    return np.where(errors, 1 - ones, ones)[in_key], Joint(entropy, min_entropy)


def _transitions(afterpulse_probability: float) -> NDArray[np.float64]:
    """Probability that detectors S click if light fires L and those in A may afterpulse, masks: `float64[4, 4, 4]`."""
    p, table = afterpulse_probability, np.zeros((4, 4, 4))
    for armed in range(4):
        for light in range(4):
            for fired in range(4):
                if fired & ~armed:
                    continue
                chances = [p if fired >> each & 1 else 1 - p for each in range(2) if armed >> each & 1]
                table[armed, light, light | fired] += np.prod(chances)
    return table


def _located(
    published: Published, if_zero: NDArray[np.float64], linked: Mask, transitions: NDArray[np.float64]
) -> Mask:
    """Take of each pair the bit that is more likely to be wrong: to take it for certain is on Eve's side."""
    wrong = published.wrong.copy()
    if len(published.pairs):
        clicked = np.einsum("nl,als->nas", if_zero, transitions)  # detector 1 is the wrong one for a 0
        odds = (clicked[:, :, 2] + clicked[:, :, 3] / 2) / (clicked[:, :, 1] + clicked[:, :, 3] / 2)
        odd = np.where(linked, (odds[:, 1] + odds[:, 2]) / 2, odds[:, 0])
        left, right = published.pairs.T
        wrong[np.where(odd[left] >= odd[right], left, right)] = True
    return wrong


@kernel
def _steps(
    kind: int,
    error: int,
    bob: int,
    alice: int,
    light: NDArray[np.float64],
    told: NDArray[np.float64],
    transitions: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Fill `out[A, S, b]`: probability of detectors S and Bob's bit b, and of what is known, after detectors A."""
    for armed in range(4):
        for fired in range(4):
            for bit in range(2):
                out[armed, fired, bit] = 0.0
                if fired == 0:
                    continue
                if (fired == 1 and bit == 1) or (fired == 2 and bit == 0) or (kind == _TEST and bit != bob):
                    continue
                sent = alice if kind == _TEST else bit ^ error if kind == _KEY else 0
                total = 0.0
                for lit in range(4):
                    total += light[sent, lit] * transitions[armed, lit, fired]
                out[armed, fired, bit] = total * told[sent] * (0.5 if fired == 3 else 1.0)


@kernel
def _backward(
    kinds: NDArray[np.uint8],
    errors: NDArray[np.uint8],
    bobs: NDArray[np.uint8],
    alices: NDArray[np.uint8],
    light: NDArray[np.float64],
    told: NDArray[np.float64],
    linked: NDArray[np.bool_],
    transitions: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Probability, up to a factor, of all that follows in the run, for the detectors that clicked: `float64[d, 4]`."""
    count = kinds.size
    later = np.ones((count, 4))
    step = np.empty((4, 4, 2))
    for k in range(count - 1, -1, -1):
        if k + 1 == count or not linked[k + 1]:
            for fired in range(4):
                later[k, fired] = transitions[fired, 0, 0]  # the next live gate stayed quiet
            continue
        _steps(
            kinds[k + 1],
            errors[k + 1],
            bobs[k + 1],
            alices[k + 1],
            light[k + 1],
            told[k + 1],
            transitions,
            step,
        )
        total = 0.0
        for armed in range(4):
            value = 0.0
            for fired in range(1, 4):
                value += (step[armed, fired, 0] + step[armed, fired, 1]) * later[k + 1, fired]
            later[k, armed] = value
            total += value
        for armed in range(4):
            later[k, armed] = later[k, armed] / total if total > 0 else 1.0
    return later


@kernel
def _condition(step: NDArray[np.float64], later: NDArray[np.float64]) -> None:
    """Turn a step into the probability of detectors and bit after each `A`, given all that follows in the run."""
    for armed in range(4):
        total = 0.0
        for fired in range(1, 4):
            total += (step[armed, fired, 0] + step[armed, fired, 1]) * later[fired]
        for fired in range(1, 4):
            for bit in range(2):
                if total > 0:
                    step[armed, fired, bit] *= later[fired] / total
                else:  # nature contradicted what is known: then nothing is
                    step[armed, fired, bit] = 0.5 if fired == 1 + bit else 0.0


@kernel
def _extend(
    step: NDArray[np.float64],
    splits: bool,  # noqa: FBT001 - a kernel takes no keywords
    best: NDArray[np.float64],
    longer: NDArray[np.float64],
) -> None:
    """Bound the strings that are one click longer; they split by its bit where that is a bit of the key."""
    for last in range(2):
        for fired in range(4):
            longer[last, fired] = 0.0
    for last in range(2):
        for fired in range(1, 4):
            zero, one = 0.0, 0.0
            for armed in range(4):
                zero += best[last, armed] * step[armed, fired, 0]
                one += best[last, armed] * step[armed, fired, 1]
            if splits:
                longer[0, fired] = max(longer[0, fired], zero)
                longer[1, fired] = max(longer[1, fired], one)
            else:
                longer[last, fired] = zero + one


@kernel
def _entropy_bits(of_one: float) -> float:
    if of_one <= 0.0 or of_one >= 1.0:
        return 0.0
    return -(of_one * math.log2(of_one) + (1 - of_one) * math.log2(1 - of_one))


@kernel
def _lacking(best: NDArray[np.float64]) -> float:
    """Min-entropy of a run, in bits: of the best string, however it ends."""
    zero, one = 0.0, 0.0
    for fired in range(4):
        zero += best[0, fired]
        one += best[1, fired]
    return -math.log2(max(zero, one))


@kernel
def _begin(state: NDArray[np.float64], best: NDArray[np.float64]) -> None:
    """Begin a run: no detector is armed, and the string of its bits is empty."""
    for fired in range(4):
        state[fired] = best[0, fired] = 1.0 if fired == 0 else 0.0
        best[1, fired] = 0.0


@kernel
def _account(
    kinds: NDArray[np.uint8],
    errors: NDArray[np.uint8],
    bobs: NDArray[np.uint8],
    alices: NDArray[np.uint8],
    light: NDArray[np.float64],
    told: NDArray[np.float64],
    linked: NDArray[np.bool_],
    transitions: NDArray[np.float64],
) -> tuple[NDArray[np.float64], float, float]:
    """Return the probability that each of Bob's bits is 1, their entropy, and the min-entropies of all runs in sum."""
    later = _backward(kinds, errors, bobs, alices, light, told, linked, transitions)
    count = kinds.size
    ones, step = np.empty(count), np.empty((4, 4, 2))
    states, bests = (
        np.zeros((2, 4)),
        np.zeros((2, 2, 4)),
    )  # before and after a click; best by the string's last bit
    entropy, min_entropy = 0.0, 0.0
    for k in range(count):
        before, after = k & 1, 1 - (k & 1)
        if not linked[k]:
            min_entropy += _lacking(bests[before]) if k else 0.0
            _begin(states[before], bests[before])
        _steps(kinds[k], errors[k], bobs[k], alices[k], light[k], told[k], transitions, step)
        _condition(step, later[k])
        ones[k] = 0.0
        for fired in range(4):
            states[after, fired] = 0.0
        for armed in range(4):
            of_one = 0.0
            for fired in range(1, 4):
                of_one += step[armed, fired, 1]
                states[after, fired] += states[before, armed] * (
                    step[armed, fired, 0] + step[armed, fired, 1]
                )
            ones[k] += states[before, armed] * of_one
            if kinds[k] == _KEY:
                entropy += states[before, armed] * _entropy_bits(of_one)
        _extend(step, kinds[k] == _KEY, bests[before], bests[after])
    if count:
        min_entropy += _lacking(bests[count & 1])
    return ones, entropy, max(0.0, min_entropy)
