"""`transport`: sealed frames of light through Mosquitto and back come the receipts; the detectors stay dark.

Alice and Bob share one process and one event loop here. The baseline is what the broker can do: two sockets, one thread
writing packets of the same size as fast as they are taken, one reading them into nothing; no seal, no receipts.
`python -m qkdlink.benchmarks.transport_ways` has other sizes, and aiomqtt beside them.
"""

import asyncio
import secrets
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiomqtt
import numpy as np

from qkdlink.benchmarks.alternation import Contender, Stage, alternate_async
from qkdlink.benchmarks.light import FIBRE
from qkdlink.common.optics.pulses import PulseTrain
from qkdlink.common.optics.seal import SEAL_KEY_BYTES, LightSeal
from qkdlink.common.optics.states import States
from qkdlink.common.transport.addresses import Address
from qkdlink.common.transport.inlet import Inlet
from qkdlink.common.transport.light import LightOutlet
from qkdlink.common.transport.light_line import LightLine, connect_light
from qkdlink.common.transport.mqtt import BrokerAccess, Subscription
from qkdlink.common.wire.mqtt_packets import connect, publication_head, subscribe
from qkdlink.common.wire.pulse_frames import FrameHeader, split
from qkdlink.common.wire.topics import Topics
from qkdlink.deployment.brokers.broker import BrokerUser, run_broker

FRAMES_IN_FLIGHT = 8
"""What Alice's settings have by default."""
_PATIENCE_S = 30.0
_ALICE, _BOB = "alice", "bob"
_SEALED, _PLAIN, _BARE = Topics("sealed"), Topics("plain"), Topics("bare")
_ROOM = 2**20
_CONNACK_BYTES, _SUBACK_BYTES = 4, 5


class SealedLight:
    """A link's two ends as the nodes have them: outlet and window at Alice's, seal and receipts at Bob's."""

    def __init__(self, alice: LightLine, bob: LightLine, light: Subscription, receipts: Inlet) -> None:
        key = secrets.token_bytes(SEAL_KEY_BYTES)
        self._alice_seal, self._bob_seal = LightSeal(key, _ALICE), LightSeal(key, _BOB)
        self._bob, self._light = bob, light
        self.outlet = LightOutlet(alice, _SEALED.light(_ALICE, _BOB), receipts, FRAMES_IN_FLIGHT, _PATIENCE_S)

    async def carry(self, states: States, frames: int) -> None:
        """Send a block of `frames` times the same pulses, and wait until all of it has been receipted."""
        session = secrets.token_hex(16)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._receive(frames), name="bob")
            for sequence in range(frames):
                first = sequence * len(states)
                header = FrameHeader(_SEALED.link, session, 1, sequence, frames, first, len(states))
                await self._send(header, states)
            await self.outlet.drain()

    async def _send(self, header: FrameHeader, states: States) -> None:
        train = PulseTrain(states, FIBRE, header.first_pulse)
        sealed = await asyncio.to_thread(self._alice_seal.seal_in_parts, train, header.encode())
        await self.outlet.send(header, *sealed)

    async def _receive(self, frames: int) -> None:
        for _ in range(frames):
            delivery = await self._light.get()
            header, associated, sealed = split(delivery.payload)
            await asyncio.to_thread(self._bob_seal.unseal, sealed, associated)
            await self._bob.publish(_SEALED.receipts(_BOB, _ALICE), header.receipt.encode())


@dataclass(frozen=True, slots=True)
class PlainClients:
    """Two aiomqtt clients with nothing between them and the broker."""

    sender: aiomqtt.Client
    receiver: aiomqtt.Client

    async def carry(self, payload: bytes, frames: int) -> None:
        """Publish a payload `frames` times and wait until it has come as often."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._receive(frames), name="receiver")
            for _ in range(frames):
                await self.sender.publish(_PLAIN.light(_ALICE, _BOB), payload, qos=0)

    async def _receive(self, frames: int) -> None:
        messages = aiter(self.receiver.messages)
        for _ in range(frames):
            await anext(messages)


@dataclass(frozen=True, slots=True)
class BareSockets:
    """Two sockets that speak no more MQTT than it takes: as much as the broker can carry."""

    sender: socket.socket
    receiver: socket.socket

    async def carry(self, payload: bytes, frames: int) -> None:
        """Write a payload `frames` times in one thread, and read as many bytes in another."""
        packet = publication_head(_BARE.light(_ALICE, _BOB), len(payload)) + payload
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.to_thread(self._read, frames * len(packet)))
            await asyncio.to_thread(self._write, packet, frames)

    def _write(self, packet: bytes, frames: int) -> None:
        for _ in range(frames):
            self.sender.sendall(packet)

    def _read(self, left: int) -> None:
        room = bytearray(_ROOM)
        while left:
            left -= self.receiver.recv_into(room, min(left, _ROOM))


async def measure(frame_pulses: int, frames: int, pairs: int) -> Stage:
    """Time blocks of `frames` frames through a broker of our own; LinkError if it does not start."""
    states = np.random.default_rng().integers(0, 256, frame_pulses, np.uint8)
    async with broker() as address, sealed_light(address) as sealed, bare_sockets(address) as bare:
        payload = secrets.token_bytes(frame_bytes(states))
        return await alternate_async(
            "transport",
            "pulse/s",
            Contender(
                "qkdlink.common.transport", frames * frame_pulses, lambda: sealed.carry(states, frames)
            ),
            Contender("bare sockets, unsealed", frames * frame_pulses, lambda: bare.carry(payload, frames)),
            pairs,
        )


def frame_bytes(states: States) -> int:
    """Length of a message that carries these pulses."""
    header = FrameHeader(_SEALED.link, secrets.token_hex(16), 1, 0, 1, 0, len(states)).encode()
    seal = LightSeal(secrets.token_bytes(SEAL_KEY_BYTES), _ALICE)
    return len(header) + len(seal.seal(PulseTrain(states, FIBRE, 0), header))


@asynccontextmanager
async def broker() -> AsyncIterator[Address]:
    """Run Mosquitto with accounts for all contenders."""
    links = (_SEALED, _PLAIN, _BARE)
    light = tuple(link.light(_ALICE, _BOB) for link in links)
    receipts = tuple(link.receipts(_BOB, _ALICE) for link in links)
    users = (
        BrokerUser(_ALICE, _ALICE, writes=light, reads=receipts),
        BrokerUser(_BOB, _BOB, writes=receipts, reads=light),
    )
    with tempfile.TemporaryDirectory() as folder:
        async with run_broker(Path(folder), users) as running:
            yield running.address


@asynccontextmanager
async def sealed_light(address: Address) -> AsyncIterator[SealedLight]:
    """Connect a link's two ends."""
    async with AsyncExitStack() as stack:
        alice, bob = [
            await stack.enter_async_context(
                connect_light(BrokerAccess(address, f"sealed-{name}", name, name))
            )
            for name in (_ALICE, _BOB)
        ]
        light = await bob.subscribe(_SEALED.light(_ALICE, _BOB))
        receipts = await Inlet.open(alice, {"direct": _SEALED.receipts(_BOB, _ALICE)})
        link = SealedLight(alice, bob, light, receipts)
        await stack.enter_async_context(link.outlet.listening())
        yield link


@asynccontextmanager
async def plain_clients(address: Address) -> AsyncIterator[PlainClients]:
    """Connect two aiomqtt clients."""
    async with AsyncExitStack() as stack:
        sender, receiver = [
            await stack.enter_async_context(
                aiomqtt.Client(
                    address.host, address.port, identifier=f"plain-{name}", username=name, password=name
                )
            )
            for name in (_ALICE, _BOB)
        ]
        await receiver.subscribe(_PLAIN.light(_ALICE, _BOB), qos=0)
        yield PlainClients(sender, receiver)


@asynccontextmanager
async def bare_sockets(address: Address) -> AsyncIterator[BareSockets]:
    """Connect two sockets and subscribe with one of them."""
    with _greeted(address, _ALICE) as sender, _greeted(address, _BOB) as receiver:
        receiver.sendall(subscribe(_BARE.light(_ALICE, _BOB)))
        receiver.recv(_SUBACK_BYTES, socket.MSG_WAITALL)
        yield BareSockets(sender, receiver)


def _greeted(address: Address, name: str) -> socket.socket:
    plug = socket.create_connection((address.host, address.port))
    plug.sendall(connect(f"bare-{name}", name, name))
    plug.recv(_CONNACK_BYTES, socket.MSG_WAITALL)
    return plug
