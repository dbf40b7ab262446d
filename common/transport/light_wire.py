"""One connection to the broker for light: the bytes of MQTT packets, each received where it will be opened."""

import asyncio
import socket
from collections.abc import Callable

import numpy as np

from qkdlink.common.errors import LinkError
from qkdlink.common.transport.broker_refusals import LoginRefusedError, why_not_taken
from qkdlink.common.transport.mqtt import Delivery
from qkdlink.common.wire.mqtt_packets import (
    FIRST_REFUSAL,
    KEEPALIVE_S,
    LONGEST_BODY,
    Head,
    Packet,
    encode,
    read_connack,
    read_head,
    read_publication,
)

CONNECT_TIMEOUT_S = 10.0
_SOCKET_BUFFER = 2**21
_MOST_UNSENT = 2**20
"""Bytes waiting for the socket above which a sender waits too."""
_ROOM_FOR_HEADS = 512
"""What is read before the length of a packet is known; the rest of a frame goes to its own place at once."""
_BEGINNING = 2**10
"""How much of a packet that is too long is read, to tell its topic; the rest is received nowhere."""


class LightWire(asyncio.BufferedProtocol):
    """One connection's bytes."""

    def __init__(
        self,
        deliver: Callable[[str, Delivery], None],
        pass_over: Callable[[str, int], None],
        version: int,
    ) -> None:
        self._deliver = deliver
        self.taken: dict[str, int] = {}
        """How long a message the broker has taken on each topic, by its own word; empty with MQTT 3.1.1."""
        self.granted: set[str] = set()
        """The topics that the broker sends here."""
        self.unanswered = 0
        """Length of the longest message since which nothing has come back; 0 if there is none."""
        self.has_answered = False
        """Whether anything has come back after a message."""
        self._pass_over = pass_over
        self.version = version
        self.largest_packet: int | None = None
        self._unwanted = 0
        """Bytes still to come of a packet that is too long."""
        self._transport: asyncio.Transport | None = None
        self._heads = memoryview(bytearray(_ROOM_FOR_HEADS))
        self._filled = 0
        self._large: tuple[Head, memoryview] | None = None
        """A packet that is longer than the room for heads, and the place that it is received in."""
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._asked: tuple[Packet, asyncio.Future[None]] | None = None
        self._one_question = asyncio.Lock()
        self._heard = True
        self._lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    # --- what the line does with it ----------------------------------------------------------------------------

    async def send(self, *parts: bytes | memoryview) -> None:
        """Write parts of one packet, then wait until the socket has taken nearly all; LinkError if it is lost."""
        if self._transport is None or self._lost.done():
            raise LinkError("The connection to the broker is lost.")
        # Before Python 3.13.2 `writelines` never asks a sender to pause (CVE-2024-12254); `write` always has.
        *first, last = [part for part in parts if len(part)]
        self._transport.writelines(first)
        self._transport.write(last)
        await self._has_room.wait()

    async def ask(self, answer: Packet, *packet: bytes | memoryview) -> None:
        """Write a packet and wait for the broker's answer to it; LinkError if it is a refusal, or does not come."""
        async with self._one_question:
            answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._asked = answer, answered
            await self.send(*packet)
            await asyncio.wait(
                {answered, self._lost}, timeout=CONNECT_TIMEOUT_S, return_when="FIRST_COMPLETED"
            )
            self._asked = None
            if not answered.done():
                raise LinkError(
                    f"The broker {'has closed the connection' if self._lost.done() else 'does not answer'}."
                )
            answered.result()

    async def keep_alive(self) -> None:
        """Ask for a sign of life whenever none came by itself; LinkError when the connection is lost."""
        while not self._lost.done():
            self._heard = False
            await asyncio.wait({self._lost}, timeout=KEEPALIVE_S / 2)
            if not self._heard and not self._lost.done():
                await self.send(encode(Packet.PINGREQ))
                await asyncio.wait({self._lost}, timeout=KEEPALIVE_S / 2)
                if not self._heard:
                    break
        raise LinkError("The connection to the broker is lost.")

    def close(self) -> None:
        """Leave in order, and let nobody wait."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(encode(Packet.DISCONNECT))
            self._transport.abort() if not self._has_room.is_set() else self._transport.close()
        self.connection_lost(None)

    # --- what the event loop calls ------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Make the socket's buffers large enough for a frame: each is one call then."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - create_connection makes no other
        self._transport = transport
        transport.set_write_buffer_limits(high=_MOST_UNSENT)
        plug = transport.get_extra_info("socket")
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER)
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SOCKET_BUFFER)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's name and signature
        """Wake whoever waits."""
        if not self._lost.done():
            self._lost.set_result(None)
        self._has_room.set()

    def pause_writing(self) -> None:
        """Let senders wait."""
        self._has_room.clear()

    def resume_writing(self) -> None:
        """Let senders go on."""
        self._has_room.set()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's name and signature
        """Say where to put what comes next."""
        if self._unwanted:
            return memoryview(bytearray(min(self._unwanted, _SOCKET_BUFFER)))
        if self._large is None:
            return self._heads[self._filled :]
        return self._large[1][self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        """Take what has come."""
        self._heard = True
        if self.unanswered:
            self.unanswered, self.has_answered = 0, True
        if self._unwanted:
            self._unwanted -= nbytes
            return
        self._filled += nbytes
        try:
            if self._large is None:
                self._take_small()
            elif self._filled == len(self._large[1]):
                (head, body), self._large, self._filled = self._large, None, 0
                if len(body) < head.body:
                    self._skip(head, body)
                else:
                    self._take(head, body)
        except ValueError:  # what speaks there is no broker of ours
            assert self._transport is not None  # noqa: S101 - it has just delivered something
            self._transport.abort()

    def _take_small(self) -> None:
        """Take the packets that have come whole, and make a place for one that is longer than the room for heads."""
        start = 0
        while (head := read_head(self._heads[start : self._filled])) is not None:
            body, have = start + head.size, self._filled - start - head.size
            if have >= head.body:
                self._take(head, memoryview(bytes(self._heads[body : body + head.body])))
                start = body + head.body
                continue
            if head.size + head.body <= _ROOM_FOR_HEADS:
                break
            place = memoryview(
                np.empty(head.body if head.body <= LONGEST_BODY else _BEGINNING, np.uint8)
            )  # unlike a bytearray, not filled with zeros first
            place[:have] = self._heads[body : self._filled]
            self._large, self._filled = (head, place), have
            return
        rest = bytes(self._heads[start : self._filled])
        self._heads[: len(rest)] = rest
        self._filled = len(rest)

    def _skip(self, head: Head, beginning: memoryview) -> None:
        """Pass over the rest of a packet that is longer than any frame; its beginning says of what topic it is."""
        self._unwanted = head.body - len(beginning)
        publication = read_publication(head.first, beginning, self.version)
        self._pass_over(publication.topic, head.body + head.size)

    def _take(self, head: Head, body: memoryview) -> None:
        match head.first:
            case Packet.CONNACK:
                code, self.version, self.largest_packet = read_connack(body)
                self._answer(Packet.CONNACK, code)
            case Packet.SUBACK:
                self._answer(Packet.SUBACK, body[-1] if len(body) else FIRST_REFUSAL)
            case Packet.PUBACK if len(body) >= 2:
                code = body[2] if len(body) > 2 else 0  # left out where all is well (MQTT 5, section 3.4.2.1)
                self._answer(Packet.PUBACK, code if code >= FIRST_REFUSAL else 0)
            case Packet.UNSUBACK:
                self._answer(Packet.UNSUBACK, 0)  # what is not granted any more cannot be refused either
            case Packet.DISCONNECT:
                self.close()
            case Packet.PINGRESP:
                return
            case _:
                publication = read_publication(head.first, body, self.version)
                self._deliver(publication.topic, Delivery(publication.payload, publication.retained))

    def _answer(self, packet: Packet, code: int) -> None:
        if self._asked is None or self._asked[0] is not packet or self._asked[1].done():
            return
        if code == 0:
            self._asked[1].set_result(None)
        elif packet is Packet.PUBACK:
            self._asked[1].set_exception(LinkError(why_not_taken(code)))
        elif packet is Packet.CONNACK:
            self._asked[1].set_exception(LoginRefusedError(code))
        else:
            self._asked[1].set_exception(
                LinkError(f"The broker refuses a subscription with code {code:#04x}.")
            )
