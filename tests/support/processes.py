"""Links for tests: a home, a broker, and nodes as processes or as tasks of this one."""

import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import tomllib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import IO, Any, Self

import pytest
import tomli_w

from qkdlink.alice.settings import AliceSettings
from qkdlink.alice.station import run as run_alice
from qkdlink.bob.settings import BobSettings
from qkdlink.bob.station import run as run_bob
from qkdlink.common.errors import QkdlinkError
from qkdlink.common.journal.events import AnyEvent, BlockEnded, BlockOpened, Entry
from qkdlink.common.optics.presets import DEFAULT_PRESET, preset
from qkdlink.common.protocol.parameters import LinkParameters, ProtocolName
from qkdlink.common.protocol.variants.single_photon import SINGLE_PHOTON
from qkdlink.common.sentences import sentence
from qkdlink.common.transport.addresses import Address
from qkdlink.common.trust.private_files import NewFile, write_over
from qkdlink.deployment.brokers import broker as lab_broker
from qkdlink.deployment.brokers.broker import BrokerUser, RunningBroker, run_broker
from qkdlink.deployment.brokers.ports import LOOPBACK, free_port
from qkdlink.deployment.homes.configuration import LinkAddresses
from qkdlink.deployment.homes.home import LinkHome, open_home
from qkdlink.deployment.homes.names import ALICE, BOB
from qkdlink.deployment.planning.planner import plan, task_for
from tests.support.forked_nodes import ForkedNode

ADMIN = BrokerUser("admin", "a-password-for-tests-only", writes=("#",), reads=("#",))
SMALL_BLOCK = 200_000
"""Single photons: key for certain, and a second of work."""
_NODES: dict[str, tuple[Any, Any]] = {ALICE: (AliceSettings, run_alice), BOB: (BobSettings, run_bob)}


def small_parameters(
    *,
    pulses: int = SMALL_BLOCK,
    protocol: ProtocolName = SINGLE_PHOTON.name,
    reproducible: bool = False,
    **changes: object,
) -> LinkParameters:
    """Parameters of a small block; `changes` are made after planning."""
    planned = plan(task_for(preset(DEFAULT_PRESET), pulses, protocol)).link_parameters(
        reproducible=reproducible
    )
    return planned.model_copy(update=changes)


def guarded(
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdout: IO[bytes] | None = None,
    stderr: IO[bytes] | int = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:
    """Start a program that does not ask who started it, such as a broker: it ends with us, even if we are killed."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "qkdlink.deployment.processes.guard", *command],
        stdin=subprocess.PIPE,
        start_new_session=True,
        cwd=cwd,
        env=env,
        stdout=stdout,
        stderr=stderr,
    )


def without_mosquitto(patch: pytest.MonkeyPatch) -> None:
    """Let launchers find no Mosquitto, wherever it is installed."""
    patch.setattr(lab_broker, "find_mosquitto", lambda: None)


@dataclass(frozen=True)
class RunningProcess:
    """A process that runs now, as the system lists it."""

    pid: int
    command: list[str]

    @classmethod
    def all_now(cls) -> list[Self]:
        """All processes whose command can be read; zombies have none."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                command = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
                found.append(cls(int(folder.name), command))
        return found


def full_disk(limit: int) -> None:
    """Let this process and its children write no file beyond so many bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


async def until(condition: Callable[[], bool], what: str, timeout_s: float = 30.0) -> None:
    """Wait until something is so."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"{what} did not happen within {timeout_s:g} s"
        await asyncio.sleep(0.01)


def merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings, with changes."""
    result = dict(values)
    for key, value in changes.items():
        inner = result.get(key)
        result[key] = merged(inner, value) if isinstance(inner, Mapping) else value
    return result


@lru_cache(maxsize=10_000)
def _event(line: str) -> AnyEvent:
    """Read a line once, however often a test that waits looks at the journal."""
    return Entry.model_validate_json(line).event


@dataclass
class Journal:
    """What a node has written of itself."""

    path: Path

    @property
    def events(self) -> list[AnyEvent]:
        """All whole lines so far; a line that is not an event fails the test."""
        if not self.path.exists():
            return []
        whole, _, _ = self.path.read_text().rpartition("\n")
        return [_event(line) for line in whole.splitlines()]

    def of[E: AnyEvent](self, kind: type[E]) -> list[E]:
        """All events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def blocks(self) -> dict[str, BlockEnded]:
        """Accounts by block id, in order."""
        return {ended.block_id: ended for ended in self.of(BlockEnded)}

    @property
    def keys(self) -> dict[str, int]:
        """Secret bits of each block that has some."""
        return {block: ended.secret_bits for block, ended in self.blocks.items() if ended.secret_bits}

    def during[E: AnyEvent](self, number: int, kind: type[E]) -> list[E]:
        """Events of one kind between the opening and the end of block `number` (one block at a time)."""
        events = self.events
        first = next(i for i, e in enumerate(events) if isinstance(e, BlockOpened) and e.number == number)
        last = next(i for i, e in enumerate(events) if isinstance(e, BlockEnded) and e.number == number)
        return [event for event in events[first:last] if isinstance(event, kind)]


@dataclass
class LocalNode:
    """A node that runs as a task of this process, with a launcher's pipe."""

    task: asyncio.Task[None]
    reports: list[dict[str, Any]]

    @property
    def fingerprint(self) -> str | None:
        """What it last told its launcher about its keys."""
        told = [report["fingerprint"] for report in self.reports if "fingerprint" in report]
        return told[-1] if told else None

    async def last_words(self) -> str:
        """Wait for it to fail, and return the sentence that its user would read."""
        with pytest.raises((QkdlinkError, ExceptionGroup)) as caught:
            await self.task
        return sentence(caught.value)

    async def stop(self) -> None:
        """End it as a signal would."""
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task


@dataclass
class SpawnedNode:
    """A node that runs as a process of its own."""

    process: ForkedNode
    words: list[str] = field(default_factory=list)
    """Lines that it has written for a person."""

    def __post_init__(self) -> None:
        self._listening = threading.Thread(target=self._listen)
        self._listening.start()

    def _listen(self) -> None:
        with self.process.words as lines:
            self.words.extend(line.decode().rstrip() for line in lines)

    async def ended(self, timeout_s: float = 30.0) -> int:
        """Wait for its end and return its status."""
        async with asyncio.timeout(timeout_s):
            status = await self.process.wait()
        self._listening.join()
        return status


@dataclass
class Bench:
    """A link's home and broker; nodes are started on it as a test needs them."""

    home: LinkHome
    broker: RunningBroker
    spawned: list[SpawnedNode] = field(default_factory=list)
    local: list[LocalNode] = field(default_factory=list)
    others: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def journal(self, name: str) -> Journal:
        """A node's journal."""
        return Journal(self.home.node(name) / "journal.jsonl")

    @property
    def classical(self) -> Address:
        """Where Bob listens with link PSKs."""
        return self._listening("address")

    @property
    def bootstrap(self) -> Address:
        """Where Bob listens with certificates until the latch closes."""
        return self._listening("bootstrap_address")

    def _listening(self, name: str) -> Address:
        values = tomllib.loads(self.home.configuration(BOB).read_text())
        return Address.parse(values["classical"][name])

    def change(self, name: str, changes: Mapping[str, Any]) -> None:
        """Rewrite a node's configuration."""
        path = self.home.configuration(name)
        write_over(NewFile(path, tomli_w.dumps(merged(tomllib.loads(path.read_text()), changes)).encode()))

    def start_here(self, name: str, *, seed: int | None = None, **changes: object) -> LocalNode:
        """Run a node as a task, with these settings changed."""
        values = merged(tomllib.loads(self.home.configuration(name).read_text()), changes)
        reports: list[dict[str, Any]] = []
        task = asyncio.create_task(self._live(name, values, seed, reports), name=name)
        self.local.append(LocalNode(task, reports))
        return self.local[-1]

    async def _live(
        self, name: str, values: Mapping[str, Any], seed: int | None, reports: list[dict[str, Any]]
    ) -> None:
        kind, run = _NODES[name]
        with _pipe_to(reports) as report_file:
            await run(kind(**values), self.home.node(name), seed, report_file)

    def spawn(self, name: str, *options: str, file_limit: int | None = None) -> SpawnedNode:
        """Start a node as a process, with further options and a limit to the size of its files."""
        told = ("--config", str(self.home.configuration(name)), *options)
        before = partial(full_disk, file_limit) if file_limit else None
        self.spawned.append(SpawnedNode(ForkedNode(f"qkdlink.{name}", told, os.environ, before)))
        return self.spawned[-1]

    def kill_broker(self) -> list[str]:
        """Kill the broker, not its guard; return the command that starts it again."""
        told = {str(self.home.broker / "mosquitto.conf"), str(self.broker.address.port)}
        running = RunningProcess.all_now()
        broker = next(
            p
            for p in running
            if p.command and p.command[-1] in told and "qkdlink.deployment.processes.guard" not in p.command
        )
        os.kill(broker.pid, signal.SIGKILL)
        return broker.command

    def start(self, command: list[str]) -> None:
        """Start another process, which ends with the test, and with pytest if that is killed."""
        self.others.append(guarded(command))

    async def close(self) -> None:
        """End every process and task of the test."""
        for process in self.others:
            process.communicate()
        for node in self.local:
            with suppress(Exception):
                await node.stop()
        for spawned in self.spawned:
            if spawned.process.returncode is None:
                spawned.process.kill()
            await spawned.ended()


class _pipe_to:  # noqa: N801 - it reads as a verb
    """A launcher's pipe whose other end is read by this very loop."""

    def __init__(self, reports: list[dict[str, Any]]) -> None:
        self._reports = reports
        self._rest = b""
        self._read_end, self._write_end = os.pipe()

    def __enter__(self) -> int:
        asyncio.get_running_loop().add_reader(self._read_end, self._read)
        return self._write_end

    def __exit__(self, *_: object) -> None:
        os.set_blocking(self._read_end, False)
        with suppress(BlockingIOError):
            self._read()
        asyncio.get_running_loop().remove_reader(self._read_end)
        os.close(self._read_end)
        os.close(self._write_end)

    def _read(self) -> None:
        *lines, self._rest = (self._rest + os.read(self._read_end, 1 << 20)).split(b"\n")
        self._reports.extend(json.loads(line) for line in lines)


@asynccontextmanager
async def bench(
    folder: Path, parameters: LinkParameters | None = None, *, blocks: int = 1, **changes: object
) -> AsyncIterator[Bench]:
    """A furnished home, a running broker and configured nodes; `changes` are for Alice's settings."""
    home = open_home(folder)
    async with run_broker(home.broker, (*home.broker_users(), ADMIN)) as broker:
        home.configure(
            parameters or small_parameters(),
            LinkAddresses(broker.address, Address(LOOPBACK, free_port()), Address(LOOPBACK, free_port())),
            {"blocks": blocks},
            log_in=broker.has_access_list,
        )
        made = Bench(home, broker)
        made.change(ALICE, changes)
        try:
            yield made
        finally:
            await made.close()
