"""An ordeal: a link of small blocks while everything around it fails at random instants, and is started again.

Either node is killed, or both, or the broker; the classical line is cut, stalled, slowed; a disk is full. After each
strike both stores are looked at; at the end the link has to make keys again, and both sides have to agree about all.
What strikes next is drawn from the seed; the instant at which it strikes is the operating system's.
"""

import asyncio
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import numpy as np

from qkdlink.common.journal.events import BlockEnded
from qkdlink.common.transport.addresses import Address
from qkdlink.deployment.brokers.broker import RunningBroker, kill, run_broker
from qkdlink.deployment.brokers.ports import LOOPBACK, free_port
from qkdlink.deployment.homes.configuration import LinkAddresses
from qkdlink.deployment.homes.home import LinkHome, open_home
from qkdlink.deployment.homes.names import ALICE, BOB
from qkdlink.deployment.processes.endings import told_end
from qkdlink.lab.faults.agreement import NODES, Audit, journal_faults, journal_of
from qkdlink.lab.faults.kill_trials import tiny_parameters, tiny_settings
from qkdlink.lab.faults.mortal import Mortal
from qkdlink.lab.faults.rough_line import RoughLine

_SHORTEST_PEACE_S, _LONGEST_PEACE_S = 0.05, 0.9
_TIMEOUT_S = 60.0
_LOOK_EVERY_S = 0.02
_DISK_PATIENCE_S = 2.0
_LAST_BLOCKS = 4
_PULSES = 200_000
"""Some fourteen thousand secret bits: one block with a key pays for the tags of a dozen that are struck."""
_ROOM_BYTES = 30_000
"""How much a file may still grow on a disk that is nearly full."""


class Strike(StrEnum):
    """What can happen to a link."""

    ALICE = "kill alice"
    BOB = "kill bob"
    BOTH = "kill both"
    BROKER = "kill the broker"
    CUT = "cut the line"
    STALL = "stall the line"
    SLOW = "slow the line"
    DISK = "fill a disk"


_WEIGHTS = {
    Strike.ALICE: 5,
    Strike.BOB: 5,
    Strike.BOTH: 3,
    Strike.BROKER: 2,
    Strike.CUT: 2,
    Strike.STALL: 1,
    Strike.SLOW: 1,
    Strike.DISK: 1,
}


@dataclass(slots=True)
class Outcome:
    """What came of an ordeal."""

    strikes: dict[str, int] = field(default_factory=dict)
    kills: int = 0
    full_disks: int = 0
    """Nodes that ended because their disk was full."""
    keys: int = 0
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0


async def run_ordeal(strikes: int, seed: int) -> Outcome:
    """Let so many strikes hit a link; its faults are empty if all was well afterwards."""
    started, outcome = time.monotonic(), Outcome()
    with tempfile.TemporaryDirectory() as folder:
        async with AsyncExitStack() as open_things:
            ordeal = _Ordeal(open_home(Path(folder)), outcome, seed, open_things)
            await ordeal.begin()
            try:
                for _ in range(strikes):
                    await ordeal.strike()
                await ordeal.to_the_end()
            finally:
                ordeal.stop()
            if not outcome.faults:
                ordeal.judge()
    outcome.seconds = time.monotonic() - started
    return outcome


class _Ordeal:
    """The nodes, the broker and the line of one ordeal."""

    def __init__(self, home: LinkHome, outcome: Outcome, seed: int, open_things: AsyncExitStack) -> None:
        self._home = home
        self._outcome = outcome
        self._open_things = open_things
        self._fate = np.random.default_rng(seed)
        self._line, self._bootstrap_line = RoughLine(), RoughLine()
        self._nodes: dict[str, Mortal] = {}
        self._latched_at = self._last_strike_at = float("inf")

    async def begin(self) -> None:
        """Start the broker, the lines and both nodes."""
        self._broker = await self._run_broker(None)
        bob, alice = (
            LinkAddresses(self._broker.address, *(Address(LOOPBACK, free_port()) for _ in range(2)))
            for _ in range(2)
        )
        for line, listen, onward in (
            (self._line, alice.classical, bob.classical),
            (self._bootstrap_line, alice.bootstrap, bob.bootstrap),
        ):
            await self._open_things.enter_async_context(line.relaying(listen, onward))
        self._addresses = {ALICE: alice, BOB: bob}
        self._configure(blocks=0)
        for name in (BOB, ALICE):
            self._nodes[name] = Mortal(self._home, name)

    async def strike(self) -> None:
        """Wait a little, then let something happen and repair it."""
        await asyncio.sleep(float(self._fate.uniform(_SHORTEST_PEACE_S, _LONGEST_PEACE_S)))
        weights = np.array(list(_WEIGHTS.values()), dtype=float)
        what = list(_WEIGHTS)[int(self._fate.choice(len(_WEIGHTS), p=weights / weights.sum()))]
        self._outcome.strikes[what] = self._outcome.strikes.get(what, 0) + 1
        match what:
            case Strike.ALICE | Strike.BOB | Strike.BOTH:
                await self._kill({Strike.ALICE: (ALICE,), Strike.BOB: (BOB,)}.get(what, NODES))
            case Strike.BROKER:
                await kill(self._broker)
                self._outcome.kills += 1
                self._broker = await self._run_broker(self._broker.address.port)
            case Strike.CUT:
                self._line.cut()
                self._bootstrap_line.cut()
            case Strike.STALL:
                await self._line.stall(0.3)
            case Strike.SLOW:
                await self._line.slow(0.5, 0.01)
            case Strike.DISK:
                await self._fill_disk(NODES[int(self._fate.integers(2))])
        await self._revive()
        self._look()

    async def to_the_end(self) -> None:
        """Let Alice make some last blocks in peace, and Bob settle them."""
        await self._end(ALICE)
        self._last_strike_at = time.time()
        self._configure(blocks=_LAST_BLOCKS)
        self._nodes[ALICE] = Mortal(self._home, ALICE)
        deadline = time.monotonic() + _TIMEOUT_S
        while self._nodes[ALICE].status is None:
            if time.monotonic() > deadline:
                self._outcome.faults.append(f"Alice has not come to her end within {_TIMEOUT_S:g} s")
                return
            await self._revive(only=BOB)
            await asyncio.sleep(_LOOK_EVERY_S)
        if self._nodes[ALICE].status != 0:
            self._outcome.faults.append(
                f"{told_end(ALICE, self._nodes[ALICE].status)}; it said: {self._words(ALICE)}"
            )
        for _ in range(500):
            if Audit(self._home).is_settled:
                return
            await asyncio.sleep(_LOOK_EVERY_S)

    def stop(self) -> None:
        """End whoever still runs."""
        for node in self._nodes.values():
            node.stop()

    def judge(self) -> None:
        """Look at what is left on the disk."""
        outcome = self._outcome
        outcome.faults += [*Audit(self._home).settled_faults(), *journal_faults(self._home, self._latched_at)]
        made = [
            at
            for at, event in journal_of(self._home, ALICE)
            if isinstance(event, BlockEnded) and event.secret_bits
        ]
        outcome.keys = len(made)
        if not any(at > self._last_strike_at for at in made):
            outcome.faults.append("the link has not gone on")

    def _configure(self, blocks: int) -> None:
        """Tell each node its own addresses: Alice reaches Bob by the lines that fail."""
        for name in NODES:
            self._home.configure(
                tiny_parameters(_PULSES),
                self._addresses[name],
                tiny_settings(blocks=blocks),
                log_in=self._broker.has_access_list,
                only=name,
            )

    async def _run_broker(self, port: int | None) -> RunningBroker:
        return await self._open_things.enter_async_context(
            run_broker(self._home.broker, self._home.broker_users(), port)
        )

    async def _kill(self, names: tuple[str, ...]) -> None:
        for name in names:
            self._nodes[name].kill()
            self._outcome.kills += 1
        self._look()

    async def _fill_disk(self, name: str) -> None:
        """Start a node anew on a disk with little room, and let it come to its end there if it does."""
        await self._end(name)
        folder = self._home.node(name)
        largest = max(path.stat().st_size for path in folder.iterdir() if path.is_file())
        self._nodes[name] = Mortal(
            self._home, name, largest_file=largest + int(self._fate.integers(_ROOM_BYTES))
        )
        await asyncio.to_thread(self._nodes[name].wait, _DISK_PATIENCE_S)
        if self._nodes[name].status is None:
            await self._end(name)
            return
        self._outcome.full_disks += 1
        if self._nodes[name].status != 2:
            self._outcome.faults.append(
                f"on a full disk {told_end(name, self._nodes[name].status)}; it said: {self._words(name)}"
            )

    async def _end(self, name: str) -> None:
        await asyncio.to_thread(self._nodes[name].stop)

    async def _revive(self, only: str | None = None) -> None:
        """Start again whoever has ended; a node that ends by itself was told to by nobody, but may be restarted."""
        for name in (BOB, ALICE):
            if self._nodes[name].status is not None and only in (None, name):
                self._nodes[name] = Mortal(self._home, name)

    def _look(self) -> None:
        audit = Audit(self._home)
        self._outcome.faults += audit.faults()
        if audit.is_latched():
            self._latched_at = min(self._latched_at, time.time())

    def _words(self, name: str) -> str:
        return self._nodes[name].words.strip()[-300:]
