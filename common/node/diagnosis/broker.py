"""Does the broker let this node in, and may it write and read what it has to?"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from common.errors import CredentialsError, LinkError
from common.node.diagnosis.causes import Obstacle, obstacle_of
from common.node.diagnosis.findings import Finding
from common.node.diagnosis.house import Patient
from common.node.diagnosis.mqtt_greeting import (
    CONNACK,
    FIRST_REFUSAL,
    PUBACK,
    SUBACK,
    UNSUPPORTED,
    connect_packet,
    disconnect_packet,
    publish_packet,
    read_answer,
    subscribe_packet,
)
from common.node.diagnosis.network import BROKER, PATIENCE_S
from common.protocol.roles import Role
from common.transport.mqtt import BrokerAccess
from common.transport.refusals import explain
from common.wire.topics import Topics

_ALERT_PATIENCE_S = 0.5

_REASONS = {
    4: "user name or password is wrong",
    5: "it does not know this node",
    0x85: "it does not take this client's identifier",
    0x86: "user name or password is wrong",
    0x87: "it does not know this node, or does not let it in",
    0x88: "it is not available now",
    0x89: "it is busy",
    0x8A: "it has banned this node",
}
"""Of a CONNACK: MQTT 3.1.1, section 3.2.2.3, and MQTT 5, section 3.2.2.2."""


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
    except TimeoutError:
        said = (
            f"{where} takes the connection and then says nothing: correct the address, or restart the broker"
        )
    except (EOFError, ConnectionError) as error:
        said = f"{where} hangs up at the first word ({_text(error)}): {_advice_on_tls(access)}"
    except OSError as error:  # before ValueError, because a certificate that is not believed is both
        return _refused(explain(error, where, in_handshake=True), error)
    except ValueError as error:
        said = f"what answers at {access.address} is not an MQTT broker ({error}): correct the address"
    return Finding.failed(Obstacle.BROKER, said)


def _refused(told: CredentialsError | LinkError, cause: OSError) -> Finding:
    obstacle = obstacle_of(cause)
    if obstacle is Obstacle.PEER:
        obstacle = Obstacle.BROKER
    return Finding.failed(obstacle, f"{told}{_remedy(obstacle)}")


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
    reads = [leg(end, settings.site) for end in settings.light_legs.values()]
    writes = topics.journal(settings.site)
    entered = await _ask(
        reader, writer, connect_packet(access, f"{settings.link}-{settings.node}-doctor"), CONNACK
    )
    if entered in UNSUPPORTED:
        return Finding.ok(
            f"{where} speaks an older MQTT, which does not say what this node may write and read"
        )
    if entered:
        why = _REASONS.get(entered, f"its reason is {entered:#04x}")
        return Finding.failed(
            Obstacle.BROKER,
            f"{where} turns this node away: {why}; correct [broker], or the broker's accounts",
        )
    for packet, kind, verb, topic in (
        *((subscribe_packet(topic), SUBACK, "read", topic) for topic in reads),
        (publish_packet(writes), PUBACK, "write", writes),
    ):
        if await _ask(reader, writer, packet, kind) >= FIRST_REFUSAL:
            return Finding.failed(
                Obstacle.BROKER,
                f"{where} does not let this node {verb} {topic}: correct the broker's access list",
            )
    writer.write(disconnect_packet())
    return Finding.ok(f"{where} lets this node in" + (", over TLS" if access.tls else ", without TLS"))


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, packet: bytes, kind: int) -> int:
    writer.write(packet)
    await writer.drain()
    return (await read_answer(reader, kind)).reason


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


def _advice_on_tls(access: BrokerAccess) -> str:
    if access.tls is None:
        return "it may expect TLS, so name its `authority` in [broker], or correct the address"
    return "it may not speak TLS, or does not take this node's certificate; its log says why"


def _remedy(obstacle: Obstacle) -> str:
    match obstacle:
        case Obstacle.NAME:
            return (
                "; let `address` in [broker] be a name of its certificate (`qkdlink init --broker-host NAME`)"
            )
        case Obstacle.CLOCK:
            return "; set this machine's clock, or the one on which the installation was made"
        case Obstacle.CERTIFICATE:
            return "; carry the node's folder and the broker's from the same installation"
        case _:
            return "; correct [broker], or start the broker that belongs to this installation"


def _text(error: BaseException) -> str:
    return getattr(error, "strerror", None) or "end of the line"
