"""One login at an MQTT broker, message by message, because only MQTT 5 says whether a topic may be written.

With MQTT 3.1.1 a broker drops what its access list forbids and acknowledges it like everything
else (MQTT 3.1.1, section 3.3.5). MQTT 5 has a reason code in each answer (section 2.4). Nothing but zeros
is ever published.
"""

import asyncio
from dataclasses import dataclass

from qkdlink.common.wire.mqtt_packets import Packet, read_connack, read_head, read_publication

_RETAINED, _QUALITY = 0x01, 0x06
_SHORTEST_PACKET, _LARGEST_ANSWER = 2, 1 << 16


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
        case Packet.CONNACK if len(body) >= 2:
            return Answer(kind, body[1], read_connack(body).largest_packet)
        case Packet.PUBACK if len(body) >= 2:
            return Answer(kind, body[2] if len(body) > 2 else 0)  # left out where all is well (3.4.2.1)
        case Packet.SUBACK if len(body) >= 4:
            return Answer(kind, body[-1])
        case Packet.PUBLISH | Packet.PINGRESP:
            return Answer(kind, 0)
        case Packet.DISCONNECT:
            return Answer(kind, body[0] if body else 0)
        case _:
            raise ValueError(f"a packet of type {first:#04x} and {len(body)} bytes is no answer of a broker")


async def _next_packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    data = await reader.readexactly(_SHORTEST_PACKET)
    while (head := read_head(memoryview(data))) is None:
        data += await reader.readexactly(1)
    first, length = head.first, head.body
    if first & 0xF0 == Packet.PUBLISH and length > _LARGEST_ANSWER:
        await _pass_over(reader, first, length)
        return first, b""
    if length > _LARGEST_ANSWER:
        raise ValueError(f"{length} bytes are no answer of a broker")
    return first, await reader.readexactly(length)


async def _pass_over(reader: asyncio.StreamReader, first: int, length: int) -> None:
    """Read past a message, which is light if it is not retained."""
    beginning = await reader.readexactly(1024)
    if first & _RETAINED:
        raise RetainedTooLong(read_publication(first & ~_QUALITY, memoryview(beginning)).topic, length)
    left = length - len(beginning)
    while left:
        left -= len(await reader.readexactly(min(left, _LARGEST_ANSWER)))
