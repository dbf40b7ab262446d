"""Nodes that are forked from a process that has imported everything: the same programs, without two seconds of work.

That is what imports and loading the kernels cost each of them. Python is started for a node, as users start it, in
`tests/e2e` and `tests/containers`.
"""

import asyncio
import os
import runpy
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any, Self
from unittest import mock

from qkdlink.lab.faults.mortal import fork_server

_REPORTS = "--report-fd"
_STREAM_BYTES = 1 << 20
_start_python = asyncio.create_subprocess_exec


class ForkedNode:
    """A running node, with as much of `asyncio.subprocess.Process` as launchers and tests use."""

    def __init__(
        self,
        program: str,
        options: Sequence[str],
        environment: Mapping[str, str],
        before: Callable[[], None] | None = None,
    ) -> None:
        ours, theirs = os.pipe()
        with Connection(theirs, readable=False) as words, _report_pipe(options) as reports:
            self._process = fork_server().Process(
                target=_live, args=(program, options, dict(environment), before, words, reports), daemon=True
            )
            self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid
        self.words = os.fdopen(ours, "rb", buffering=0)
        """What it writes for a person."""
        self.stderr = asyncio.StreamReader(limit=_STREAM_BYTES)
        """The same, once `read_words` was called."""
        self._ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._process.sentinel, self._end)

    async def read_words(self) -> Self:
        """Let what it writes for a person come by `stderr`."""
        protocol = asyncio.StreamReaderProtocol(self.stderr)
        await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, self.words)
        return self

    @property
    def returncode(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._process.exitcode

    async def wait(self) -> int:
        """Wait for its end and return its status."""
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal; ProcessLookupError if it has ended."""
        if self.returncode is not None:
            raise ProcessLookupError
        os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it."""
        self.send_signal(signal.SIGKILL)

    def _end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._process.sentinel)
        self._ended.set()


@contextmanager
def forked_nodes() -> Iterator[None]:
    """Let launchers fork the nodes of their links while the context is open."""
    context = fork_server(
        "qkdlink.eve.station", "qkdlink.deployment.launching.warm", "qkdlink.lab.faults.mortal"
    )
    first = context.Process(
        target=os.getpid
    )  # by its end everything is imported, and no loop has to wait for it
    first.start()
    first.join()
    with mock.patch("asyncio.create_subprocess_exec", _fork_node_or_start):
        yield


async def _fork_node_or_start(
    *command: str,
    **options: Any,  # noqa: ANN401 - those of `asyncio.create_subprocess_exec`
) -> asyncio.subprocess.Process | ForkedNode:
    match command:
        case (sys.executable, "-P", "-m", "qkdlink.alice" | "qkdlink.bob" | "qkdlink.eve" as program, *rest):
            return await ForkedNode(program, rest, options["env"]).read_words()
        case _:
            return await _start_python(*command, **options)


@contextmanager
def _report_pipe(options: Sequence[str]) -> Iterator[Connection | None]:
    """Yield the pipe to a launcher that the options name, if they do, in a form that can be sent to another process."""
    if _REPORTS not in options:
        yield None
        return
    with Connection(os.dup(int(options[options.index(_REPORTS) + 1])), readable=False) as reports:
        yield reports


def _live(
    program: str,
    options: list[str],
    environment: dict[str, str],
    before: Callable[[], None] | None,
    words: Connection,
    reports: Connection | None,
) -> None:
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for number, file in enumerate((nothing, nothing, words.fileno())):
        os.dup2(file, number)
    os.environ.clear()
    os.environ.update(environment)
    if before is not None:
        before()
    if reports is not None:
        options[options.index(_REPORTS) + 1] = str(reports.fileno())
    sys.argv[1:] = options
    runpy.run_module(program, run_name="__main__", alter_sys=True)
