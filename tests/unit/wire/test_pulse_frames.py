import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkdlink.common.keys.identifiers import NAME_PATTERN, SESSION_PATTERN
from qkdlink.common.wire.pulse_frames import FrameFault, FrameHeader, FrameRefused, Receipt, split

sessions = st.from_regex(SESSION_PATTERN, fullmatch=True)
small, large = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
headers = st.builds(
    FrameHeader,
    link=st.from_regex(NAME_PATTERN, fullmatch=True),
    session=sessions,
    block=large,
    sequence=small,
    frames=small,
    first_pulse=large,
    pulses=small,
)

HEADER = FrameHeader("link", "5e" * 16, block=7, sequence=3, frames=9, first_pulse=3000, pulses=1000)


def fault(payload: bytes) -> FrameFault:
    with pytest.raises(FrameRefused) as refused:
        split(payload)
    assert str(refused.value) == f"{refused.value.fault}: {refused.value.detail}"
    return refused.value.fault


@given(header=headers, sealed=st.binary(min_size=1, max_size=50))
def test_a_frame_of_light_reads_back_as_it_was_written(header: FrameHeader, sealed: bytes):
    associated = header.encode()
    assert split(associated + sealed) == (header, associated, sealed)


def test_a_header_stands_on_the_wire_as_the_format_says():
    assert HEADER.encode() == (
        b"QKDL\x01\x04link" + bytes.fromhex("5e" * 16) + b"\0\0\0\0\0\0\0\7\0\0\0\3\0\0\0\x09"
        b"\0\0\0\0\0\0\x0b\xb8\0\0\x03\xe8"
    )


def test_a_frame_that_ends_within_its_header_or_has_no_light_is_truncated():
    frame = HEADER.encode()
    assert {fault(frame[:length]) for length in range(1, len(frame) + 1)} == {FrameFault.TRUNCATED}


@pytest.mark.parametrize("payload", [b"", b"X", b"QKDX", b"{}", b"QKD" + b"\0" * 100, b"\0" * 100])
def test_what_does_not_begin_as_a_frame_of_light_is_foreign(payload: bytes):
    assert fault(payload) is FrameFault.FOREIGN


def test_a_frame_of_another_version_is_foreign():
    frame = bytearray(HEADER.encode() + b"light")
    frame[4] = 2
    assert fault(bytes(frame)) is FrameFault.FOREIGN


@given(payload=st.binary(max_size=200) | st.binary(max_size=100).map(lambda rest: b"QKDL\x01" + rest))
def test_any_bytes_are_a_frame_or_refused(payload: bytes):
    try:
        header, associated, sealed = split(payload)
    except FrameRefused:
        return
    assert associated + sealed == payload
    assert sealed
    if header.link.isascii():
        assert header.encode() == associated


@given(position=st.integers(0, len(HEADER.encode()) - 1), flip=st.integers(1, 255))
def test_a_changed_header_names_another_place_or_is_refused(position: int, flip: int):
    frame = bytearray(HEADER.encode() + b"light")
    frame[position] ^= flip
    try:
        header, associated, _ = split(bytes(frame))
    except FrameRefused:
        return
    assert header != HEADER
    assert associated != HEADER.encode()


@given(session=sessions, block=large, sequence=small)
def test_a_receipt_reads_back_as_it_was_written(session: str, block: int, sequence: int):
    receipt = Receipt(session, block, sequence)
    assert len(receipt.encode()) == 28
    assert Receipt.decode(receipt.encode()) == receipt


@given(payload=st.binary(max_size=60).filter(lambda payload: len(payload) != 28))
def test_anything_of_another_length_is_no_receipt(payload: bytes):
    assert Receipt.decode(payload) is None


def test_the_receipt_of_a_frame_says_which_frame_it_was():
    assert HEADER.receipt == Receipt("5e" * 16, 7, 3)
