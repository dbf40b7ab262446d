"""The full man in the middle: two live half-links, Eve's own BB84 with each side, by programs that she starts.

Facing Alice she runs what Bob runs, facing Bob what Alice runs: ordinary nodes in homes of her own, with whatever she
has stolen in them. While they live, calls for Bob lead to her Bob, Alice's light ends at his detectors, and Bob's
detectors see the light of her Alice. Nothing in them is made for an attack, so they come as far as what they hold
lets them, and say themselves where they are refused.
"""

import asyncio
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, cast

from qkdlink.common.errors import ConfigurationError, LinkError
from qkdlink.common.journal.event import Event
from qkdlink.common.journal.events import HalfLinkChanged
from qkdlink.common.node.settings import CONFIGURATION_FILE, ENVIRONMENT_PREFIX
from qkdlink.common.text_files import read_text
from qkdlink.common.transport.addresses import Address
from qkdlink.eve.relay import ClassicalRelay
from qkdlink.eve.settings import EveSettings, ImpersonationSettings
from qkdlink.eve.tap import LightTap, ReceiptTap

_UP_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 5.0
_PIPE_LIMIT_BYTES = 1 << 20
_UP = "node-started"


@dataclass(slots=True)
class HalfLinks:
    """Both half-links, which live together or not at all."""

    homes: ImpersonationSettings
    settings: EveSettings
    folder: Path
    """Hers: the homes are relative to it."""
    relay: ClassicalRelay
    light: LightTap
    receipts: ReceiptTap
    tell: Callable[[Event], None]
    _programs: list["_Program"] = field(default_factory=list)

    @property
    def are_living(self) -> bool:
        """Whether she is in both nodes' places; one of her programs may have been refused and ended since."""
        return bool(self._programs)

    @asynccontextmanager
    async def at_hand(self) -> AsyncIterator[Self]:
        """Let them begin and end while the context is open; they end with it."""
        try:
            yield self
        finally:
            await self.end()

    async def begin(self) -> None:
        """Take both nodes' places; does nothing if she has.

        She has to be plugged into light and words. LinkError, with the program's own sentence, if one does not come
        up; ConfigurationError if a home has no configuration. All is as it was then.
        """
        if self.are_living:
            return
        bob_home, alice_home = (self.folder / home for home in (self.homes.bob_home, self.homes.alice_home))
        detours = self._detours(bob_home)
        self.light.is_open = self.receipts.is_open = False
        try:
            for program, home, facing in (
                ("bob", bob_home, self.settings.alice),
                ("alice", alice_home, self.settings.bob),
            ):
                self._programs.append(await _start(program, home, facing, self.tell))
            for started in self._programs:
                await started.until_up()
        except BaseException:
            await self.end()
            raise
        self.relay.detours.update(detours)
        self.relay.cut()

    async def end(self) -> None:
        """Give both places back; does nothing if she has neither."""
        ending, self._programs = self._programs, []
        for program in ending:
            await program.stop()
        self.light.is_open = self.receipts.is_open = True
        if self.relay.detours:
            self.relay.detours.clear()
            self.relay.cut()

    def _detours(self, bob_home: Path) -> dict[Address, Address]:
        """Say where calls for Bob lead: to where her own Bob listens."""
        configuration, splice = bob_home / CONFIGURATION_FILE, self.settings.splice
        try:
            told = tomllib.loads(read_text(configuration))["classical"]
            return {
                splice.bob_address: Address.parse(told["address"]),
                splice.bob_bootstrap_address: Address.parse(told["bootstrap_address"]),
            }
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(
                "Eve has stolen nothing that she could impersonate anybody with: start the link with --stolen,"
                " or steal now with `qkdlink eve --home ... --stolen ...`."
            ) from error


@dataclass(slots=True)
class _Program:
    """One of her two nodes; it ends with her, whatever her end is, because her end of its pipe is closed then."""

    facing: str
    process: asyncio.subprocess.Process
    reports: asyncio.StreamReader
    tell: Callable[[Event], None]
    last_line: str = ""
    _is_stopping: bool = False
    _came_up: bool = False
    _up: asyncio.Event = field(default_factory=asyncio.Event)
    _life: asyncio.Task[None] | None = None

    def watch(self) -> None:
        """Begin to read what it tells."""
        self._life = asyncio.create_task(self._live(), name=f"half-link facing {self.facing}")

    async def until_up(self) -> None:
        """Wait until it is up; LinkError with its own sentence if it ends before."""
        try:
            async with asyncio.timeout(_UP_TIMEOUT_S):
                await self._up.wait()
        except TimeoutError as error:
            raise LinkError(f"Eve's program facing {self.facing} does not come up.") from error
        if not self._came_up:  # one that has come up and was refused since has told so by itself
            raise LinkError(f"Eve's program facing {self.facing} has ended: {self.last_line}")

    async def stop(self) -> None:
        """End it: ask first, then insist."""
        self._is_stopping = True
        if self.process.returncode is None:
            self.process.terminate()
            try:
                async with asyncio.timeout(_STOP_TIMEOUT_S):
                    await self.process.wait()
            except TimeoutError:
                self.process.kill()
        if self._life is not None:
            await self._life

    async def _live(self) -> None:
        await asyncio.gather(self._follow(), self._listen())
        await self.process.wait()
        self._up.set()
        reason = "she gave the place back" if self._is_stopping else self.last_line
        self.tell(
            HalfLinkChanged(facing=self.facing, living=False, by_itself=not self._is_stopping, reason=reason)
        )

    async def _follow(self) -> None:
        while line := await self.reports.readline():
            report: dict[str, Any] = json.loads(line)
            if report.get("entry", {}).get("event", {}).get("type") == _UP:
                self.tell(
                    HalfLinkChanged(
                        facing=self.facing, living=True, by_itself=False, reason="her own program is up"
                    )
                )
                self._came_up = True
                self._up.set()

    async def _listen(self) -> None:
        """Keep the last line that it writes for a person: why it was refused, if it was."""
        async for line in cast("asyncio.StreamReader", self.process.stderr):
            self.last_line = line.decode(errors="replace").strip() or self.last_line


async def _start(program: str, home: Path, facing: str, tell: Callable[[Event], None]) -> _Program:
    read_end, write_end = os.pipe()
    configuration = str(home / CONFIGURATION_FILE)
    try:
        process = await asyncio.create_subprocess_exec(
            *(
                sys.executable,
                "-P",
                "-m",
                f"qkdlink.{program}",
                "--config",
                configuration,
                "--report-fd",
                str(write_end),
            ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=(write_end,),
            env={
                name: value for name, value in os.environ.items() if not name.startswith(ENVIRONMENT_PREFIX)
            },
            limit=_PIPE_LIMIT_BYTES,
            start_new_session=True,
        )
    except BaseException:
        os.close(read_end)
        raise
    finally:
        os.close(write_end)
    reports = asyncio.StreamReader(limit=_PIPE_LIMIT_BYTES)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reports), os.fdopen(read_end, "rb", buffering=0)
    )
    started = _Program(facing, process, reports, tell)
    started.watch()
    return started
