"""A connection to the broker for light alone: MQTT with nothing between the socket and the frame.

It offers what `mqtt.Bus` offers, for messages of a megabyte, hundreds in a second: what is sent goes from where it
lies to the socket, and what comes is received where it will be opened. Everything else that a node says to its
broker goes through `mqtt`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from qkdlink.common.errors import CredentialsError, LinkError
from qkdlink.common.transport.addresses import Address
from qkdlink.common.transport.broker_refusals import LoginRefusedError, explain_broker, too_long_for
from qkdlink.common.transport.broker_trouble import BrokerTrouble
from qkdlink.common.transport.light_wire import CONNECT_TIMEOUT_S, LightWire
from qkdlink.common.transport.mqtt import BrokerAccess, Delivery, Subscription
from qkdlink.common.transport.renewal import stay_connected
from qkdlink.common.wire.mqtt_packets import (
    UNSUPPORTED,
    V5,
    V311,
    Packet,
    connect,
    publication_head,
    subscribe,
    unsubscribe,
)

_CONNECTION = "light"
_TELLING_LOSSES = 2
"""Connections in a row that end on a message before a cause is suspected: one is no sign, a broker may be restarted."""
_TOLD_OVERSIZED = 3
"""Packets too long that are told in the life of a node; who sends more of them fills no journal."""

type OnOversized = Callable[[str], None]


class LightLine:
    """A connection that renews itself; open one with `connect_light`."""

    def __init__(
        self,
        access: BrokerAccess,
        on_oversized: OnOversized | None = None,
        trouble: BrokerTrouble | None = None,
    ) -> None:
        self._access = access
        self.trouble = BrokerTrouble(access.address) if trouble is None else trouble
        self._closed_on: list[int] = []
        """Lengths of the messages on which the broker has closed the connection, since it last took one."""
        self._on_oversized = on_oversized
        self._oversized = 0
        self._version = V5
        self.largest_packet: int | None = None
        """How long a packet this broker takes, in bytes, as far as it has said so."""
        self._subscriptions: dict[str, Subscription] = {}
        self._wire: LightWire | None = None
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

        Returns when the socket has room again; with MQTT 5, when the broker has taken the first message so long on a
        topic. That a message has arrived, only a receipt says.
        """
        if self._wire is None:
            raise LinkError(
                self.suspicion or f"The broker at {self.address} is gone; waiting for it to come back."
            )
        wire, size = self._wire, sum(map(len, payload))
        new = wire.version == V5 and size > wire.taken.get(topic, -1)
        head = publication_head(topic, size, wire.version, acknowledged=new)
        self.check_room_for(len(head) + size)
        wire.unanswered = max(wire.unanswered, size)
        if not new:
            await wire.send(head, *payload)
            return
        try:
            await wire.ask(Packet.PUBACK, head, *payload)
        except LinkError as error:
            raise LinkError(
                f"The broker at {self.address} did not take a message of {size} bytes on {topic}: {error}"
            ) from error
        wire.taken[topic] = size

    @property
    def suspicion(self) -> str:
        """Say what is likely if the broker has closed connection after connection on a message; empty otherwise.

        With MQTT 3.1.1 a broker has no other way to refuse a message that exceeds a limit of its own.
        """
        if len(self._closed_on) < _TELLING_LOSSES:
            return ""
        return (
            f"The broker at {self.address} takes connections, and closes each one after a message of"
            f" {min(self._closed_on)} bytes or more: it probably has a limit below that; raise the"
            " broker's limit (Mosquitto: message_size_limit, max_packet_size), or lower frame_pulses of Alice."
        )

    def check_room_for(self, packet_bytes: int) -> None:
        """Raise LinkError, with both numbers, if this broker takes no packet of so many bytes."""
        if self.largest_packet is not None and packet_bytes > self.largest_packet:
            raise LinkError(too_long_for(self.address, self.largest_packet, packet_bytes))

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

    async def _settle(self, wire: LightWire) -> None:
        async with self._settling:
            for topic in self._subscriptions.keys() - wire.granted:
                await wire.ask(Packet.SUBACK, subscribe(topic, wire.version))
                wire.granted.add(topic)
            for topic in wire.granted - self._subscriptions.keys():
                await wire.ask(Packet.UNSUBACK, unsubscribe(topic, wire.version))
                wire.granted.discard(topic)

    async def open(self) -> LightWire:
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

    async def _log_in(self) -> LightWire:
        access = self._access
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                _, wire = await asyncio.get_running_loop().create_connection(
                    lambda: LightWire(self._deliver, self._pass_over, self._version),
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

    async def serve(self, wire: LightWire) -> None:
        """Deliver what the broker sends until it is lost; LinkError then."""
        self._wire = wire
        try:
            await self._settle(wire)
            self._served.set()
            await wire.keep_alive()
        finally:
            self._served.clear()
            self._wire = None
            self._judge_the_loss_of(wire)
            wire.close()

    def _judge_the_loss_of(self, wire: LightWire) -> None:
        if wire.has_answered:
            self._closed_on.clear()
        if wire.unanswered:
            self._closed_on = [*self._closed_on[1 - _TELLING_LOSSES :], wire.unanswered]
        if self.suspicion:
            self.trouble.refused(self.suspicion)

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
    access: BrokerAccess, on_oversized: OnOversized | None = None, trouble: BrokerTrouble | None = None
) -> AsyncIterator[LightLine]:
    """Connect to the broker, and stay connected while the context is open.

    `on_oversized` is told, in a sentence, of packets that were too long to be received; `trouble` of a broker that is
    lost, refuses, or closes the connection on frames. Raises LinkError or
    CredentialsError at the start if the broker is not there or refuses; afterwards a lost broker is waited for.
    """
    line = LightLine(access, on_oversized, trouble)
    serving = asyncio.create_task(stay_connected(line, _CONNECTION, await line.open()), name="light line")
    await asyncio.sleep(0)
    try:
        yield line
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


async def _say_hello(wire: LightWire, hello: bytes) -> None:
    """Log in, and close the connection if that fails."""
    try:
        await wire.ask(Packet.CONNACK, hello)
    except BaseException:
        wire.close()
        raise
