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

from common.errors import CredentialsError, LinkError
from common.transport.addresses import Address
from common.transport.broker_refusals import LoginRefusedError, explain_broker
from common.transport.mqtt import BrokerAccess, Delivery, Subscription
from common.wire.mqtt_packets import (
    FIRST_REFUSAL,
    KEEPALIVE_S,
    LONGEST_BODY,
    UNSUPPORTED,
    V5,
    V311,
    Head,
    Packet,
    connect,
    encode,
    publication_head,
    read_connack,
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
_BEGINNING = 2**10
"""How much of a packet that is too long is read, to tell its topic; the rest is received nowhere."""
_TOLD_OVERSIZED = 3
"""Packets too long that are told in the life of a node; who sends more of them fills no journal."""

type OnOversized = Callable[[str], None]


class LightLine:
    """A connection that renews itself; open one with `connect_light`."""

    def __init__(self, access: BrokerAccess, on_oversized: OnOversized | None = None) -> None:
        self._access = access
        self._on_oversized = on_oversized
        self._oversized = 0
        self._version = V5
        self.largest_packet: int | None = None
        """How long a packet this broker takes, in bytes, as far as it has said so."""
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
        size = sum(map(len, payload))
        head = publication_head(topic, size, self._version)
        self.check_room_for(len(head) + size)
        await self._wire.send(head, *payload)

    def check_room_for(self, packet_bytes: int) -> None:
        """Raise LinkError, with both numbers, if this broker takes no packet of so many bytes."""
        if self.largest_packet is not None and packet_bytes > self.largest_packet:
            raise LinkError(
                f"The broker at {self.address} takes packets of at most {self.largest_packet} bytes, and this node has"
                f" to send one of {packet_bytes}: raise the broker's limit (Mosquitto: max_packet_size), or lower"
                " frame_pulses of Alice."
            )

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
                await wire.ask(subscribe(topic, wire.version), Packet.SUBACK)
                wire.granted.add(topic)
            for topic in wire.granted - self._subscriptions.keys():
                await wire.ask(unsubscribe(topic, wire.version), Packet.UNSUBACK)
                wire.granted.discard(topic)

    async def open(self) -> "_Wire":
        """Connect once; LinkError or CredentialsError if the broker is not there or refuses.

        MQTT 5 is asked for until a broker has said that it does not know it.
        """
        try:
            return await self._log_in()
        except LoginRefusedError as refused:
            if refused.code not in UNSUPPORTED or self._version == V311:
                raise self._explained(refused) from refused
            self._version = V311
        try:
            return await self._log_in()
        except LoginRefusedError as refused:
            raise self._explained(refused) from refused

    async def _log_in(self) -> "_Wire":
        access = self._access
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                _, wire = await asyncio.get_running_loop().create_connection(
                    lambda: _Wire(self._deliver, self._pass_over, self._version),
                    access.address.host,
                    access.address.port,
                    ssl=access.tls,
                )
                hello = connect(access.client_id, access.username, access.password, self._version)
                await _say_hello(wire, hello)
        except LoginRefusedError:
            raise
        except (OSError, TimeoutError) as error:
            raise self._explained(error) from error
        self._version, self.largest_packet = wire.version, wire.largest_packet
        return wire

    def _explained(self, error: OSError) -> CredentialsError | LinkError:
        return explain_broker(error, self.address, tls=self._access.tls is not None)

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

    def _pass_over(self, topic: str, packet_bytes: int) -> None:
        self._oversized += 1
        if self._on_oversized is not None and self._oversized <= _TOLD_OVERSIZED:
            self._on_oversized(
                f"a message of {packet_bytes} bytes on {topic} is longer than any frame of light and was passed over;"
                " if it comes again after each connection, the broker keeps it: let it forget what is retained there"
            )

    def _deliver(self, topic: str, delivery: Delivery) -> None:
        subscription = self._subscriptions.get(topic)
        if subscription is not None:
            subscription.put(delivery)
        else:
            self.on_stray(topic)


@asynccontextmanager
async def connect_light(
    access: BrokerAccess, on_oversized: OnOversized | None = None
) -> AsyncIterator[LightLine]:
    """Connect to the broker, and stay connected while the context is open.

    `on_oversized` is told, in a sentence, of packets that were too long to be received. Raises LinkError or
    CredentialsError at the start if the broker is not there or refuses; afterwards a lost broker is waited for.
    """
    line = LightLine(access, on_oversized)
    serving = asyncio.create_task(_stay_connected(line, await line.open()), name="light line")
    await asyncio.sleep(0)
    try:
        yield line
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


async def _say_hello(wire: "_Wire", hello: bytes) -> None:
    """Log in, and close the connection if that fails."""
    try:
        await wire.ask(hello, Packet.CONNACK)
    except BaseException:
        wire.close()
        raise


async def _stay_connected(line: LightLine, wire: "_Wire | None") -> None:
    pause = _FIRST_PAUSE_S
    while True:
        try:
            wire = wire or await line.open()
            pause = _FIRST_PAUSE_S
            await line.serve(wire)
        except (LinkError, CredentialsError):
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)
        wire = None


class _Wire(asyncio.BufferedProtocol):
    """One connection's bytes."""

    def __init__(
        self,
        deliver: Callable[[str, Delivery], None],
        pass_over: Callable[[str, int], None],
        version: int,
    ) -> None:
        self._deliver = deliver
        self.granted: set[str] = set()
        """The topics that the broker sends here."""
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
        if self._unwanted:
            return memoryview(bytearray(min(self._unwanted, _SOCKET_BUFFER)))
        if self._large is None:
            return self._heads[self._filled :]
        return self._large[1][self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        """Take what has come."""
        self._heard = True
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
        elif packet is Packet.CONNACK:
            self._asked[1].set_exception(LoginRefusedError(code))
        else:
            self._asked[1].set_exception(
                LinkError(f"The broker refuses a subscription with code {code:#04x}.")
            )
