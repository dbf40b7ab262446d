"""MQTT packets as the standard has them, and any bytes that are none refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkdlink.common.wire.mqtt_packets import (
    LONGEST_BODY,
    V5,
    Head,
    Packet,
    Publication,
    connect,
    encode,
    publication_head,
    read_head,
    read_publication,
    subscribe,
)


def test_packets_stand_on_the_wire_as_the_standard_says():
    assert connect("me", None, None) == b"\x10\x0e\0\4MQTT\4\x02\0\x0f\0\2me"
    assert connect("me", "u", "pw") == b"\x10\x15\0\4MQTT\4\xc2\0\x0f\0\2me\0\1u\0\2pw"
    assert connect("me", "u", None) == b"\x10\x11\0\4MQTT\4\x82\0\x0f\0\2me\0\1u"
    assert subscribe("a/b") == b"\x82\x08\0\1\0\3a/b\0"
    assert publication_head("a/b", 200) == b"\x30\xcd\x01\0\3a/b"
    assert encode(Packet.PINGREQ) == b"\xc0\0"


def test_packets_of_mqtt_5_have_properties_and_where_asked_for_receipts():
    login = bytes.fromhex("04 4d515454 05 c2 000f 00 0002 6d65 0005 616c696365 0006 736563726574")
    assert connect("me", "alice", "secret", V5, longest_packet=None) == b"\x10\x1e\0" + login
    limited = bytes.fromhex("10 14 0004 4d515454 05 02 000f 05 27 02020005 0002 6d65")
    assert connect("me", None, None, V5) == limited
    assert subscribe("a/b", V5, acknowledged=True) == bytes.fromhex("82 09 0001 00 0003 612f62 01")
    assert publication_head("a/b", 0, V5, acknowledged=True) == bytes.fromhex("32 08 0003 612f62 0001 00")
    assert publication_head("t" * 200, 0, V5, acknowledged=True)[:3] == bytes.fromhex("32 cd 01")


@pytest.mark.parametrize(
    ("length", "written"), [(0, b"\0"), (127, b"\x7f"), (128, b"\x80\1"), (2**21, b"\x80\x80\x80\1")]
)
def test_lengths_have_the_bytes_of_the_standards_table(length: int, written: bytes):
    # MQTT 3.1.1, table 2.4
    head = b"\x30" + written
    assert read_head(memoryview(head + b"rest")) == Head(0x30, length, len(head))
    for cut in range(len(head)):
        assert read_head(memoryview(head[:cut])) is None


def test_a_packet_longer_than_any_frame_is_not_believed():
    for announced in (b"\x30\xff\xff\xff\xff",):
        with pytest.raises(ValueError, match="does not end"):
            read_head(memoryview(announced))
    assert LONGEST_BODY > 2 * 2**24


@given(topic=st.text(max_size=50).filter(lambda text: text.isprintable()), payload=st.binary(max_size=300))
def test_a_message_reads_back_as_it_was_written(topic: str, payload: bytes):
    packet = memoryview(publication_head(topic, len(payload)) + payload)
    head = read_head(packet)
    assert head is not None
    assert head.size + head.body == len(packet)
    assert read_publication(head.first, packet[head.size :]) == Publication(topic, memoryview(payload), False)
    assert read_publication(head.first | 1, packet[head.size :]).retained


@given(first=st.integers(0, 255), body=st.binary(max_size=40))
def test_any_body_is_a_message_or_refused(first: int, body: bytes):
    try:
        publication = read_publication(first, memoryview(body))
    except ValueError:
        return
    assert first in {0x30, 0x31, 0x38, 0x39}
    assert len(publication.topic.encode()) + len(publication.payload) + 2 == len(body)
