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
from typing import Any

import aiomqtt
import paho.mqtt.client as paho
from paho.mqtt.reasoncodes import ReasonCode

from qkdlink.common.errors import LinkError
from qkdlink.common.transport.addresses import Address
from qkdlink.common.transport.broker_refusals import (
    TOO_LONG,
    LoginRefusedError,
    MessageRefusedError,
    explain_broker,
    too_long_for,
    why_not_taken,
)
from qkdlink.common.transport.broker_trouble import BrokerTrouble
from qkdlink.common.transport.renewal import stay_connected
from qkdlink.common.wire.mqtt_packets import (
    FIRST_REFUSAL,
    LONGEST_MESSAGE,
    UNSUPPORTED,
    V5,
    V311,
    publication_head,
)

_QUEUED_DELIVERIES = 256
_QUEUED_PUBLISHES = 256
"""What a broker that acknowledges nothing makes a client keep; further messages are refused."""
_CHUNK_BYTES = 2**16
_CONNECT_TIMEOUT_S = 10.0
_KEEPALIVE_S = 15
_MOST_IN_FLIGHT = 64
_CONNECTION = "messages"


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


class _Client(aiomqtt.Client):
    """aiomqtt with the answers of the broker that aiomqtt 2.5 does not read: reason codes and limits of MQTT 5."""

    def __init__(self, *args: Any, **settings: Any) -> None:  # noqa: ANN401 - they are aiomqtt's
        super().__init__(*args, **settings)
        self._receipts: dict[int, asyncio.Future[int]] = {}
        self._read_receipts(self._client)
        self._places = asyncio.Semaphore(_MOST_IN_FLIGHT)
        """For messages under way: paho obeys no Receive Maximum, and a broker closes on a client that exceeds it."""
        self.largest_packet: int | None = None
        """How long a packet this broker takes, in bytes, if it says so."""

    async def send(self, topic: str, payload: bytes, *, retain: bool) -> int:
        """Publish with QoS 1 and return the reason code of the receipt; MqttError if none comes."""
        try:
            async with asyncio.timeout(self.timeout), self._places:
                info = self._client.publish(topic, payload, 1, retain)
                if info.rc != paho.MQTT_ERR_SUCCESS:
                    raise aiomqtt.MqttCodeError(info.rc, "Could not publish message")
                receipt: asyncio.Future[int] = asyncio.get_running_loop().create_future()
                self._receipts[info.mid] = receipt
                try:
                    return await receipt
                finally:
                    del self._receipts[info.mid]
        except TimeoutError:
            raise aiomqtt.MqttError("no receipt came") from None

    @property
    def is_misunderstood(self) -> bool:
        """Whether the broker has answered a login with something that the library cannot read."""
        return self._disconnected.done()

    def _read_receipts(self, client: paho.Client) -> None:
        """Take the reason codes out of receipts before paho sees them.

        It gives up a connection at a code that MQTT 5 has for other packets only, and Mosquitto answers a message that
        exceeds its `message_size_limit` with such a code (0x95).
        """
        handle = client._handle_pubackcomp  # noqa: SLF001 - it has no public place for this

        def read(command: Any) -> Any:  # noqa: ANN401 - paho's own
            body = client._in_packet["packet"]  # noqa: SLF001 - see there
            receipt = self._receipts.get(int.from_bytes(body[:2]))
            if receipt is not None and not receipt.done():
                receipt.set_result(body[2] if len(body) > 2 else 0)
            del body[2:]
            return handle(command)

        client.__dict__["_handle_pubackcomp"] = read

    def _on_connect(
        self,
        client: paho.Client,
        userdata: Any,  # noqa: ANN401 - as the other, part of the library's signature
        flags: paho.ConnectFlags,
        reason_code: ReasonCode,
        properties: Any = None,  # noqa: ANN401
    ) -> None:
        self._places = asyncio.Semaphore(min(_MOST_IN_FLIGHT, getattr(properties, "ReceiveMaximum", 2**16)))
        self.largest_packet = getattr(properties, "MaximumPacketSize", None)
        super()._on_connect(client, userdata, flags, reason_code, properties)


class Bus:
    """A connection to the broker that renews itself; open one with `connect`."""

    def __init__(self, access: BrokerAccess) -> None:
        self._access = access
        self._version = V5
        """MQTT 5 until a broker has said that it does not know it: only there a receipt has a reason code."""
        self.trouble = BrokerTrouble(access.address)
        self._subscriptions: dict[str, Subscription] = {}
        self._client: _Client | None = None
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
        """Hand a message to the broker (QoS 1: returns when the broker has it).

        LinkError if the broker is not there, MessageRefusedError if it says that it does not take the message. A broker
        that speaks only MQTT 3.1.1 cannot say so (MQTT 3.1.1, section 3.3.5).
        """
        client = self._client
        if client is None:
            raise LinkError(f"The broker at {self.address} is gone; waiting for it to come back.")
        try:
            packet = len(publication_head(topic, len(payload), V5, acknowledged=True)) + len(payload)
            if client.largest_packet is not None and packet > client.largest_packet:
                raise MessageRefusedError(too_long_for(self.address, client.largest_packet, packet), TOO_LONG)
            code = await self._receipt(client, topic, payload, retain=retain)
            if code >= FIRST_REFUSAL:
                raise MessageRefusedError(
                    f"The broker at {self.address} did not take a message on {topic}: {why_not_taken(code)}.",
                    code,
                )
        except MessageRefusedError as refusal:
            self.trouble.refused(str(refusal))
            raise

    async def _receipt(self, client: _Client, topic: str, payload: bytes, *, retain: bool) -> int:
        # who only waited for the receipt would wait for the client's timeout when the connection is lost meanwhile
        taken: asyncio.Future[int] = asyncio.ensure_future(client.send(topic, payload, retain=retain))
        waiting: set[asyncio.Future[Any]] = {taken, self._lost}
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if not taken.done():
                raise LinkError(f"The broker at {self.address} was lost before it took a message.")
            return await taken
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

    async def serve(self, client: _Client) -> None:
        """Deliver what the broker sends until it is lost; LinkError then."""
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
        except (aiomqtt.MqttError, OSError) as error:
            raise LinkError(f"The broker at {self.address} is lost.") from error
        finally:
            self._served.clear()
            self._client = None
            self._lost.set_result(None)
            await _leave(client)

    async def open(self) -> _Client:
        """Connect once; LinkError or CredentialsError if the broker is not there or refuses."""
        client = self._new_client()
        try:
            try:
                await client.__aenter__()
            except aiomqtt.MqttError as error:
                if self._version == V311 or not (client.is_misunderstood or _is_unsupported(error)):
                    raise
                self._version = V311
                client = self._new_client()
                await client.__aenter__()
        except (aiomqtt.MqttError, OSError) as error:
            raise explain_broker(_cause(error), self.address, tls=self._access.tls is not None) from error
        return client

    def _new_client(self) -> _Client:
        access = self._access
        client = _Client(
            access.address.host,
            access.address.port,
            identifier=access.client_id,
            username=access.username,
            password=access.password,
            protocol=aiomqtt.ProtocolVersion(self._version),
            tls_context=access.tls,
            timeout=_CONNECT_TIMEOUT_S,
            keepalive=access.keepalive_s,
            will=None if access.last_will is None else access.last_will.as_mqtt(),
            max_inflight_messages=_MOST_IN_FLIGHT,
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
    waited for, and the bus's `trouble` reports what the broker says meanwhile.
    """
    bus = Bus(access)
    serving = asyncio.create_task(stay_connected(bus, _CONNECTION, await bus.open()), name="broker")
    await asyncio.sleep(0)
    try:
        yield bus
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


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


def _is_unsupported(error: aiomqtt.MqttError) -> bool:
    cause = _cause(error)
    return isinstance(cause, LoginRefusedError) and cause.code in UNSUPPORTED


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
