"""MQTT 3.1.1 packets, as many as frames of light and their receipts need: what is written, and what is believed.

Quality of service is 0 in both directions, because light has receipts of its own (`pulse_frames.Receipt`). Section
numbers are those of the OASIS standard "MQTT Version 3.1.1" (2014).
"""

import struct
from enum import IntEnum
from typing import NamedTuple

KEEPALIVE_S = 15
LONGEST_BODY = 2**25 + 2**17
"""A frame of 2^24 pulses with side light, its header and its topic; whoever announces more is not believed."""
_LONGEST_LENGTH = 4  # bytes of a remaining length, section 2.2.3
_PROTOCOL = b"\x00\x04MQTT\x04"
_CLEAN_SESSION, _PASSWORD, _USERNAME = 0x02, 0x40, 0x80
_RETAINED, _QUALITY = 0x01, 0x06
_SHORT = struct.Struct(">H")


class Packet(IntEnum):
    """First bytes of packets, less the flags of a publication."""

    CONNECT = 0x10
    CONNACK = 0x20
    PUBLISH = 0x30
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


class Publication(NamedTuple):
    """A message that the broker passes on."""

    topic: str
    payload: memoryview
    retained: bool


def encode(first: int, *body: bytes) -> bytes:
    """Write a whole packet."""
    return _head(first, sum(map(len, body))) + b"".join(body)


def connect(client_id: str, username: str | None, password: str | None) -> bytes:
    """Ask for a session that leaves nothing behind (section 3.1)."""
    flags = _CLEAN_SESSION
    fields = [_text(client_id)]
    if username is not None:
        flags |= _USERNAME
        fields.append(_text(username))
        if password is not None:
            flags |= _PASSWORD
            fields.append(_text(password))
    return encode(Packet.CONNECT, _PROTOCOL, bytes([flags]), _SHORT.pack(KEEPALIVE_S), *fields)


def subscribe(topic: str) -> bytes:
    """Ask for one topic; the answer is not told apart from others by its number, so all are number 1."""
    return encode(Packet.SUBSCRIBE, _SHORT.pack(1), _text(topic), b"\x00")


def unsubscribe(topic: str) -> bytes:
    """Ask for a topic no longer; likewise."""
    return encode(Packet.UNSUBSCRIBE, _SHORT.pack(1), _text(topic))


def publication_head(topic: str, payload_bytes: int) -> bytes:
    """Write what stands before the payload of a message that is not retained (section 3.3)."""
    name = _text(topic)
    return _head(Packet.PUBLISH, len(name) + payload_bytes) + name


def read_head(data: memoryview) -> Head | None:
    """Read a fixed header from the beginning of `data`; None if it is not complete yet.

    Raises ValueError where no such packet can be.
    """
    body = 0
    for place, byte in enumerate(data[1 : 1 + _LONGEST_LENGTH]):
        body |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            if body > LONGEST_BODY:
                raise ValueError(f"a packet of {body} bytes is longer than any frame of light")
            return Head(data[0], body, 2 + place)
    if len(data) > _LONGEST_LENGTH:
        raise ValueError("a packet's length does not end")
    return None


def read_publication(first: int, body: memoryview) -> Publication:
    """Read a message; ValueError if it is none, or of another quality of service than was asked for."""
    if first & 0xF0 != Packet.PUBLISH or first & _QUALITY:
        raise ValueError(f"a packet that begins with {first:#04x} is no message that was asked for")
    if len(body) < _SHORT.size:
        raise ValueError("a message ends within its topic")
    end = _SHORT.size + _SHORT.unpack_from(body)[0]
    if len(body) < end:
        raise ValueError("a message ends within its topic")
    return Publication(str(body[_SHORT.size : end], "utf-8"), body[end:], bool(first & _RETAINED))


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
