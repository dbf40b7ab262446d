"""What Eve's notes say of light in flight, against the table of Bob's receiver, which is made in another way."""

import numpy as np
import pytest

from qkdlink.common.optics.detector import DetectorSettings
from qkdlink.common.optics.fibre import Fibre
from qkdlink.common.optics.side_light import Arrival
from qkdlink.common.optics.source import Source
from qkdlink.common.optics.states import Basis, bb84_polarisation
from qkdlink.common.optics.watchful_receiver import DetectorFlaws, side_thresholds
from qkdlink.eve.flight import COUNTED, GONE, TAPPED, Flight, GateModel, Marks
from tests.support.states import pulse_state

FIBRE = Fibre(10, 0.2, 0.03)
DETECTOR = DetectorSettings(0.6, 1e-3, 2.0, 0.04, 1e9)
WEAK = Source((0.6, 0.1), (0.75, 0.25), 0.5)


def gate(source: Source = WEAK, fibre: Fibre = FIBRE) -> GateModel:
    return GateModel(source, fibre, DETECTOR, 0.2, 0.5)


def codes(*told: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.array(told, np.uint8)


@pytest.mark.parametrize("count", [1, 2, 9])
def test_marks_are_read_as_they_were_written(count: int):
    written = np.random.default_rng(count).integers(0, 16, count, np.uint8)
    np.testing.assert_array_equal(Marks.of(written).at(np.arange(count, dtype=np.uint32)), written)


@pytest.mark.parametrize("arrival", [Arrival.EARLY, Arrival.LATE])
@pytest.mark.parametrize("photons", [1, 2, 5])
def test_counted_photons_click_as_in_the_receivers_own_table(arrival: Arrival, photons: int):
    flight = Flight.begun(1)
    flight.goes_on(codes(COUNTED + photons))
    flight.shifts(codes(arrival))
    table = side_thresholds(FIBRE, DETECTOR, DetectorFlaws(0.2))
    states = [pulse_state(bb84_polarisation(Basis.KEY, bit), photons) for bit in (0, 1)]
    expected = [int(table[arrival, Basis.KEY, state, 2]) / 2**64 for state in states]
    assert gate().clicks(flight, rate=0.0)[:, 0] == pytest.approx(expected, rel=1e-9)


def test_a_click_tells_nothing_of_light_that_comes_in_time_or_is_not_alices():
    flight = Flight.begun(3)
    flight.shifts(codes(0, Arrival.LATE, Arrival.EARLY))
    flight.goes_on(codes(0, GONE, 0))
    told = gate().clicks(flight, rate=0.1)
    assert (told[0] == told[1]).tolist() == [True, True, False]


def test_the_last_shift_counts_and_light_that_was_not_touched_keeps_the_one_before():
    flight = Flight.begun(2)
    flight.shifts(codes(Arrival.EARLY, Arrival.EARLY))
    flight.shifts(codes(Arrival.LATE, 0))
    assert flight.arrivals.tolist() == [Arrival.LATE, Arrival.EARLY]


def test_light_that_faded_clicks_as_in_a_fibre_that_loses_as_much():
    faded, launched = Flight.begun(1), Flight.begun(1)
    for flight in (faded, launched):
        flight.shifts(codes(Arrival.LATE))
    faded.fades(np.ones(1, np.bool_), FIBRE.transmittance)
    lossless = Fibre(0.0, 0.0, FIBRE.misalignment)
    assert gate(fibre=lossless).clicks(faded, 0.1) == pytest.approx(gate().clicks(launched, 0.1))


def test_a_single_photon_that_was_not_kept_has_passed_the_beam_splitter():
    tapped, whole = Flight.begun(1), Flight.begun(1)
    tapped.goes_on(codes(TAPPED), tapped_share=0.3)
    for flight in (tapped, whole):
        flight.shifts(codes(Arrival.LATE))
    single = gate(Source.single_photon(0.5))
    assert single.clicks(tapped, 0.1) == pytest.approx(single.clicks(whole, 0.1))


def test_counting_makes_up_for_what_was_lost_before():
    counted = Flight.begun(1)
    counted.fades(np.ones(1, np.bool_), 0.1)
    counted.goes_on(codes(COUNTED + 1))
    assert (counted.flying[0], counted.lost[0], counted.photons[0]) == (1, 0, 1)


def test_what_happens_to_a_part_happens_to_the_whole():
    flight = Flight.begun(4)
    flight[1:3].goes_on(codes(GONE, COUNTED + 2))
    assert flight.of_alice.tolist() == [True, False, True, True]
    assert flight.photons.tolist() == [0, 0, 2, 0]


def test_how_often_gates_click_is_read_off_what_was_sifted():
    # half of the clicks are sifted, a quarter in one basis; a dead gate after each click
    one_dead = GateModel(WEAK, FIBRE, DetectorSettings(0.6, 1e-3, 1.0, 0.04, 1e9), 0.2, 0.5)
    assert one_dead.rate(50, Basis, 1000) == pytest.approx(0.1 / 0.9)
    assert one_dead.rate(25, [Basis.KEY], 1000) == pytest.approx(0.1 / 0.9)
    assert one_dead.rate(0, [], 1000) == 0
    assert one_dead.rate(1000, [Basis.KEY], 1000) == 1
