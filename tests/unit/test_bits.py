import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkdlink.common.bits import pack, unpack

bit_lists = st.lists(st.integers(0, 1), max_size=70)


@given(bits=bit_lists)
def test_bits_read_back_as_they_were_packed(bits: list[int]):
    packed = pack(np.array(bits, np.uint8))
    assert len(packed) == (len(bits) + 7) // 8
    unpacked = unpack(packed, len(bits))
    assert unpacked.dtype == np.uint8
    assert unpacked.tolist() == bits


def test_the_first_bit_is_the_highest():
    assert pack(np.array([1, 0, 0, 0, 0, 0, 0, 1, 1], np.uint8)) == b"\x81\x80"


@given(data=st.binary(max_size=9), count=st.integers(0, 80))
def test_bits_have_one_encoding_only(data: bytes, count: int):
    try:
        bits = unpack(data, count)
    except ValueError:
        return
    assert pack(bits) == data
    assert len(bits) == count


@pytest.mark.parametrize(("data", "count"), [(b"", 1), (b"\0", 0), (b"\0\0", 8), (b"\0", 9), (b"", 2**40)])
def test_too_many_or_too_few_bytes_are_refused(data: bytes, count: int):
    with pytest.raises(ValueError, match="bytes"):
        unpack(data, count)


@pytest.mark.parametrize("filling", [1, 2, 16])
def test_a_filling_that_is_not_zero_is_refused(filling: int):
    with pytest.raises(ValueError, match="after bit 3 is not zero"):
        unpack(bytes([0b10100000 | filling]), 3)


def test_bits_can_be_read_from_a_view():
    assert unpack(memoryview(b"\xa0"), 3).tolist() == [1, 0, 1]
