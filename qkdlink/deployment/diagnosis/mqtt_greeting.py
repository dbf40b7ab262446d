"""One login at an MQTT broker, message by message, because only MQTT 5 says whether a topic may be written.

With MQTT 3.1.1 a broker drops what its access list forbids and acknowledges it like everything
else (MQTT 3.1.1, section 3.3.5). MQTT 5 has a reason code in each answer (section 2.4). Nothing but zeros
is ever published.
"""

import asyncio
import struct
from dataclasses import dataclass

from qkdlink.common.transport.mqtt import BrokerAccess
from qkdlink.common.wire.mqtt_packets import read_connack, read_publication

CONNACK, PUBACK, SUBACK, PINGRESP = 0x20, 0x40, 0x90, 0xD0
_PUBLISH, _RETAINED = 0x30, 0x01
_CONNECT, _PUBLISH_QOS_1, _SUBSCRIBE, _PINGREQ, _DISCONNECT = 0x10, 0x32, 0x82, 0xC0, 0xE0
_CLEAN_START, _PASSWORD, _USERNAME = 0x02, 0x40, 0x80
_VERSION, _KEEPALIVE_S = 5, 15
_NO_PROPERTIES = b"\x00"
_PACKET_ID = 1
_LARGEST_ANSWER = 1 << 16


@dataclass(frozen=True, slots=True)
class Answer:
    """A packet of the broker, of a kind that has a reason code."""

    kind: int
    """CONNACK, PUBACK, SUBACK or PINGRESP; anything else is not an answer to what was asked."""
    reason: int
    """Below FIRST_REFUSAL it is consent."""
    largest_packet: int | None = None
    """Of a CONNACK: how long a packet the broker takes, in bytes, if it says so."""


class RetainedTooLong(ValueError):  # noqa: N818 - it is what was found, not a fault of ours
    """The broker keeps a message that no node of a link has sent."""

    def __init__(self, topic: str, size: int) -> None:
        super().__init__(f"a retained message of {size} bytes on {topic}")
        self.topic = topic
        self.size = size


def connect_packet(access: BrokerAccess, client_id: str) -> bytes:
    """Ask to be let in, without a will and without a past session."""
    flags, payload = _CLEAN_START, _text(client_id)
    if access.username is not None:
        flags |= _USERNAME
        payload += _text(access.username)
    if access.password is not None:
        flags |= _PASSWORD
        payload += _text(access.password)
    heading = _text("MQTT") + struct.pack(">BBH", _VERSION, flags, _KEEPALIVE_S)
    return _packet(_CONNECT, heading + _NO_PROPERTIES + payload)


def subscribe_packet(topic: str) -> bytes:
    """Ask to read a topic."""
    identifier = struct.pack(">H", _PACKET_ID)
    return _packet(_SUBSCRIBE, identifier + _NO_PROPERTIES + _text(topic) + b"\x01")


def publish_packet(topic: str, size: int = 0) -> bytes:
    """Ask to write a topic, with a message of so many zeros that nobody keeps."""
    return _packet(
        _PUBLISH_QOS_1, _text(topic) + struct.pack(">H", _PACKET_ID) + _NO_PROPERTIES + bytes(size)
    )


def ping_packet() -> bytes:
    """Ask for a sign of life, which comes behind everything that was asked for before."""
    return _packet(_PINGREQ, b"")


def disconnect_packet() -> bytes:
    """Leave."""
    return _packet(_DISCONNECT, b"")


async def read_answer(reader: asyncio.StreamReader, kind: int) -> Answer:
    """Wait for the answer of one kind; other packets are passed over.

    Raises EOFError or OSError if the broker hangs up, ValueError if what comes is not MQTT, and RetainedTooLong for a
    retained message that is longer than an answer can be, of which no more than the beginning is read.
    """
    while True:
        answer = decode(*await _next_packet(reader))
        if answer.kind == kind:
            return answer


def decode(first: int, body: bytes) -> Answer:
    """Read the reason code of a packet; ValueError if it is too short to have one."""
    kind = first & 0xF0
    match kind:
        case 0x20 if len(body) >= 2:
            return Answer(kind, body[1], read_connack(body).largest_packet)
        case 0x40 if len(body) >= 2:
            return Answer(kind, body[2] if len(body) > 2 else 0)  # left out where all is well (3.4.2.1)
        case 0x90 if len(body) >= 4:
            return Answer(kind, body[-1])
        case 0x30 | 0xD0:
            return Answer(kind, 0)
        case 0xE0:
            return Answer(kind, body[0] if body else 0)
        case _:
            raise ValueError(f"a packet of type {first:#04x} and {len(body)} bytes is no answer of a broker")


async def _next_packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    (first,) = await reader.readexactly(1)
    length = shift = 0
    while True:
        (byte,) = await reader.readexactly(1)
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
        if shift > 21:
            raise ValueError("the length of a packet never ends")
    if first & 0xF0 == _PUBLISH and length > _LARGEST_ANSWER:
        await _pass_over(reader, first, length)
        return first, b""
    if length > _LARGEST_ANSWER:
        raise ValueError(f"{length} bytes are no answer of a broker")
    return first, await reader.readexactly(length)


async def _pass_over(reader: asyncio.StreamReader, first: int, length: int) -> None:
    """Read past a message, which is light if it is not retained."""
    beginning = await reader.readexactly(1024)
    if first & _RETAINED:
        raise RetainedTooLong(read_publication(first & ~0x06, memoryview(beginning)).topic, length)
    left = length - len(beginning)
    while left:
        left -= len(await reader.readexactly(min(left, _LARGEST_ANSWER)))


def _packet(first: int, body: bytes) -> bytes:
    length, rest = b"", len(body)
    while True:
        rest, digit = rest >> 7, rest & 0x7F
        length += bytes([digit | (0x80 if rest else 0)])
        if not rest:
            return bytes([first]) + length + body


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">H", len(data)) + data
