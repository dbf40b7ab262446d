import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkdlink.common.errors import LocalProtocolError
from qkdlink.common.optics.records import DetectionLog, DetectionRecord, PreparationRecord

FRAMES = (np.array([0b0000, 0b0111, 0b1010], np.uint8), np.array([0b0001, 0b1011], np.uint8))


def recorded(pulses: int = 5) -> PreparationRecord:
    record = PreparationRecord(pulses, 3)
    for frame in FRAMES:
        record.append(frame)
    return record


def detections(*gates: int) -> DetectionRecord:
    some = np.ones(len(gates), np.uint8)
    return DetectionRecord(np.array(gates, np.uint32), some, some, 1)


def test_a_preparation_record_gives_back_what_was_prepared():
    bits, bases, classes = recorded().at(np.array([1, 2, 4], np.uint32))
    assert bits.tolist() == [1, 0, 1]
    assert bases.tolist() == [1, 1, 1]
    assert classes.tolist() == [1, 2, 2]


def test_emitted_pulses_are_counted_per_class():
    assert recorded().emitted == (2, 1, 2)


def test_a_record_knows_when_it_is_complete():
    assert recorded(5).complete
    assert not recorded(6).complete


def test_no_gates_give_no_preparations():
    assert [part.tolist() for part in recorded().at(np.array([], np.uint32))] == [[], [], []]


@pytest.mark.parametrize("gate", [5, 6, 2**32 - 1])
def test_a_gate_beyond_the_recorded_pulses_is_refused(gate: int):
    with pytest.raises(ValueError, match="outside the 5 pulses"):
        recorded(8).at(np.array([0, gate], np.uint32))


def test_more_pulses_than_the_block_has_are_refused_and_nothing_changes():
    record = recorded()
    with pytest.raises(LocalProtocolError, match="6 pulses do not fit into a block of 5"):
        record.append(np.zeros(1, np.uint8))
    assert record.emitted == (2, 1, 2)


@pytest.mark.parametrize("pulses", [0, -1, 2**32 + 1])
def test_a_block_of_an_impossible_size_is_refused(pulses: int):
    with pytest.raises(LocalProtocolError, match="a block has 1 to 4294967296 pulses"):
        PreparationRecord(pulses, 2)


def test_detections_of_frames_are_joined_in_order():
    joined = DetectionRecord.joined([detections(1, 4), detections(), detections(9)])
    assert joined.gates.tolist() == [1, 4, 9]
    assert joined.gates.dtype == np.uint32
    assert len(joined.bases) == len(joined.bits) == len(joined) == 3
    assert joined.double_clicks == 3


def test_a_block_without_light_has_no_record():
    with pytest.raises(LocalProtocolError, match="at least one frame"):
        DetectionRecord.joined([])


def test_records_never_show_what_they_hold():
    assert repr(recorded()) == "PreparationRecord(5 of 5 pulses, redacted)"
    assert repr(detections(77, 78)) == "DetectionRecord(2 detections, 1 double clicks, redacted)"


def write(log: DetectionLog, frame: DetectionRecord, gates: int) -> None:
    for place, values in zip(log.room(gates), (frame.gates, frame.bases, frame.bits), strict=True):
        assert len(place) == gates
        place[:] = 9  # what is not kept may be anything
        place[: len(values)] = values
    log.add(gates, len(frame), frame.double_clicks, frame.side)


@settings(max_examples=60)
@given(
    sizes=st.lists(st.integers(0, 50), min_size=1, max_size=12),
    expected_pulses=st.sampled_from([0, 1, 100, 10**6]),
)
def test_a_log_that_grows_holds_what_its_frames_joined_hold(sizes: list[int], expected_pulses: int):
    log, frames, first = DetectionLog(expected_pulses), [], 0
    for size in sizes:
        frame = detections(*range(first, first + size))
        write(log, frame, gates=50)
        frames.append(frame)
        first += 50
    whole, joined = log.record(), DetectionRecord.joined(frames)
    for name in ("gates", "bases", "bits"):
        assert getattr(whole, name).tolist() == getattr(joined, name).tolist()
        assert getattr(whole, name).dtype == getattr(joined, name).dtype
    assert (whole.double_clicks, whole.side) == (joined.double_clicks, joined.side)


def test_a_log_without_light_has_no_record():
    with pytest.raises(LocalProtocolError, match="at least one frame"):
        DetectionLog(100).record()


def test_a_log_never_shows_what_it_holds():
    log = DetectionLog(100)
    write(log, detections(77, 78), gates=100)
    assert repr(log) == "DetectionLog(2 detections so far, redacted)"
