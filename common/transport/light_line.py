"""A connection to the broker for light alone: MQTT with nothing between the socket and the frame.

It offers what `mqtt.Bus` offers, for messages of a megabyte, hundreds in a second: what is sent goes from where it
lies to the socket, and what comes is received where it will be opened. Everything else that a node says to its
broker goes through `mqtt`.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import numpy as np

from common.errors import LinkError
from common.transport.addresses import Address
from common.transport.mqtt import BrokerAccess, Delivery, Subscription
from common.wire.mqtt_packets import (
    KEEPALIVE_S,
    Head,
    Packet,
    connect,
    encode,
    publication_head,
    read_head,
    read_publication,
    subscribe,
    unsubscribe,
)

_CONNECT_TIMEOUT_S = 10.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 5.0
_SOCKET_BUFFER = 2**21
_MOST_UNSENT = 2**20
"""Bytes waiting for the socket above which a sender waits too."""
_ROOM_FOR_HEADS = 512
"""What is read before the length of a packet is known; the rest of a frame goes to its own place at once."""
_REFUSALS = {4: "the password is wrong", 5: "it does not let us in"}


class LightLine:
    """A connection that renews itself; open one with `connect_light`."""

    def __init__(self, access: BrokerAccess) -> None:
        self._access = access
        self._subscriptions: dict[str, Subscription] = {}
        self._wire: _Wire | None = None
        self._served = asyncio.Event()
        self._settling = asyncio.Lock()
        self.on_stray: Callable[[str], None] = lambda _: None
        """Called with the topic of each message that is kept nowhere, because its topic is not wanted any more."""

    @property
    def address(self) -> Address:
        """Where the broker listens."""
        return self._access.address

    async def ready(self) -> None:
        """Wait until the broker is there and has all our subscriptions."""
        await self._served.wait()

    async def publish(self, topic: str, *payload: bytes | memoryview) -> None:
        """Send a message in these parts, without joining them; LinkError if the broker is not there.

        Returns when the socket has room again. That the message has arrived, only a receipt says.
        """
        if self._wire is None:
            raise LinkError(f"The broker at {self.address} is gone; waiting for it to come back.")
        await self._wire.send(publication_head(topic, sum(map(len, payload))), *payload)

    async def subscribe(self, topic: str) -> Subscription:
        """Receive a topic from now on; one subscription per topic. LinkError if the broker does not answer."""
        subscription = self.plug(topic)
        await self.settle()
        return subscription

    def plug(self, topic: str) -> Subscription:
        """Want a topic; `settle` asks for it, or the next connection does."""
        subscription = self._subscriptions[topic] = Subscription(topic)
        return subscription

    def unplug(self, topic: str) -> None:
        """Want a topic no longer, likewise: what still comes of it is kept nowhere."""
        self._subscriptions.pop(topic, None)

    async def settle(self) -> None:
        """Let the broker send what is wanted now and nothing else; LinkError if it refuses or does not answer."""
        if self._wire is not None:
            await self._settle(self._wire)

    async def _settle(self, wire: "_Wire") -> None:
        async with self._settling:
            for topic in self._subscriptions.keys() - wire.granted:
                await wire.ask(subscribe(topic), Packet.SUBACK)
                wire.granted.add(topic)
            for topic in wire.granted - self._subscriptions.keys():
                await wire.ask(unsubscribe(topic), Packet.UNSUBACK)
                wire.granted.discard(topic)

    async def open(self) -> "_Wire":
        """Connect once; LinkError if the broker is not there or refuses."""
        access = self._access
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                _, wire = await asyncio.get_running_loop().create_connection(
                    lambda: _Wire(self._deliver), access.address.host, access.address.port, ssl=access.tls
                )
                await wire.ask(connect(access.client_id, access.username, access.password), Packet.CONNACK)
        except (OSError, TimeoutError) as error:
            reason = str(error).removeprefix("[Errno 111] ").rstrip(".").lower() or "it does not answer"
            raise LinkError(
                f"There is no MQTT broker at {access.address} ({reason}): start one, or name another in [broker]."
            ) from error
        return wire

    async def serve(self, wire: "_Wire") -> None:
        """Deliver what the broker sends until it is lost; LinkError then."""
        self._wire = wire
        try:
            await self._settle(wire)
            self._served.set()
            await wire.keep_alive()
        finally:
            self._served.clear()
            self._wire = None
            wire.close()

    def _deliver(self, topic: str, delivery: Delivery) -> None:
        subscription = self._subscriptions.get(topic)
        if subscription is not None:
            subscription.put(delivery)
        else:
            self.on_stray(topic)


@asynccontextmanager
async def connect_light(access: BrokerAccess) -> AsyncIterator[LightLine]:
    """Connect to the broker, and stay connected while the context is open.

    Raises LinkError at the start if the broker is not there; afterwards a lost broker is waited for.
    """
    line = LightLine(access)
    serving = asyncio.create_task(_stay_connected(line, await line.open()), name="light line")
    await asyncio.sleep(0)
    try:
        yield line
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


async def _stay_connected(line: LightLine, wire: "_Wire | None") -> None:
    pause = _FIRST_PAUSE_S
    while True:
        try:
            wire = wire or await line.open()
            pause = _FIRST_PAUSE_S
            await line.serve(wire)
        except LinkError:
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)
        wire = None


class _Wire(asyncio.BufferedProtocol):
    """One connection's bytes."""

    def __init__(self, deliver: Callable[[str, Delivery], None]) -> None:
        self._deliver = deliver
        self.granted: set[str] = set()
        """The topics that the broker sends here."""
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

    async def ask(self, packet: bytes, answer: Packet) -> None:
        """Write a packet and wait for the broker's answer to it; LinkError if it is a refusal, or does not come."""
        async with self._one_question:
            answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._asked = answer, answered
            await self.send(packet)
            await asyncio.wait(
                {answered, self._lost}, timeout=_CONNECT_TIMEOUT_S, return_when="FIRST_COMPLETED"
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
        if self._large is None:
            return self._heads[self._filled :]
        return self._large[1][self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        """Take what has come."""
        self._heard = True
        self._filled += nbytes
        try:
            if self._large is None:
                self._take_small()
            elif self._filled == len(self._large[1]):
                (head, body), self._large, self._filled = self._large, None, 0
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
                np.empty(head.body, np.uint8)
            )  # unlike a bytearray, not filled with zeros first
            place[:have] = self._heads[body : self._filled]
            self._large, self._filled = (head, place), have
            return
        rest = bytes(self._heads[start : self._filled])
        self._heads[: len(rest)] = rest
        self._filled = len(rest)

    def _take(self, head: Head, body: memoryview) -> None:
        match head.first:
            case Packet.CONNACK | Packet.SUBACK | Packet.UNSUBACK:
                self._answer(Packet(head.first), body)
            case Packet.PINGRESP:
                return
            case _:
                publication = read_publication(head.first, body)
                self._deliver(publication.topic, Delivery(publication.payload, publication.retained))

    def _answer(self, packet: Packet, body: memoryview) -> None:
        if self._asked is None or self._asked[0] is not packet or self._asked[1].done():
            return
        code = body[-1] if len(body) else 0x80
        if packet is Packet.UNSUBACK:
            code = 0  # it has no code, and nothing in it but the question's number (section 3.11)
        if code == 0:
            self._asked[1].set_result(None)
        else:
            reason = _REFUSALS.get(code, f"it answers with code {code}")
            self._asked[1].set_exception(LinkError(f"The broker refuses us: {reason}."))
