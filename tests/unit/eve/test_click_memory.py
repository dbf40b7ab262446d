"""What afterpulses and the error pattern tell of the key: against enumeration, and against what really happened."""

from itertools import product
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from qkdlink.common.bits import Bits
from qkdlink.common.distillation.reconciliation.cascade import Answerer, Corrector, schedule
from qkdlink.common.optics.detector import DetectorSettings, Receiver
from qkdlink.common.optics.fibre import Fibre
from qkdlink.common.optics.records import PreparationRecord
from qkdlink.common.optics.source import PulseSource, Source
from qkdlink.common.optics.states import Basis
from qkdlink.common.randomness import Choice, Nature, Randomness
from qkdlink.eve.click_memory import Joint, Published, joint
from qkdlink.eve.flight import Flight, GateModel
from qkdlink.eve.listening.errors import located_pairs
from qkdlink.eve.notebook import BlockNotes

SOURCE = Source((0.5, 0.125), (0.75, 0.25), 0.75)
FIBRE = Fibre(10.0, 0.2, 0.005)
PULSES = 2_000_000


class Block(NamedTuple):
    published: Published
    key: Bits
    """Alice's."""
    gate: GateModel


def simulated(afterpulse_probability: float, dead_time_ns: float = 0.0) -> Block:
    """Let light cross the fibre, and return what is said about it."""
    detector = DetectorSettings(0.25, 1e-6, dead_time_ns, afterpulse_probability, 1e9)
    alice, bob = Randomness("alice", 5), Randomness("bob", 5)
    source = PulseSource(SOURCE, alice.choices(Choice.PULSES, 1), alice.nature(Nature.SOURCE, 1))
    receiver = Receiver(detector, 0.75, bob.choices(Choice.MEASUREMENTS, 1), bob.nature(Nature.DETECTORS, 1))
    prepared = PreparationRecord(PULSES, 2)
    of_frame, train = source.emit(0, PULSES, FIBRE)
    prepared.append(of_frame)
    record = receiver.detect(train)
    bits, bases, classes = prepared.at(record.gates)
    matched = bases == record.bases
    in_key, in_test = (matched & (bases == basis) for basis in (Basis.KEY, Basis.TEST))
    published = Published(
        record.gates,
        record.bases,
        matched,
        classes[matched],
        (record.bits[in_test], bits[in_test]),
        bits[in_key] != record.bits[in_key],
    )
    return Block(published, bits[in_key], GateModel(SOURCE, FIBRE, detector, 1.0, 0.75))


def told(block: Block, weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], Joint]:
    published, gate = block.published, block.gate
    classes = published.all_classes
    light = gate.outcomes(Flight.begun(len(classes)), classes, published.matched)
    detector = gate.detector
    return joint(published, light, weights, detector.afterpulse_probability, detector.dead_gates)


@pytest.mark.parametrize(("afterpulse_probability", "dead_time_ns"), [(0.04, 0.0), (0.3, 0.0), (0.3, 5.0)])
def test_neighbours_are_predicted_as_often_as_she_says(
    afterpulse_probability: float, dead_time_ns: float
) -> None:
    """Within six standard deviations, a false alarm of 2e-9: Eve is given every second bit, and guesses the others."""
    block = simulated(afterpulse_probability, dead_time_ns)
    given = np.arange(len(block.key)) % 2 == 0
    weights = np.ones((2, len(block.key)))
    weights[1 - block.key[given], np.flatnonzero(given)] = 0.0
    ones, _ = told(block, weights)
    assert np.array_equal(ones[given] > 0.5, block.key[given])
    assert np.all(np.abs(ones[given] - block.key[given]) < 1e-9)
    sure = np.maximum(ones, 1 - ones)[~given]
    right = ((ones > 0.5) == block.key)[~given]
    told_of = np.abs(sure - 0.5) > 1e-6
    assert np.count_nonzero(told_of) > 500
    for low, high in ((0.5, 0.75), (0.75, 0.9), (0.9, 1.0)):
        some = told_of & (sure >= low) & (sure <= high)
        spread = np.sqrt((sure[some] * (1 - sure[some])).sum())
        assert abs(right[some].sum() - sure[some].sum()) <= 6 * spread + 1e-6


def test_detectors_without_memory_tell_nothing_of_an_honest_key() -> None:
    block = simulated(0.0)
    known = BlockNotes().known_of_key(block.published, block.gate)
    assert known.min_entropy_bits == len(block.key)
    assert known.information == 0
    assert np.all(known.unknown)


def test_her_notes_account_for_afterpulses_and_the_account_grows_with_them() -> None:
    told_bits = []
    for afterpulse_probability in (0.04, 0.3):
        block = simulated(afterpulse_probability)
        known = BlockNotes().known_of_key(block.published, block.gate)
        assert known.min_entropy_bits < len(known)
        told_bits.append(known.information * len(known))
        assert not known.certain.any()
    assert told_bits[1] > 3 * told_bits[0] > 1000


def run(seed: int, length: int) -> tuple[Published, NDArray[np.float64], NDArray[np.float64]]:
    """A few clicks that follow each other, of random kinds, with light and notes drawn at random."""
    rng = np.random.default_rng(seed)
    bases, matched = rng.integers(0, 2, length, np.uint8), rng.random(length) < 0.8
    in_key, in_test = matched & (bases == 0), matched & (bases == 1)
    light = rng.dirichlet((8, 2, 2, 0.5), (length, 2))
    published = Published(
        np.arange(length, dtype=np.uint32) * 3,
        bases,
        matched,
        np.zeros(np.count_nonzero(matched), np.uint8),
        (
            rng.integers(0, 2, np.count_nonzero(in_test), np.uint8),
            rng.integers(0, 2, np.count_nonzero(in_test), np.uint8),
        ),
        rng.random(np.count_nonzero(in_key)) < 0.4,
    )
    return published, light, rng.random((2, np.count_nonzero(in_key)))


def enumerated(
    published: Published, light: NDArray[np.float64], weights: NDArray[np.float64], p: float
) -> dict[tuple[int, ...], float]:
    """Return the probability of each string of Alice's key bits, by summing over everything that may have happened."""
    in_key, in_test = published.in_key, published.matched & (published.bases == Basis.TEST)
    length, keys = len(in_key), np.cumsum(in_key) - 1
    tests = np.cumsum(in_test) - 1
    found: dict[tuple[int, ...], float] = {}
    for fired in product((1, 2, 3), repeat=length):
        for bits in product((0, 1), repeat=length):
            if any(now != 3 and bit != now - 1 for now, bit in zip(fired, bits, strict=True)):
                continue
            chance, before, alice = 1.0, 0, []
            for k, (now, bit) in enumerate(zip(fired, bits, strict=True)):
                sent = 0
                if in_key[k]:
                    sent = bit ^ int(published.wrong[keys[k]])
                    alice.append(sent)
                    chance *= weights[sent, keys[k]]
                elif in_test[k]:
                    sent = int(published.test_bits[1][tests[k]])
                    chance *= bit == published.test_bits[0][tests[k]]
                lit = 0.0
                for light_fires in range(4):
                    for again in range(4):
                        if again & ~before or light_fires | again != now:
                            continue
                        each = [p if again >> d & 1 else 1 - p for d in range(2) if before >> d & 1]
                        lit += light[k, sent, light_fires] * float(np.prod(each))
                chance *= lit * (0.5 if now == 3 else 1.0)
                before = now
            quiet = (1 - p) ** before.bit_count()
            found[tuple(alice)] = found.get(tuple(alice), 0.0) + chance * quiet
    total = sum(found.values())
    return {string: chance / total for string, chance in found.items()}


@pytest.mark.parametrize("seed", range(12))
def test_a_run_is_accounted_for_as_by_enumeration_and_never_in_her_disfavour(seed: int) -> None:
    p = (0.04, 0.3, 0.9)[seed % 3]
    published, light, weights = run(seed, 4)
    exact = enumerated(published, light, weights, p)
    ones, lacks = joint(published, light, weights, p, dead_gates=2)
    chances = np.array(list(exact.values()))
    for place, one in enumerate(ones):
        assert one == pytest.approx(sum(chance for string, chance in exact.items() if string[place]))
    entropy = -sum(chance * np.log2(chance) for chance in chances if chance)
    assert lacks.entropy_bits <= entropy + 1e-9
    assert entropy - 0.7 <= lacks.entropy_bits
    assert lacks.min_entropy_bits <= -np.log2(chances.max()) + 1e-9
    assert -np.log2(chances.max()) - 0.7 <= lacks.min_entropy_bits


def test_what_bob_asks_tells_of_nearly_every_error_that_it_is_one_of_two_bits() -> None:
    """Where no question of Cascade leads, a check has found the error, or a block of one bit: that is rare."""
    rng = np.random.default_rng(3)
    alice = rng.integers(0, 2, 60_000, np.uint8)
    errors = rng.random(len(alice)) < 0.02
    plan, seed = schedule(len(alice), 0.02), bytes(range(32))
    corrector, asked = Corrector(alice ^ errors, plan, seed), []
    answerer = Answerer(alice, plan, seed, len(alice))
    while (questions := corrector.questions()) is not None:
        asked.append(questions)
        corrector.receive(answerer.answer(questions))
    pairs = located_pairs(plan, seed, asked)
    assert np.count_nonzero(errors[pairs].sum(axis=1) == 1) >= 0.98 * len(pairs)
    found = np.unique(pairs[errors[pairs]])
    assert len(found) >= 0.98 * np.count_nonzero(errors)
    assert len(pairs) <= 1.02 * np.count_nonzero(errors)


def test_of_two_bits_of_which_one_is_wrong_she_takes_the_likelier() -> None:
    block = simulated(0.3)
    wrong = np.flatnonzero(block.published.wrong)
    right = np.random.default_rng(1).permutation(np.flatnonzero(~block.published.wrong))[: len(wrong)]
    heard = Published(
        block.published.gates,
        block.published.bases,
        block.published.matched,
        block.published.classes,
        block.published.test_bits,
        np.zeros(len(block.key), np.bool_),
        np.stack([wrong, right], axis=1),
    )
    known = BlockNotes().known_of_key(heard, block.gate)
    exact = BlockNotes().known_of_key(block.published, block.gate)
    assert known.min_entropy_bits == pytest.approx(exact.min_entropy_bits, rel=0.02)
    assert known.information == pytest.approx(exact.information, rel=0.15)
