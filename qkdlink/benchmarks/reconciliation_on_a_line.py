"""Cascade on a real line: two processes, TLS 1.3 under a PSK, the nodes' own steps; beside it the same in one thread.

The child is Alice, this process is Bob. A line is as long as a relay in between makes it
(`qkdlink.lab.faults.rough_line`), or loopback itself. Bob's clock runs from his first word to Alice's last answer; keys
are drawn and laid down before that. `round_trips` prints the table.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import astuple, dataclass, replace
from functools import cache
from multiprocessing import get_context
from multiprocessing.connection import Connection as Pipe
from secrets import token_bytes

import numpy as np

import qkdlink.alice.steps
import qkdlink.bob.steps
from qkdlink.benchmarks.reconciliation import Frame, reconcile
from qkdlink.common.authentication.none import NoAuthentication
from qkdlink.common.bits import Bits
from qkdlink.common.distillation.reconciliation.schedule import Pace, schedule
from qkdlink.common.distillation.stages import Estimate, SiftedKey
from qkdlink.common.keys.derivation import KEY_BYTES, psk_identity
from qkdlink.common.keys.identifiers import BlockId
from qkdlink.common.optics.presets import DEFAULT_PRESET, preset
from qkdlink.common.protocol.account import Account
from qkdlink.common.protocol.block import Block
from qkdlink.common.protocol.conversation import BlockConversation, Place
from qkdlink.common.protocol.parameters import LinkParameters
from qkdlink.common.protocol.phases import BlockPhase
from qkdlink.common.protocol.roles import Role
from qkdlink.common.protocol.variants.single_photon import SINGLE_PHOTON
from qkdlink.common.randomness import Randomness
from qkdlink.common.transport.addresses import Address
from qkdlink.common.transport.channel import ClassicalChannel
from qkdlink.common.transport.connections import Connection
from qkdlink.common.transport.psk import KeyedPeer, LinkKeys, dial_psk, listen_psk
from qkdlink.deployment.brokers.ports import LOOPBACK, free_port
from qkdlink.deployment.planning.planner import plan, task_for
from qkdlink.lab.faults.rough_line import RoughLine

_LINK, _SESSION, _KEY_ID = "bench", "5e" * 16, "5e" * 16 + "/1"
_ALICE, _BOB = "alice", "bob"
_LARGEST_BODY, _PATIENCE_S = 2**28, 60.0


@dataclass(frozen=True, slots=True)
class Course:
    """What is reconciled, and on what line."""

    key_bits: int
    qber: float
    pace: Pace
    round_trip_s: float = 0.0
    """Beyond what loopback and the relay take; 0: there is no relay."""
    keys_at_once: int = 1
    """So many blocks' keys are under way at a time, each in its own conversation."""
    runs: int = 5
    """That count; one more goes before them."""

    @property
    def bits(self) -> int:
        """Of one run."""
        return self.key_bits * self.keys_at_once


@dataclass(frozen=True, slots=True)
class OnALine:
    """What was measured on a course, run by run."""

    exchanges: list[int]
    seconds: list[float]
    cpu_s: list[float]
    """Processor time of both processes."""
    in_one_thread_s: list[float]
    """The same without a line: both parties' work, in turns with the runs on the line."""
    in_one_thread_cpu_s: list[float]


def measure(course: Course) -> OnALine:
    """Run a course; AssertionError if a key of Bob's is not Alice's in the end."""
    return asyncio.run(_measure(course))


async def _measure(course: Course) -> OnALine:
    key, port = token_bytes(KEY_BYTES), free_port()
    arrived: asyncio.Future[OnALine] = asyncio.get_running_loop().create_future()

    async def welcome(connection: Connection[KeyedPeer]) -> None:
        try:
            arrived.set_result(await _as_bob(course, connection))
        except Exception as error:  # noqa: BLE001 - handed over whole to whoever waits for the result
            arrived.set_exception(error)

    keys = LinkKeys(_LINK, _BOB, _ALICE, lambda _: key)
    async with (
        listen_psk(LOOPBACK, port, keys, welcome, _refuse),
        _line_to(port, course.round_trip_s) as dialled,
    ):
        with _alice(course, key, dialled) as spent:
            found = await arrived
            return replace(
                found, cpu_s=[bob + alice for bob, alice in zip(found.cpu_s, spent.recv(), strict=True)]
            )


@asynccontextmanager
async def _line_to(port: int, round_trip_s: float) -> AsyncIterator[int]:
    """Yield the port at which a line of this length to `port` begins."""
    if not round_trip_s:
        yield port
        return
    begins = free_port()
    line = RoughLine(delay_s=round_trip_s / 2)
    async with line.relaying(Address(LOOPBACK, begins), Address(LOOPBACK, port)):
        yield begins


@contextmanager
def _alice(course: Course, key: bytes, port: int) -> Iterator[Pipe]:
    """Run Alice, and yield where she says in the end what processor time each of her runs has taken."""
    spawn = get_context("spawn")
    hears, says = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_be_alice, args=(course, key, port, says), daemon=True)
    process.start()
    try:
        yield hears
    finally:
        process.join(_PATIENCE_S)


def _be_alice(course: Course, key: bytes, port: int, says: Pipe) -> None:
    says.send(asyncio.run(_as_alice(course, key, port)))


async def _as_alice(course: Course, key: bytes, port: int) -> list[float]:
    connection = await dial_psk(LOOPBACK, port, psk_identity(_LINK, _KEY_ID), key, _BOB)
    sifted, estimate = _sifted(_frame(course).alice_bits), _estimate(course)
    async with _conversing(connection) as channel:
        spent = []
        for run in range(1 + course.runs):
            blocks = _blocks(course, run, Role.ALICE, channel)
            started = time.process_time()
            await asyncio.gather(
                *(qkdlink.alice.steps.reconcile(sifted, estimate, block) for block in blocks)
            )
            spent.append(time.process_time() - started)
        return spent[1:]


async def _as_bob(course: Course, connection: Connection[KeyedPeer]) -> OnALine:
    frame, estimate = _frame(course), _estimate(course)
    sifted, found = _sifted(frame.bob_bits), OnALine([], [], [], [], [])
    async with _conversing(connection) as channel:
        for run in range(1 + course.runs):
            blocks = _blocks(course, run, Role.BOB, channel)
            started, busy = time.perf_counter(), time.process_time()
            keys = await asyncio.gather(
                *(qkdlink.bob.steps.reconcile(sifted, estimate, block) for block in blocks)
            )
            between, busy_between = time.perf_counter(), time.process_time()
            for _ in blocks:
                reconcile(frame)
            found.in_one_thread_s.append(time.perf_counter() - between)
            found.in_one_thread_cpu_s.append(time.process_time() - busy_between)
            assert all(np.array_equal(key.bits, frame.alice_bits) for key in keys)
            found.exchanges.append(max(block.account.exchanges for block in blocks))
            found.seconds.append(between - started)
            found.cpu_s.append(busy_between - busy)
    return OnALine(*(each[1:] for each in astuple(found)))


@asynccontextmanager
async def _conversing(connection: Connection[KeyedPeer]) -> AsyncIterator[ClassicalChannel]:
    channel = ClassicalChannel(connection.reader, connection.writer, _LARGEST_BODY, _PATIENCE_S)
    reading = asyncio.create_task(channel.read(lambda received: channel.line(received.envelope.block)))
    try:
        yield channel
    finally:
        reading.cancel()
        await connection.close()


def _blocks(course: Course, run: int, role: Role, channel: ClassicalChannel) -> list[Block]:
    first = 1 + run * course.keys_at_once
    return [_block(course, first + each, role, channel) for each in range(course.keys_at_once)]


def _frame(course: Course) -> Frame:
    """Draw the key, the same in both processes."""
    rng = np.random.default_rng(course.key_bits)
    alice_bits = rng.integers(0, 2, course.key_bits, np.uint8)
    errors = (rng.random(course.key_bits, np.float32) < course.qber).astype(np.uint8)
    return Frame(alice_bits, alice_bits ^ errors, schedule(course.key_bits, course.qber, course.pace))


def _sifted(bits: Bits) -> SiftedKey:
    nothing = np.empty(0, np.uint8)
    return SiftedKey(bits, np.zeros(len(bits), np.uint8), nothing, nothing, class_count=1)


def _estimate(course: Course) -> Estimate:
    """Know nothing but what was expected."""
    return Estimate((course.key_bits,), (0,), (0,))


def _block(course: Course, number: int, role: Role, channel: ClassicalChannel) -> Block:
    conversation = BlockConversation(
        role, Place(_LINK, _SESSION, number), channel.line(number), NoAuthentication()
    )
    conversation.phase = BlockPhase.ESTIMATED
    return Block(
        id=BlockId(_LINK, _SESSION, number),
        parameters=_parameters(course.qber, course.pace),
        conversation=conversation,
        randomness=Randomness(role.label),
        compute=asyncio.to_thread,
        tell=lambda _: None,
        account=Account(),
    )


@cache
def _parameters(qber: float, pace: Pace) -> LinkParameters:
    """Return the parameters of some link; reconciliation looks at two of them."""
    task = task_for(preset(DEFAULT_PRESET), 1_000_000, SINGLE_PHOTON.name, 0.0)
    planned = plan(task).link_parameters()
    return planned.model_copy(update={"expected_qber": qber, "reconciliation_pace": pace})


def _refuse(reason: str) -> None:
    raise AssertionError(reason)
