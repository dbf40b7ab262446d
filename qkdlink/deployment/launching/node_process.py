"""A node that a launcher started: its process, and what it tells its launcher alone."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from qkdlink.common.errors import LinkError
from qkdlink.common.journal.events import (
    AttackTally,
    BlockEnded,
    BlockOpened,
    BootstrapClosed,
    Entry,
    EpochBegan,
    EveLearnt,
    NodeStarted,
)
from qkdlink.common.node.settings import ENVIRONMENT_PREFIX
from qkdlink.deployment.brokers.broker import stop
from qkdlink.deployment.homes.home import LinkHome
from qkdlink.deployment.launching.endings import told_end

_PIPE_LIMIT_BYTES = 1 << 20

_NOTICE = ": INSECURE: "
"""In what a node says at its start of how it was set up (`qkdlink.common.node.station`), which is nothing that it dies
of."""


@dataclass(slots=True)
class NodeProcess:
    """A node that we started: its process, and what it told us."""

    name: str
    process: asyncio.subprocess.Process
    reports: asyncio.StreamReader
    words: asyncio.StreamReader
    notice: str = ""
    """What it has warned of at its start."""
    last_line: str = ""
    """Of what it has said since."""
    fingerprint: str | None = None
    opened: set[str] = field(default_factory=set)
    blocks: list[BlockEnded] = field(default_factory=list)
    epochs: list[EpochBegan] = field(default_factory=list)
    learnt: list[EveLearnt] = field(default_factory=list)
    """What Eve knows of each block that she could follow."""
    tallies: list[AttackTally] = field(default_factory=list)
    """On how much each of Eve's attacks has acted, once she has ended."""
    gone: str | None = None
    """Its last words, if it has ended while the link went on."""
    bootstrap: BootstrapClosed | None = None
    is_up: bool = False
    settled: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def gather(self, watch: Callable[[Entry], None]) -> None:
        """Read the node's reports until it ends."""
        while line := await self.reports.readline():
            report: dict[str, Any] = json.loads(line)
            self.fingerprint = report.get("fingerprint", self.fingerprint)
            if "entry" in report:
                entry = Entry.model_validate(report["entry"])
                self._keep(entry)
                watch(entry)
                async with self.settled:
                    self.settled.notify_all()

    async def listen(self) -> None:
        """Read what the node writes for a person, until it ends: a pipe that nobody reads would stop the node."""
        async for line in self.words:
            said = line.decode(errors="replace").strip()
            if _NOTICE in said:
                self.notice = said
            else:
                self.last_line = said or self.last_line

    @property
    def last_words(self) -> str:
        """Why the node ended, once it has; who was killed could not say."""
        status = self.process.returncode
        was_killed = status is not None and status < 0
        return (not was_killed and self.last_line) or told_end(self.name, status)

    async def started(self, life: asyncio.Task[None]) -> None:
        """Wait until the node is up, or has ended."""
        up = asyncio.create_task(self._until_up())
        await asyncio.wait({up, life}, return_when=asyncio.FIRST_COMPLETED)
        up.cancel()
        if not self.is_up:
            raise LinkError(self.last_words)

    async def _until_up(self) -> None:
        async with self.settled:
            await self.settled.wait_for(lambda: self.is_up)

    def has_settled(self, with_key: set[str]) -> bool:
        """Whether every block that was opened here, and each of `with_key`, has come to its end here."""
        return self.opened | with_key <= {block.block_id for block in self.blocks}

    def _keep(self, entry: Entry) -> None:
        match entry.event:
            case BlockOpened(block_id=block):
                self.opened.add(block)
            case BlockEnded() as ended:
                self.blocks.append(ended)
            case EpochBegan() as began:
                self.epochs.append(began)
            case EveLearnt() as learnt:
                self.learnt.append(learnt)
            case AttackTally() as tally:
                self.tallies.append(tally)
            case NodeStarted():
                self.is_up = True
            case BootstrapClosed() as closed:
                self.bootstrap = closed
            case _:
                return


@asynccontextmanager
async def running_node(home: LinkHome, name: str, seed: int | None) -> AsyncIterator[NodeProcess]:
    """Run a node while the context is open."""
    node = await _start(home, name, seed)
    try:
        yield node
    finally:
        await stop(node.process)


async def _start(home: LinkHome, name: str, seed: int | None) -> NodeProcess:
    read_end, write_end = os.pipe()
    command = [
        sys.executable,
        "-P",  # a folder called like a package of ours, where we happen to be, is not that package
        "-m",
        f"qkdlink.{name}",
        "--config",
        str(home.configuration(name)),
        "--report-fd",
        str(write_end),
    ]
    if seed is not None:
        command += ["--seed", str(seed)]
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=(write_end,),
            env=_environment(),
            limit=_PIPE_LIMIT_BYTES,
            start_new_session=True,
        )
    finally:
        os.close(write_end)
    reader = asyncio.StreamReader(limit=_PIPE_LIMIT_BYTES)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_end, "rb", buffering=0)
    )
    return NodeProcess(name, process, reports=reader, words=cast("asyncio.StreamReader", process.stderr))


def _environment() -> dict[str, str]:
    """Our environment without what would override the nodes' settings: a launched link is the one that was planned."""
    return {name: value for name, value in os.environ.items() if not name.startswith(ENVIRONMENT_PREFIX)}
