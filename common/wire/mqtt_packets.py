"""MQTT packets, as many as frames of light and their receipts need: what is written, and what is believed.

Quality of service is 0 in both directions, because light has receipts of its own (`pulse_frames.Receipt`); with MQTT 5
the first message of its length on a topic has 1, because only then a broker says that it does not pass it on. MQTT 5 is
asked for first, because only there each end tells the other how long a packet may be. Section numbers are those of the
OASIS standards "MQTT Version 3.1.1" (2014) and "MQTT Version 5.0" (2019).
"""

import struct
from enum import IntEnum
from typing import NamedTuple

KEEPALIVE_S = 15
LONGEST_BODY = 2**25 + 2**17
"""A frame of 2^24 pulses with side light, its header and its topic: a longer packet is passed over, never stored."""
LONGEST_PACKET = LONGEST_BODY + 5
"""The same with its fixed header, which is what MQTT 5 counts (section 3.1.2.11.4)."""
LONGEST_MESSAGE = 2**16
"""Bytes of any message but light; of a longer one the beginning is kept, and the rest is never stored."""
_LONGEST_LENGTH = 4  # bytes of a remaining length, section 2.2.3
V311, V5 = 4, 5
"""Protocol levels."""
FIRST_REFUSAL = 0x80
"""Reason codes from here on are refusals (MQTT 5, section 2.4)."""
UNSUPPORTED = (0x01, 0x84)
"""What a broker answers that knows only an older MQTT: its own code (3.1.1), and the one of MQTT 5."""
_PROTOCOL = b"\x00\x04MQTT"
_MAXIMUM_PACKET_SIZE = 0x27
_FIXED = {0x11: 4, 0x13: 2, 0x21: 2, 0x22: 2, _MAXIMUM_PACKET_SIZE: 4}
_TEXTS = {0x12: 1, 0x15: 1, 0x16: 1, 0x1A: 1, 0x1C: 1, 0x1F: 1, 0x26: 2}
"""Properties of a CONNACK by their bytes, or by their texts (MQTT 5, section 2.2.2.2); any other has one byte."""
_CLEAN_SESSION, _PASSWORD, _USERNAME = 0x02, 0x40, 0x80
_RETAINED, _QUALITY_1, _QUALITY = 0x01, 0x02, 0x06
_SHORT = struct.Struct(">H")


class Packet(IntEnum):
    """First bytes of packets, less the flags of a publication."""

    CONNECT = 0x10
    CONNACK = 0x20
    PUBLISH = 0x30
    PUBACK = 0x40
    SUBSCRIBE = 0x82
    SUBACK = 0x90
    UNSUBSCRIBE = 0xA2
    UNSUBACK = 0xB0
    PINGREQ = 0xC0
    PINGRESP = 0xD0
    DISCONNECT = 0xE0


class Head(NamedTuple):
    """The fixed header of a packet."""

    first: int
    """Type and flags."""
    body: int
    """Length of what follows."""
    size: int
    """Length of this header itself, 2 to 5."""


class Welcome(NamedTuple):
    """A broker's answer to a login."""

    code: int
    """0 for success, else the reason of a refusal."""
    version: int
    """The protocol level that the broker speaks."""
    largest_packet: int | None
    """How long a packet it takes, in bytes; None if it does not say."""


class Publication(NamedTuple):
    """A message that the broker passes on."""

    topic: str
    payload: memoryview
    retained: bool


def encode(first: int, *body: bytes) -> bytes:
    """Write a whole packet."""
    return _head(first, sum(map(len, body))) + b"".join(body)


def connect(
    client_id: str,
    username: str | None,
    password: str | None,
    version: int = V311,
    *,
    longest_packet: int | None = LONGEST_PACKET,
) -> bytes:
    """Ask for a session that leaves nothing behind, and with MQTT 5 for no longer packets than these (section 3.1).

    With None any packet may come.
    """
    flags = _CLEAN_SESSION
    fields = [_text(client_id)]
    if username is not None:
        flags |= _USERNAME
        fields.append(_text(username))
        if password is not None:
            flags |= _PASSWORD
            fields.append(_text(password))
    wanted = b"" if longest_packet is None else struct.pack(">BI", _MAXIMUM_PACKET_SIZE, longest_packet)
    properties = b"" if version == V311 else bytes([len(wanted)]) + wanted
    heading = (_PROTOCOL, bytes([version, flags]), _SHORT.pack(KEEPALIVE_S), properties)
    return encode(Packet.CONNECT, *heading, *fields)


def subscribe(topic: str, version: int = V311, *, acknowledged: bool = False) -> bytes:
    """Ask for one topic; the answer is not told apart from others by its number, so all are number 1."""
    quality = bytes([acknowledged])
    return encode(Packet.SUBSCRIBE, _SHORT.pack(1), _no_properties(version), _text(topic), quality)


def unsubscribe(topic: str, version: int = V311) -> bytes:
    """Ask for a topic no longer; likewise."""
    return encode(Packet.UNSUBSCRIBE, _SHORT.pack(1), _no_properties(version), _text(topic))


def publication_head(
    topic: str, payload_bytes: int, version: int = V311, *, acknowledged: bool = False
) -> bytes:
    """Write what stands before the payload of a message that is not retained (section 3.3)."""
    number = _SHORT.pack(1) if acknowledged else b""
    name = _text(topic) + number + _no_properties(version)
    first = Packet.PUBLISH | _QUALITY_1 if acknowledged else Packet.PUBLISH
    return _head(first, len(name) + payload_bytes) + name


def read_connack(body: bytes | memoryview) -> Welcome:
    """Read the answer to a login; ValueError if it is none.

    A broker that does not know MQTT 5 answers in two bytes, whatever it was asked for; with MQTT 5 there are more.
    """
    if len(body) < 2:
        raise ValueError("a CONNACK has no reason code")
    if len(body) == 2:
        return Welcome(body[1], V311, None)
    data = bytes(body)
    size, start = _number(data, 2)
    maximum = None
    place, end = start, start + size
    if end > len(data):
        raise ValueError("the properties of a CONNACK do not end")
    while place < end:
        kind = data[place]
        if kind == _MAXIMUM_PACKET_SIZE and place + 5 <= end:
            (maximum,) = struct.unpack_from(">I", data, place + 1)
        place = _behind(data, kind, place + 1)
    return Welcome(data[1], V5, maximum)


def read_head(data: memoryview) -> Head | None:
    """Read a fixed header from the beginning of `data`; None if it is not complete yet.

    Raises ValueError where no such packet can be.
    """
    body = 0
    for place, byte in enumerate(data[1 : 1 + _LONGEST_LENGTH]):
        body |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return Head(data[0], body, 2 + place)
    if len(data) > _LONGEST_LENGTH:
        raise ValueError("a packet's length does not end")
    return None


def read_publication(first: int, body: memoryview, version: int = V311) -> Publication:
    """Read a message, or the beginning of one; ValueError if it is none, or of another quality than was asked for."""
    if first & 0xF0 != Packet.PUBLISH or first & _QUALITY:
        raise ValueError(f"a packet that begins with {first:#04x} is no message that was asked for")
    if len(body) < _SHORT.size:
        raise ValueError("a message ends within its topic")
    end = _SHORT.size + _SHORT.unpack_from(body)[0]
    if len(body) < end:
        raise ValueError("a message ends within its topic")
    topic = str(body[_SHORT.size : end], "utf-8")
    if version != V311:
        size, start = _number(bytes(body[end : end + _LONGEST_LENGTH]), 0)
        end += start + size
    return Publication(topic, body[end:], bool(first & _RETAINED))


def _no_properties(version: int) -> bytes:
    return b"" if version == V311 else b"\x00"


def _number(data: bytes, place: int) -> tuple[int, int]:
    """Read a variable byte integer (MQTT 5, section 1.5.5); return it and the place behind it."""
    value = 0
    for index, byte in enumerate(data[place : place + _LONGEST_LENGTH]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, place + index + 1
    raise ValueError("the length of properties does not end")


def _behind(data: bytes, kind: int, place: int) -> int:
    """Return the place behind the value of a property."""
    for _ in range(_TEXTS.get(kind, 0)):
        place += 2 + int.from_bytes(data[place : place + 2])
    return place if kind in _TEXTS else place + _FIXED.get(kind, 1)


def _head(first: int, length: int) -> bytes:
    written = bytearray([first])
    while length > 0x7F:
        written.append(length & 0x7F | 0x80)
        length >>= 7
    written.append(length)
    return bytes(written)


def _text(text: str) -> bytes:
    encoded = text.encode()
    return _SHORT.pack(len(encoded)) + encoded
