"""The broker as a node sees it: publish, subscribe, and come back after a loss. Only this file knows aiomqtt.

A broker that cannot be reached at the start is the node's error. One that is lost later is waited for: what was in
flight is lost (the light channel notices by its own numbers), and subscriptions are renewed.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import aiomqtt
import paho.mqtt.client as paho
from paho.mqtt.reasoncodes import ReasonCode

from common.errors import LinkError
from common.transport.addresses import Address
from common.transport.broker_refusals import LoginRefusedError, explain_broker

_QUEUED_DELIVERIES = 256
_QUEUED_PUBLISHES = 256
"""What a broker that acknowledges nothing makes a client keep; further messages are refused."""
LONGEST_MESSAGE = 2**16
"""Bytes of any message but light; of a longer one the beginning is kept, and the rest is never stored."""
_CHUNK_BYTES = 2**16
_CONNECT_TIMEOUT_S = 10.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 5.0
_KEEPALIVE_S = 15


@dataclass(frozen=True, slots=True)
class BrokerAccess:
    """How to reach the broker, and as whom."""

    address: Address
    client_id: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = None
    keepalive_s: int = _KEEPALIVE_S
    last_will: "LastWill | None" = None

    def lasting(self, keepalive_s: int, last_will: "LastWill") -> "BrokerAccess":
        """Return the same access for a client whose death is to be noticed soon."""
        return replace(self, keepalive_s=keepalive_s, last_will=last_will)


@dataclass(frozen=True, slots=True)
class LastWill:
    """What the broker publishes, retained, in the name of a client that is gone without a word."""

    topic: str
    payload: bytes = field(repr=False)

    def as_mqtt(self) -> aiomqtt.Will:
        """Return it as the client library wants it."""
        return aiomqtt.Will(self.topic, self.payload, qos=1, retain=True)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message from the broker."""

    payload: bytes | memoryview = field(repr=False)
    retained: bool
    too_long: bool = False
    """Whether it was longer than any message of ours, so that its payload is not here."""


class Subscription:
    """The messages of one topic, in the broker's order; what nobody takes in time is dropped and counted."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.dropped = 0
        self._queue: asyncio.Queue[Delivery] = asyncio.Queue(_QUEUED_DELIVERIES)

    def put(self, delivery: Delivery) -> None:
        """Queue a delivery, or count it as dropped."""
        try:
            self._queue.put_nowait(delivery)
        except asyncio.QueueFull:
            self.dropped += 1

    async def get(self) -> Delivery:
        """Wait for the next delivery."""
        return await self._queue.get()

    def ready(self) -> Delivery | None:
        """Return the next delivery if it is here."""
        return None if self._queue.empty() else self._queue.get_nowait()

    def drop(self) -> int:
        """Let everything drop that nobody has taken yet; return how many messages that were."""
        count = self._queue.qsize()
        for _ in range(count):
            self._queue.get_nowait()
        return count


class Bus:
    """A connection to the broker that renews itself; open one with `connect`."""

    def __init__(self, access: BrokerAccess) -> None:
        self._access = access
        self._subscriptions: dict[str, Subscription] = {}
        self._client: aiomqtt.Client | None = None
        self._lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done as soon as the connection that there is now is lost."""
        self._served = asyncio.Event()

    @property
    def address(self) -> Address:
        """Where the broker listens."""
        return self._access.address

    async def ready(self) -> None:
        """Wait until the broker is there and has all our subscriptions."""
        await self._served.wait()

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Hand a message to the broker (QoS 1: returns when the broker has it); LinkError if it is not there."""
        if self._client is None:
            raise LinkError(f"The broker at {self.address} is gone; waiting for it to come back.")
        # who only waited for the receipt would wait for the client's timeout when the connection is lost meanwhile
        taken = asyncio.ensure_future(self._client.publish(topic, payload, qos=1, retain=retain))
        try:
            await asyncio.wait({taken, self._lost}, return_when=asyncio.FIRST_COMPLETED)
            if not taken.done():
                raise LinkError(f"The broker at {self.address} was lost before it took a message.")
            await taken
        except aiomqtt.MqttError as error:
            raise LinkError(f"The broker at {self.address} did not take a message: {error}.") from error
        finally:
            taken.cancel()

    async def subscribe(self, topic: str) -> Subscription:
        """Receive a topic from now on; one subscription per topic. LinkError if the broker does not answer."""
        subscription = self._subscriptions[topic] = Subscription(topic)
        if self._client is not None:
            try:
                await self._client.subscribe(topic, qos=1)
            except aiomqtt.MqttError as error:
                raise LinkError(
                    f"The broker at {self.address} did not take a subscription: {error}."
                ) from error
        return subscription

    async def serve(self, client: aiomqtt.Client) -> None:
        """Deliver what the broker sends until it is lost; MqttError then."""
        self._client, self._lost = client, asyncio.get_running_loop().create_future()
        try:
            for topic in self._subscriptions:
                await client.subscribe(topic, qos=1)
            self._served.set()
            async for message in client.messages:
                subscription = self._subscriptions.get(message.topic.value)
                if subscription is not None and isinstance(message.payload, bytes):
                    too_long = len(message.payload) > LONGEST_MESSAGE
                    payload = b"" if too_long else message.payload
                    subscription.put(Delivery(payload, bool(message.retain), too_long))
        finally:
            self._served.clear()
            self._client = None
            self._lost.set_result(None)

    def client(self) -> aiomqtt.Client:
        """Prepare a client for one connection."""
        access = self._access
        client = aiomqtt.Client(
            access.address.host,
            access.address.port,
            identifier=access.client_id,
            username=access.username,
            password=access.password,
            tls_context=access.tls,
            timeout=_CONNECT_TIMEOUT_S,
            keepalive=access.keepalive_s,
            will=None if access.last_will is None else access.last_will.as_mqtt(),
            max_inflight_messages=64,
            max_queued_outgoing_messages=_QUEUED_PUBLISHES,
            # receipts and acknowledgements are small: with Nagle's algorithm each would wait for the one before
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        )
        _bound_what_is_received(client._client)  # noqa: SLF001 - the library has no setting for it
        return client


@asynccontextmanager
async def connect(access: BrokerAccess) -> AsyncIterator[Bus]:
    """Connect to the broker, and stay connected while the context is open.

    Raises LinkError or CredentialsError at the start if the broker is not there or refuses; afterwards a lost broker is
    waited for.
    """
    bus = Bus(access)
    first = bus.client()
    try:
        await first.__aenter__()
    except (aiomqtt.MqttError, OSError) as error:
        raise explain_broker(_cause(error), access.address, tls=access.tls is not None) from error
    serving = asyncio.create_task(_stay_connected(bus, first), name="broker")
    await asyncio.sleep(0)
    try:
        yield bus
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


async def _stay_connected(bus: Bus, first: aiomqtt.Client) -> None:
    client, entered, pause = first, True, _FIRST_PAUSE_S
    while True:
        try:
            if not entered:
                await client.__aenter__()
            pause = _FIRST_PAUSE_S
            try:
                await bus.serve(client)
            finally:
                await _leave(client)
        except (aiomqtt.MqttError, OSError):
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)
        client, entered = bus.client(), False


def _bound_what_is_received(client: paho.Client) -> None:
    """Keep no more of a packet than the longest of ours and a little, however long the broker says that it is.

    The library asks its socket for all that is left of a packet, and joins what comes until it is whole.
    """
    receive = client._sock_recv  # noqa: SLF001 - it has no public place for this

    def bounded(size: int) -> bytes:
        del client._in_packet["packet"][2 * LONGEST_MESSAGE :]  # noqa: SLF001 - see there
        return receive(min(size, _CHUNK_BYTES))

    client.__dict__["_sock_recv"] = bounded


async def _leave(client: aiomqtt.Client) -> None:
    try:
        await client.__aexit__(None, None, None)
    except aiomqtt.MqttError:
        return  # it was lost, which is why we leave


def _cause(error: Exception) -> Exception:
    """Return what the client library's error says of a login: the broker's refusal, a timeout, or its own cause."""
    match error:
        case aiomqtt.exceptions.MqttConnectError(rc=int() as code):
            return LoginRefusedError(code)
        case aiomqtt.exceptions.MqttConnectError(rc=ReasonCode(value=code)):
            return LoginRefusedError(code)
        case aiomqtt.MqttCodeError():
            return ConnectionResetError()
        case _:
            return error if error.__context__ is not None else TimeoutError(str(error))
