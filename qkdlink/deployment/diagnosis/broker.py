"""Does the broker let this node in, and may it write and read what it has to?"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from qkdlink.common.protocol.roles import Role
from qkdlink.common.transport.broker_refusals import TOO_LONG, LoginRefusedError, explain_broker
from qkdlink.common.transport.mqtt import BrokerAccess
from qkdlink.common.wire.mqtt_packets import (
    FIRST_REFUSAL,
    UNSUPPORTED,
    V5,
    Packet,
    connect,
    encode,
    publication_head,
    subscribe,
)
from qkdlink.common.wire.topics import Topics
from qkdlink.deployment.diagnosis.causes import Obstacle, obstacle_of
from qkdlink.deployment.diagnosis.findings import Finding
from qkdlink.deployment.diagnosis.house import Patient
from qkdlink.deployment.diagnosis.mqtt_greeting import Answer, RetainedTooLong, read_answer
from qkdlink.deployment.diagnosis.network import BROKER, PATIENCE_S

_ALERT_PATIENCE_S = 0.5


async def check_broker(patient: Patient, access: BrokerAccess) -> Finding:
    """Log in at the broker as this node, ask for the topics that it needs, and leave.

    It logs in under an identifier of its own. The examination spares a running node this all the same: a broker may
    be told to give each account one place.
    """
    where = f"{BROKER} at {access.address}"
    try:
        async with asyncio.timeout(PATIENCE_S), _line(access) as (reader, writer):
            await _hear_refusal(reader)
            return await _log_in(patient, access, reader, writer)
    except RetainedTooLong as kept:
        return Finding.failed(
            Obstacle.BROKER,
            f"{where} keeps a retained message of {kept.size} bytes on {kept.topic}, which no node of a link has sent:"
            f" clear it (`mosquitto_pub -t {kept.topic} -r -n`, as a user who may write there)",
        )
    except ValueError as error:
        if isinstance(error, OSError):  # a certificate that is not believed is both
            return _refused(access, error)
        said = f"what answers at {access.address} is not an MQTT broker ({error}): correct the address"
        return Finding.failed(Obstacle.BROKER, said)
    except (EOFError, OSError) as error:
        return _refused(access, error)


def _refused(access: BrokerAccess, error: Exception) -> Finding:
    """Say what a node would say of the same error."""
    obstacle = obstacle_of(error)
    if obstacle in (Obstacle.PEER, Obstacle.FIREWALL):
        obstacle = Obstacle.BROKER
    return Finding.failed(obstacle, str(explain_broker(error, access.address, tls=access.tls is not None)))


async def _hear_refusal(reader: asyncio.StreamReader) -> None:
    """Wait a moment for the alert of a broker that does not take our certificate; a broker never speaks first.

    In TLS 1.3 our end of the handshake is over before the broker has seen our certificate (RFC 8446, section 2), and
    what we wrote meanwhile would turn its alert into a reset.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(_ALERT_PATIENCE_S):
            first = await reader.read(1)
            if not first:
                raise EOFError
            raise ValueError("it speaks first")


async def _log_in(
    patient: Patient, access: BrokerAccess, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> Finding:
    where, settings = f"{BROKER} at {access.address}", patient.settings
    topics, is_alice = Topics(settings.link), patient.role is Role.ALICE
    leg = topics.receipts if is_alice else topics.light
    reads = [leg(end, settings.apparatus_site) for end in settings.light_legs.values()]
    writes = topics.journal(settings.apparatus_site)
    hello = _hello(access, f"{settings.link}-{settings.node}-doctor")
    welcome = await _ask(reader, writer, hello, Packet.CONNACK)
    entered = welcome.reason
    if entered in UNSUPPORTED:
        return Finding.ok(
            f"{where} speaks an older MQTT, which does not say what this node may write and read"
        )
    if entered:
        return _refused(access, LoginRefusedError(entered))
    largest = welcome.largest_packet
    if largest is not None and largest < patient.largest_packet:
        return Finding.failed(
            Obstacle.BROKER,
            f"{where} takes packets of at most {largest} bytes, and this node has to send one of"
            f" {patient.largest_packet}: raise the broker's limit (Mosquitto: max_packet_size), or lower frame_pulses",
        )
    for packet, kind, verb, topic in (
        *((_subscription(topic), Packet.SUBACK, "read", topic) for topic in reads),
        (_zeros(writes), Packet.PUBACK, "write", writes),
    ):
        if (await _ask(reader, writer, packet, kind)).reason >= FIRST_REFUSAL:
            return Finding.failed(
                Obstacle.BROKER,
                f"{where} does not let this node {verb} {topic}: correct the broker's access list",
            )
    longest = patient.largest_packet and await _longest_message(patient, reader, writer)
    if longest < patient.largest_packet:
        return Finding.failed(
            Obstacle.BROKER,
            f"{where} takes messages of at most {longest} bytes, and this node has to send one of"
            f" {patient.largest_packet}: raise the broker's limit (Mosquitto: message_size_limit), or lower"
            " frame_pulses",
        )
    # a broker sends what it keeps when it is asked for a topic, so the answer to a ping comes behind all of it
    await _ask(reader, writer, _subscription(topics.patch()), Packet.SUBACK)
    await _ask(reader, writer, encode(Packet.PINGREQ), Packet.PINGRESP)
    writer.write(encode(Packet.DISCONNECT))
    return Finding.ok(f"{where} lets this node in" + (", over TLS" if access.tls else ", without TLS"))


async def _longest_message(
    patient: Patient, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> int:
    """Find how long a message the broker takes, up to the longest that the node sends, by bisection.

    Mosquitto does not state its `message_size_limit`; it looks at the length of a message before it looks at its access
    list, so the trial goes to a topic that nobody reads or may write. It stops short of the limit when half of the
    patience is over.
    """
    topic = f"{Topics(patient.settings.link).journal(patient.settings.apparatus_site)}/doctor"

    async def takes(size: int) -> bool:
        return (await _ask(reader, writer, _zeros(topic, size), Packet.PUBACK)).reason != TOO_LONG

    low, high = 0, patient.largest_packet
    if await takes(high):
        return high
    until = asyncio.get_running_loop().time() + PATIENCE_S / 2
    while high - low > 1 and asyncio.get_running_loop().time() < until:
        middle = (low + high) // 2
        low, high = (middle, high) if await takes(middle) else (low, middle)
    return low


def _hello(access: BrokerAccess, client_id: str) -> bytes:
    """Ask to be let in with MQTT 5, and for packets of any length: what is retained and too long is to be found."""
    return connect(client_id, access.username, access.password, V5, longest_packet=None)


def _subscription(topic: str) -> bytes:
    return subscribe(topic, V5, acknowledged=True)


def _zeros(topic: str, size: int = 0) -> bytes:
    """Ask to write a topic, with a message of so many zeros that no broker keeps."""
    return publication_head(topic, size, V5, acknowledged=True) + bytes(size)


async def _ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, packet: bytes, kind: int
) -> Answer:
    writer.write(packet)
    await writer.drain()
    return await read_answer(reader, kind)


@asynccontextmanager
async def _line(
    access: BrokerAccess,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, port = access.address.host, access.address.port
    reader, writer = await asyncio.open_connection(
        host, port, ssl=access.tls, server_hostname=host if access.tls else None
    )
    try:
        yield reader, writer
    finally:
        writer.transport.abort() if writer.transport.is_closing() else writer.close()
