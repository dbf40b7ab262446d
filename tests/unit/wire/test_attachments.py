import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from qkdlink.common.wire.attachments import (
    GateReader,
    class_planes,
    decode_classes,
    decode_gates,
    encode_classes,
    encode_gates,
)

PULSES = 2**32
gate_lists = st.sets(st.integers(0, PULSES - 1) | st.integers(0, 500), max_size=40).map(
    lambda gates: np.array(sorted(gates), np.uint32)
)


@given(gates=gate_lists)
def test_gates_read_back_as_they_were_written(gates: NDArray[np.uint32]):
    read = decode_gates(encode_gates(gates), len(gates), PULSES)
    assert read.dtype == np.uint32
    np.testing.assert_array_equal(read, gates)


@given(data=st.binary(max_size=12), count=st.integers(0, 12), pulses=st.integers(1, 400) | st.just(PULSES))
@settings(max_examples=500)
def test_gates_have_one_encoding_only(data: bytes, count: int, pulses: int):
    try:
        gates = decode_gates(data, count, pulses)
    except ValueError:
        return
    assert encode_gates(gates) == data
    assert len(gates) == count
    assert np.all(np.diff(gates.astype(np.int64)) > 0)
    assert all(gates < pulses)


@given(gates=gate_lists, most=st.integers(1, 50))
def test_gates_are_read_piece_by_piece_as_they_are_at_once(gates: NDArray[np.uint32], most: int):
    reader, pieces = GateReader(encode_gates(gates), len(gates), PULSES), [np.empty(0, np.uint32)]
    while sum(map(len, pieces)) < len(gates):
        pieces.append(reader.read(most))
        assert 0 < len(pieces[-1]) <= most
    assert len(reader.read(most)) == 0
    np.testing.assert_array_equal(np.concatenate(pieces), gates)


@given(seed=st.integers(0, 2**32), longest=st.sampled_from([2, 100, 140, 20_000]))
@settings(max_examples=20, deadline=None)
def test_gates_of_many_pieces_read_back_as_they_were_written(seed: int, longest: int):
    # more than are written or read at a time, with gaps that are short eight at a time, now and then, and hardly ever
    gaps = np.random.default_rng(seed).integers(1, longest, 150_000)
    gates = np.cumsum(gaps).astype(np.uint32)
    np.testing.assert_array_equal(decode_gates(encode_gates(gates), len(gates), PULSES), gates)


@given(data=st.binary(min_size=8, max_size=24), count=st.integers(0, 24))
@settings(max_examples=300)
def test_a_reader_refuses_piece_by_piece_what_it_refuses_at_once(data: bytes, count: int):
    def outcome(most: int) -> list[int] | None:
        try:
            reader, read = GateReader(data, count, 300), list[int]()
            while len(read) < count:
                read += reader.read(most).tolist()
        except ValueError:
            return None
        return read

    assert outcome(1) == outcome(9) == outcome(24)


def test_gates_are_written_as_the_wire_format_says():
    gates = np.array([0, 1, 129, 258, 20_000], np.uint32)
    assert encode_gates(gates) == bytes([0, 0, 127, 0x80, 1, 0x9D, 0x9A, 1])


@pytest.mark.parametrize(
    ("data", "count", "pulses"),
    [
        (b"\x80\x00", 1, PULSES),  # zero in two bytes
        (b"\x81\x80\x00", 1, PULSES),  # one in three
        (b"\x80", 1, PULSES),  # a gap that goes on and does not
        (b"\xff\xff\xff\xff\xff\x01", 1, PULSES),  # six bytes
        (b"\xff\xff\xff\xff\x7f", 1, PULSES),  # 2**35 - 1
        (b"\xff\xff\xff\xff\x0f\x00", 2, PULSES),  # one beyond the last gate
        (b"\x05", 1, 5),  # the gate after the last
        (b"\x00\x00", 1, PULSES),  # something left over
        (b"\x00", 2, PULSES),  # too few
        (b"", 1, PULSES),
        (b"", 2**40, PULSES),
        (b"\x00", 0, PULSES),
    ],
)
def test_malformed_gates_are_refused(data: bytes, count: int, pulses: int):
    with pytest.raises(ValueError, match="gate"):
        decode_gates(data, count, pulses)


def test_the_last_gate_of_the_largest_block_can_be_named():
    gates = np.array([0, PULSES - 1], np.uint32)
    np.testing.assert_array_equal(decode_gates(encode_gates(gates), 2, PULSES), gates)


@given(data=st.data(), class_count=st.integers(1, 4), count=st.integers(0, 50))
def test_classes_read_back_as_they_were_written(data: st.DataObject, class_count: int, count: int):
    classes = np.array(
        data.draw(st.lists(st.integers(0, class_count - 1), min_size=count, max_size=count)), np.uint8
    )
    written = encode_classes(classes, class_count)
    assert len(written) == class_planes(class_count) * ((count + 7) // 8)
    np.testing.assert_array_equal(decode_classes(written, count, class_count), classes)


@given(data=st.binary(max_size=8), count=st.integers(0, 24), class_count=st.integers(1, 4))
@settings(max_examples=500)
def test_classes_have_one_encoding_only(data: bytes, count: int, class_count: int):
    try:
        classes = decode_classes(data, count, class_count)
    except ValueError:
        return
    assert encode_classes(classes, class_count) == data
    assert all(classes < class_count)


def test_a_class_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="only 3 intensity classes"):
        decode_classes(b"\x80\x80", 8, class_count=3)


def test_a_single_class_needs_no_bytes():
    assert class_planes(1) == 0
    assert encode_classes(np.zeros(9, np.uint8), 1) == b""
    with pytest.raises(ValueError, match="9 classes need 0 bytes"):
        decode_classes(b"\0", 9, 1)
