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
from qkdlink.common.journal.events import Entry
from qkdlink.common.journal.link_state import LinkState, NodeState
from qkdlink.common.node.settings import ENVIRONMENT_PREFIX
from qkdlink.deployment.brokers.broker import stop
from qkdlink.deployment.homes.home import LinkHome
from qkdlink.deployment.processes.endings import told_end

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
    state: LinkState
    """Of the whole link, which takes what this node tells."""
    notice: str = ""
    """What it has warned of at its start."""
    last_line: str = ""
    """Of what it has said since."""
    fingerprint: str | None = None
    gone: str | None = None
    """Its last words, if it has ended while the link went on."""
    settled: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def gather(self, watch: Callable[[Entry], None]) -> None:
        """Read the node's reports until it ends."""
        while line := await self.reports.readline():
            report: dict[str, Any] = json.loads(line)
            self.fingerprint = report.get("fingerprint", self.fingerprint)
            if "entry" in report:
                entry = Entry.model_validate(report["entry"])
                self.state.take(entry)
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
    def told(self) -> NodeState:
        """Return what the node has told of itself."""
        return self.state.node(self.name)

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
        if not self.told.is_up:
            raise LinkError(self.last_words)

    async def _until_up(self) -> None:
        async with self.settled:
            await self.settled.wait_for(lambda: self.told.is_up)


@asynccontextmanager
async def running_node(
    home: LinkHome, name: str, seed: int | None, state: LinkState
) -> AsyncIterator[NodeProcess]:
    """Run a node while the context is open; what it tells goes into the state of the link."""
    node = await _start(home, name, seed, state)
    try:
        yield node
    finally:
        await stop(node.process)


async def _start(home: LinkHome, name: str, seed: int | None, state: LinkState) -> NodeProcess:
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
    return NodeProcess(
        name, process, reports=reader, words=cast("asyncio.StreamReader", process.stderr), state=state
    )


def _environment() -> dict[str, str]:
    """Our environment without what would override the nodes' settings: a launched link is the one that was planned."""
    return {name: value for name, value in os.environ.items() if not name.startswith(ENVIRONMENT_PREFIX)}
