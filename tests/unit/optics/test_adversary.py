"""Eve's instruments: what each does to light, and that none does more."""

import copy
import pickle  # noqa: TID251 - to see that stored light refuses it
from functools import reduce

import numpy as np
import pytest
from numpy.typing import NDArray

from qkdlink.common.errors import LocalProtocolError
from qkdlink.common.optics.adversary import (
    NO_CONCLUSION,
    Bench,
    analyser_overlap,
    answer_probabilities,
    conclusive_probability,
)
from qkdlink.common.optics.fibre import Fibre
from qkdlink.common.optics.photon_memory import NO_OUTCOME
from qkdlink.common.optics.pulses import PulseTrain
from qkdlink.common.optics.side_light import BRIGHT, Arrival, SideLight
from qkdlink.common.optics.states import Basis, photon_numbers, polarisations

FIBRE, OTHER = Fibre(10, 0.2, 0.01), Fibre(0, 0, 0)
COUNT = 2**16
FIRST = 96
SIGMAS = 5  # false alarm 5.7e-7

type Numbers = NDArray[np.uint8]


@pytest.fixture
def bench() -> Bench:
    return Bench(np.random.default_rng(20100829))


def states(seed: int = 1) -> Numbers:
    """Any polarisation, 0 to 5 photons."""
    drawn = np.random.default_rng(seed)
    return drawn.integers(0, 8, COUNT, np.uint8) | drawn.integers(0, 6, COUNT, np.uint8) << np.uint8(3)


def light(manners: Numbers | None = None) -> PulseTrain:
    return PulseTrain(states(), FIBRE, FIRST, None if manners is None else SideLight(manners))


def side(train: PulseTrain) -> Numbers:
    assert train.side
    return train.side.absorb()


EVEN = np.arange(COUNT) % 2 == 0


def test_a_switch_parts_light_and_a_join_puts_it_together_again(bench: Bench):
    chosen, others = bench.switch(light(), EVEN)
    assert (chosen.medium, chosen.first_pulse, len(chosen)) == (FIBRE, FIRST, COUNT)
    joined = bench.join(chosen, others)
    filled = photon_numbers(states()) > 0
    np.testing.assert_array_equal(joined.absorb()[filled], states()[filled])


def test_a_switch_lets_nothing_through_the_wrong_way(bench: Bench):
    chosen, others = bench.switch(light(), EVEN)
    assert not chosen.absorb()[~EVEN].any()
    assert not others.absorb()[EVEN].any()


def test_two_pulses_do_not_fit_into_one_slot(bench: Bench):
    with pytest.raises(LocalProtocolError, match="two pulses cannot be put into one slot"):
        bench.join(light(), light())


def test_trains_of_different_pulses_are_not_joined(bench: Bench):
    with pytest.raises(LocalProtocolError, match="different pulses"):
        bench.join(light(), PulseTrain(states(), FIBRE, 0))


def test_side_light_goes_where_its_pulse_goes(bench: Bench):
    manners = np.full(COUNT, Arrival.LATE, np.uint8)
    chosen, others = bench.switch(light(manners), EVEN)
    joined = bench.join(chosen, others)
    np.testing.assert_array_equal(side(joined), manners)


def test_every_instrument_takes_the_light(bench: Bench):
    for use in (
        lambda train: bench.switch(train, EVEN),
        lambda train: bench.split(train, 0.5),
        bench.count,
        lambda train: bench.extract(train, EVEN),
        lambda train: bench.measure(train, np.zeros(COUNT, np.uint8)),
        bench.discriminate,
        bench.store,
        lambda train: bench.launch(train, OTHER),
        lambda train: bench.delay(train, np.zeros(COUNT, np.uint8)),
        bench.reflections,
    ):
        train = light()
        use(train)
        with pytest.raises(LocalProtocolError, match="it exists once"):
            train.absorb()


def test_photons_are_counted_and_still_there(bench: Bench):
    numbers, train = bench.count(light())
    np.testing.assert_array_equal(numbers, photon_numbers(states()))
    np.testing.assert_array_equal(train.absorb(), states())


def test_launched_light_is_in_another_fibre_and_otherwise_the_same(bench: Bench):
    train = bench.launch(light(), OTHER)
    assert train.medium == OTHER
    np.testing.assert_array_equal(train.absorb(), states())


def test_a_beam_splitter_keeps_every_photon_and_its_polarisation_and_passes_its_share(bench: Bench):
    passed, kept = (train.absorb() for train in bench.split(light(), 0.3))
    numbers = photon_numbers(states())
    np.testing.assert_array_equal(photon_numbers(passed) + photon_numbers(kept), numbers)
    for part in (passed, kept):
        np.testing.assert_array_equal(polarisations(part), polarisations(states()))
    total = int(numbers.sum())
    assert abs(int(photon_numbers(passed).sum()) - 0.3 * total) < SIGMAS * np.sqrt(total * 0.3 * 0.7)
    of_five = photon_numbers(passed)[numbers == 5]
    expected = np.array([0.7**5, 5 * 0.3 * 0.7**4, 10 * 0.3**2 * 0.7**3])
    seen = np.bincount(of_five, minlength=6)[:3] / len(of_five)
    assert (np.abs(seen - expected) < SIGMAS * np.sqrt(expected / len(of_five))).all()


@pytest.mark.parametrize("transmittance", [0.0, 1.0])
def test_a_beam_splitter_may_be_a_mirror_or_a_window(bench: Bench, transmittance: float):
    passed, kept = bench.split(light(), transmittance)
    full, empty = (passed, kept) if transmittance else (kept, passed)
    np.testing.assert_array_equal(full.absorb(), states())
    assert not photon_numbers(empty.absorb()).any()


def test_one_photon_is_extracted_where_there_is_any(bench: Bench):
    single, rest = (train.absorb() for train in bench.extract(light(), EVEN))
    taken = EVEN & (photon_numbers(states()) > 0)
    np.testing.assert_array_equal(photon_numbers(single), taken.astype(np.uint8))
    np.testing.assert_array_equal(polarisations(single)[taken], polarisations(states())[taken])
    np.testing.assert_array_equal(photon_numbers(rest) + taken, photon_numbers(states()))


@pytest.mark.parametrize("analyser", range(4))
def test_photons_obey_malus_behind_every_analyser(bench: Bench, analyser: int):
    counted = bench.measure(light(), np.full(COUNT, analyser, np.uint8))
    np.testing.assert_array_equal(counted.zeros + counted.ones, photon_numbers(states()))
    for polarisation in range(8):
        of_this = polarisations(states()) == polarisation
        ones, total = int(counted.ones[of_this].sum()), int(photon_numbers(states())[of_this].sum())
        expected = np.sin(np.pi / 8 * (polarisation - analyser)) ** 2
        assert abs(ones - total * expected) <= SIGMAS * np.sqrt(total * expected * (1 - expected)) + 1e-6


def test_the_overlap_of_a_state_and_an_analyser_is_malus_law():
    for basis in Basis:
        for bit in (0, 1):
            for analyser in range(4):
                angle = np.pi / 4 * basis + np.pi / 2 * bit - np.pi / 8 * analyser
                assert analyser_overlap(basis, bit, analyser) == pytest.approx(np.sin(angle) ** 2, abs=1e-12)


@pytest.mark.parametrize("photons", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("polarisation", [1, 3])
def test_light_halfway_between_two_states_is_answered_with_a_state_that_it_is_not(
    bench: Bench, photons: int, polarisation: int
):
    # not an oracle that says "none of the four": an answer of measurement operators, as below
    light = bench.prepare(
        (np.full(COUNT, polarisation, np.uint8), np.full(COUNT, photons, np.uint8)), FIBRE, 0
    )
    told = bench.discriminate(light)
    for state, expected in enumerate(answer_probabilities(polarisation, photons)):
        answered = int((told == 2 * state).sum())
        assert abs(answered - COUNT * expected) <= SIGMAS * np.sqrt(COUNT * expected * (1 - expected)) + 1e-6
    assert (told == NO_CONCLUSION).mean() < 1 or photons < 3


@pytest.mark.parametrize("photons", [3, 4, 5, 8])
def test_the_answers_of_discrimination_are_those_of_operators_that_vanish_on_the_other_states(photons: int):
    # another way: n photons as vectors of 2^n numbers, and what is orthogonal to three of the four by linear algebra
    def pulse(polarisation: int) -> NDArray[np.float64]:
        angle = np.pi / 8 * polarisation
        return reduce(np.kron, [np.array([np.cos(angle), np.sin(angle)])] * photons)

    four = np.stack([pulse(state) for state in (0, 2, 4, 6)])
    reciprocal = np.linalg.pinv(four).T  # row k is orthogonal to all but state k
    largest = np.linalg.eigvalsh(
        reciprocal @ reciprocal.T
    ).max()  # of the sum of the operators: the scale is 1 over it
    for polarisation in range(8):
        expected = (reciprocal @ pulse(polarisation)) ** 2 / largest
        np.testing.assert_allclose(answer_probabilities(polarisation, photons), expected, atol=1e-12)


def test_of_one_of_the_four_states_an_answer_is_right():
    for photons in range(32):
        for state in range(4):
            answers = answer_probabilities(2 * state, photons)
            expected = np.eye(4)[state] * conclusive_probability(photons)
            np.testing.assert_allclose(answers, expected, atol=1e-12)


def test_noise_is_in_all_four_states_alike(bench: Bench):
    noise = bench.prepare_noise(2, FIBRE, FIRST, COUNT).absorb()
    assert (photon_numbers(noise) == 2).all()
    seen = np.bincount(polarisations(noise), minlength=8)
    assert not seen[1::2].any()
    assert (np.abs(seen[::2] - COUNT / 4) < SIGMAS * np.sqrt(COUNT * 3 / 16)).all()


def test_bright_light_floods_its_gates_and_no_others(bench: Bench):
    twelve = np.full(COUNT, 12, np.uint8)
    train = bench.prepare_bright(np.zeros(COUNT, np.uint8), twelve, EVEN, FIBRE, FIRST)
    np.testing.assert_array_equal(side(train), EVEN * np.uint8(BRIGHT))
    np.testing.assert_array_equal(photon_numbers(train.absorb()), EVEN * twelve)


def test_delayed_light_is_the_same_light_later(bench: Bench):
    arrivals = np.random.default_rng(1).integers(0, 3, COUNT, np.uint8)
    train = bench.delay(light(np.full(COUNT, 5 << 3 | 1, np.uint8)), arrivals)
    np.testing.assert_array_equal(side(train), arrivals | np.uint8(5 << 3))
    np.testing.assert_array_equal(train.absorb(), states())
    with pytest.raises(LocalProtocolError, match="on time, early or late"):
        bench.delay(light(), np.full(COUNT, 3, np.uint8))


def test_reflections_are_parted_from_the_light_and_have_its_polarisation(bench: Bench):
    hers, reflected = bench.reflections(light(np.full(COUNT, 3 << 3, np.uint8)))
    assert hers.side is None
    np.testing.assert_array_equal(hers.absorb(), states())
    seen = reflected.absorb()
    assert (photon_numbers(seen) == 3).all()
    np.testing.assert_array_equal(polarisations(seen), polarisations(states()))


def test_without_a_probe_nothing_is_reflected(bench: Bench):
    hers, reflected = bench.reflections(light())
    np.testing.assert_array_equal(hers.absorb(), states())
    assert not photon_numbers(reflected.absorb()).any()


def test_a_memory_tells_the_bit_in_the_right_basis_and_a_coin_in_the_wrong_one(bench: Bench):
    bits = np.random.default_rng(2).integers(0, 2, COUNT, np.uint8)
    bases = np.random.default_rng(3).integers(0, 2, COUNT, np.uint8)
    train = bench.prepare((2 * bases + 4 * bits, np.ones(COUNT, np.uint8)), FIBRE, FIRST)
    memory = bench.store(train)
    gates = np.arange(FIRST, FIRST + COUNT, dtype=np.uint32)
    asked = np.where(EVEN, bases, 1 - bases)
    told = memory.measure(gates, asked)
    np.testing.assert_array_equal(told[EVEN], bits[EVEN])
    wrong = int((told[~EVEN] != bits[~EVEN]).sum())
    assert abs(wrong - COUNT / 4) < SIGMAS * np.sqrt(COUNT / 8)


def test_stored_light_is_measured_once(bench: Bench):
    train = bench.prepare((np.zeros(8, np.uint8), np.ones(8, np.uint8)), FIBRE, 0)
    memory, gates = bench.store(train), np.arange(8, dtype=np.uint32)
    first = memory.measure(gates, np.ones(8, np.uint8))
    np.testing.assert_array_equal(memory.measure(gates, np.ones(8, np.uint8)), first)
    assert (memory.measure(gates, np.zeros(8, np.uint8)) == NO_OUTCOME).all()


def test_a_memory_is_silent_about_what_it_does_not_hold_and_cannot_be_copied(bench: Bench):
    photons = np.array([1, 0, 2], np.uint8)
    memory = bench.store(bench.prepare((np.full(3, 4, np.uint8), photons), FIBRE, 10))
    asked = np.array([9, 10, 11, 12, 13], np.uint32)
    assert memory.measure(asked, np.zeros(5, np.uint8)).tolist() == [2, 1, 2, 1, 2]
    assert repr(memory) == "QuantumMemory(2 pulses, unseen)"
    for attempt in (copy.copy, pickle.dumps):
        with pytest.raises(LocalProtocolError, match="cannot be copied"):
            attempt(memory)
    assert len(bench.store(bench.prepare((photons, photons * 0), FIBRE, 0)).measure(asked, asked % 2)) == 5


def test_side_light_can_be_taken_once_and_not_copied():
    lit = SideLight(np.zeros(3, np.uint8))
    assert repr(lit) == "SideLight(unseen)"
    for attempt in (copy.copy, pickle.dumps):
        with pytest.raises(LocalProtocolError, match="cannot be copied"):
            attempt(lit)
    lit.absorb()
    with pytest.raises(LocalProtocolError, match="exists once"):
        lit.absorb()
