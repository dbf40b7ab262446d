"""Bob's receiver with flaws and monitors: honest light as ever, other light as the hardware has it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkdlink.common.errors import ConfigurationError, LocalProtocolError
from qkdlink.common.optics.detector import DetectorSettings, Receiver
from qkdlink.common.optics.fibre import Fibre
from qkdlink.common.optics.outlet import Outlet
from qkdlink.common.optics.pulses import PulseTrain
from qkdlink.common.optics.records import DetectionRecord, SideCounts
from qkdlink.common.optics.seal import LightSeal, SealBroken
from qkdlink.common.optics.side_light import BRIGHT, REFLECTED_SHIFT, Arrival, SideLight
from qkdlink.common.optics.watchful_receiver import DetectorFlaws, WatchfulReceiver, side_thresholds
from qkdlink.common.randomness import ChoiceStream
from tests.support.states import pulse_state

COUNT = 2**14
HERE = Fibre(0, 0.2, 0.02)
PERFECT = DetectorSettings(1.0, 0.0, 0.0, 0.0, 1e9)
EXAGGERATED = DetectorSettings(0.6, 0.02, 3.0, 0.3, 1e9)
SIGMAS = 5  # false alarm 5.7e-7


def states(seed: int = 1) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 48, COUNT, np.uint8)


def watchful(
    detector: DetectorSettings, switched_off: float = 0.0, mismatch: float = 0.5
) -> WatchfulReceiver:
    choices, nature = ChoiceStream(bytes(32)), np.random.default_rng(2)
    return WatchfulReceiver(detector, 0.5, choices, nature, DetectorFlaws(mismatch), switched_off)


def train(manner: int | None, light: int | None = None, fibre: Fibre = HERE) -> PulseTrain:
    side = None if manner is None else SideLight(np.full(COUNT, manner, np.uint8))
    return PulseTrain(states() if light is None else np.full(COUNT, light, np.uint8), fibre, 0, side)


def clicks(record: DetectionRecord) -> list[tuple[int, ...]]:
    return list(zip(record.gates.tolist(), record.bases.tolist(), record.bits.tolist(), strict=True))


@pytest.mark.parametrize("manner", [None, 0, 7 << REFLECTED_SHIFT])
def test_honest_light_and_reflections_click_as_in_the_plain_receiver(manner: int | None):
    plain = Receiver(EXAGGERATED, 0.5, ChoiceStream(bytes(32)), np.random.default_rng(2)).detect(train(None))
    seen = watchful(EXAGGERATED).detect(train(manner))
    assert clicks(seen) == clicks(plain)
    assert seen.double_clicks == plain.double_clicks > 0
    assert seen.side == SideCounts()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, COUNT - 1), max_size=4), st.sampled_from([0.0, 0.25]))
def test_frames_may_be_cut_anywhere(cuts: list[int], switched_off: float):
    manners = np.random.default_rng(5).integers(0, 256, COUNT, np.uint8)
    whole = watchful(EXAGGERATED, switched_off).detect(
        PulseTrain(states(), HERE, 0, SideLight(manners.copy()))
    )
    receiver, records, first = watchful(EXAGGERATED, switched_off), [], 0
    for part, manner in zip(np.split(states(), sorted(cuts)), np.split(manners, sorted(cuts)), strict=True):
        records.append(receiver.detect(PulseTrain(part.copy(), HERE, first, SideLight(manner.copy()))))
        first += len(part)
    joined = DetectionRecord.joined(records)
    assert clicks(joined) == clicks(whole)
    assert joined.side == whole.side


@pytest.mark.parametrize(("arrival", "better"), [(Arrival.EARLY, 0), (Arrival.LATE, 1)])
def test_off_time_one_detector_sees_worse(arrival: Arrival, better: int):
    detector = DetectorSettings(0.8, 0.0, 0.0, 0.0, 1e9)
    for bit in (0, 1):
        receiver = watchful(detector, mismatch=0.25)
        record = receiver.detect(train(arrival, pulse_state(4 * bit, 1), Fibre(0, 0.2, 0.0)))
        expected = (0.8 if bit == better else 0.2) * COUNT / 2
        matched = int((record.bases == 0).sum())
        assert abs(matched - expected) < SIGMAS * np.sqrt(expected)
        assert (record.bits[record.bases == 0] == bit).all()
        counted = record.side.early if arrival is Arrival.EARLY else record.side.late
        assert sum(counted) == len(record)
        assert counted[1] == int(record.bits.sum())


@pytest.mark.parametrize(
    ("steps", "fired"),
    [(7, set()), (8, set()), (9, {"same"}), (12, {"same"}), (15, {"same"}), (17, {"same", "other"})],
)
def test_blinded_detectors_click_surely_where_the_power_suffices_and_else_never(steps: int, fired: set[str]):
    # misalignment 2 %: in the right basis 0.98 of the power, in the wrong one half of it to each detector
    noisy = DetectorSettings(0.1, 0.2, 0.0, 0.5, 1e9)
    record = watchful(noisy).detect(train(BRIGHT, pulse_state(4, steps)))
    bob = ChoiceStream(bytes(32)).read(0, COUNT) >> 1 < 64  # his key basis
    assert record.gates[record.bases == 0].tolist() == (
        np.flatnonzero(bob).tolist() if "same" in fired else []
    )
    assert record.gates[record.bases == 1].tolist() == (
        np.flatnonzero(~bob).tolist() if "other" in fired else []
    )
    assert (record.bits[record.bases == 0] == 1).all()
    assert record.double_clicks == (record.bases == 1).sum()
    assert record.side.bright_gates == COUNT


def test_a_trigger_loses_its_power_in_fibre():
    assert not len(watchful(PERFECT).detect(train(BRIGHT, pulse_state(0, 12), Fibre(20, 0.2, 0.0))))


def test_switched_off_gates_count_no_photon_and_appear_in_no_key():
    dark = DetectorSettings(1.0, 1e-2, 0.0, 0.0, 1e9)
    off = watchful(dark, switched_off=0.25).detect(train(None, pulse_state(0, 5)))
    chosen = ChoiceStream(bytes(32)).read(2**32, COUNT) < 64
    assert off.side.switched_off_gates == chosen.sum()
    assert off.gates.tolist() == np.flatnonzero(~chosen).tolist()
    expected = chosen.sum() * (1 - 0.99**2)
    assert abs(off.side.switched_off_clicks - expected) < SIGMAS * np.sqrt(expected)


def test_triggers_click_in_switched_off_gates():
    record = watchful(PERFECT, switched_off=0.25).detect(train(BRIGHT, pulse_state(0, 17)))
    assert record.side.switched_off_clicks == record.side.switched_off_gates > 3500
    assert len(record) + record.side.switched_off_clicks == COUNT


def test_an_arrival_that_does_not_exist_is_on_time():
    record = watchful(PERFECT).detect(train(3))
    assert clicks(record) == clicks(watchful(PERFECT).detect(train(0)))
    assert record.side == SideCounts()


def test_side_light_of_other_pulses_is_refused():
    odd = PulseTrain(states(), HERE, 0, SideLight(np.zeros(5, np.uint8)))
    with pytest.raises(LocalProtocolError, match="side light of 5 pulses cannot fly with 16384 pulses"):
        watchful(PERFECT).detect(odd)


def test_a_missing_frame_is_refused_here_too():
    late = PulseTrain(states(), HERE, 5, SideLight(np.zeros(COUNT, np.uint8)))
    with pytest.raises(LocalProtocolError, match="gate 0 is next"):
        watchful(PERFECT).detect(late)


def test_impossible_hardware_is_refused():
    with pytest.raises(ConfigurationError, match=r"a timing mismatch cannot be 1\.5"):
        DetectorFlaws(1.5)
    for probability in (-0.25, 0.3, 1.0):
        with pytest.raises(ConfigurationError, match="a multiple of 1/256, 0 or more and below 1"):
            watchful(PERFECT, switched_off=probability)
    with pytest.raises(ConfigurationError, match="isolation of 0 dB or more"):
        Outlet(isolation_db=-1)


def test_the_table_of_thresholds_is_computed_once():
    assert side_thresholds(HERE, PERFECT, DetectorFlaws()) is side_thresholds(HERE, PERFECT, DetectorFlaws())


def test_side_light_crosses_the_seal_and_honest_light_is_sealed_as_ever():
    alice, bob = LightSeal(bytes(32), "alice"), LightSeal(bytes(32), "bob")
    manners = np.random.default_rng(1).integers(0, 256, COUNT, np.uint8)
    sealed = alice.seal(PulseTrain(states(), HERE, 7, SideLight(manners.copy())), b"place")
    opened = bob.unseal(sealed, b"place")
    assert (len(opened), opened.first_pulse, opened.medium) == (COUNT, 7, HERE)
    assert opened.side
    np.testing.assert_array_equal(opened.side.absorb(), manners)
    np.testing.assert_array_equal(opened.absorb(), states())
    honest = alice.seal(train(None), b"place")
    assert (len(sealed) - len(honest), sealed[0], honest[0]) == (COUNT, 2, 1)
    assert bob.unseal(honest, b"place").side is None
    with pytest.raises(SealBroken):
        bob.unseal(bytes([1]) + alice.seal(train(0), b"place")[1:], b"place")


@pytest.mark.parametrize("mean", [0.05, 2.0])
def test_a_probe_brings_back_a_poissonian_number_of_photons(mean: float):
    outlet = Outlet(isolation_db=50.0)
    lit = outlet.emit(train(None), outlet.probe_for(mean), np.uint64(8))
    assert lit.side
    photons = lit.side.absorb() >> REFLECTED_SHIFT
    np.testing.assert_array_equal(lit.absorb(), states())
    assert abs(photons.mean() - mean) < SIGMAS * np.sqrt(mean / COUNT)
    none = np.exp(-mean)
    assert abs((photons == 0).mean() - none) < SIGMAS * np.sqrt(none * (1 - none) / COUNT)


def test_what_comes_back_depends_on_the_pulse_and_not_on_the_frame_in_which_it_leaves():
    outlet, lane = Outlet(isolation_db=50.0), np.uint64(8)

    def reflected(first: int, end: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
        frame = PulseTrain(states()[first:end], HERE, first)
        side = outlet.emit(frame, outlet.probe_for(2.0), lane).side
        assert side
        return side.absorb()

    frames = [reflected(first, min(first + 999, COUNT)) for first in range(0, COUNT, 999)]
    np.testing.assert_array_equal(np.concatenate(frames), reflected(0, COUNT))


def test_without_a_probe_light_leaves_the_outlet_as_it_was():
    lit = train(None)
    assert Outlet().emit(lit, 0.0, np.uint64(1)) is lit


def test_a_glaring_probe_brings_back_no_more_than_a_pulse_can_hold():
    lit = Outlet(isolation_db=0.0).emit(train(None), 1e12, np.uint64(1))
    assert lit.side
    assert (lit.side.absorb() >> REFLECTED_SHIFT).mean() > 15
