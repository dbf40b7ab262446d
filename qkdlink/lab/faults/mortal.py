"""Nodes that can be killed at a named point: real processes, forked from one that has imported everything already."""

import os
import resource
import signal
import sys
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context, util
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path

import qkdlink.alice.station
import qkdlink.bob.station
from qkdlink.alice.settings import AliceSettings
from qkdlink.bob.settings import BobSettings
from qkdlink.common.node.program import main
from qkdlink.deployment.homes.home import LinkHome
from qkdlink.deployment.homes.names import ALICE, BOB
from qkdlink.lab.faults.kill_points import arm, point

_LONGEST_TEMPORARY_BYTES = 60
"""The fork server listens in a folder there; a socket's path has 107 bytes at the most (`man 7 unix`)."""


def fork_server(*preloaded: str) -> ForkServerContext:
    """Return what forks processes, wherever TMPDIR is; the first to start it says which modules it imports."""
    if len(os.fsencode(tempfile.gettempdir())) > _LONGEST_TEMPORARY_BYTES:
        told, tempfile.tempdir = tempfile.tempdir, "/tmp"  # noqa: S108 - a private folder is made there
        try:
            util.get_temp_dir()  # made once and remembered
        finally:
            tempfile.tempdir = told
    context = get_context("forkserver")
    context.set_forkserver_preload(list(preloaded))
    return context


@dataclass(frozen=True, slots=True)
class Death:
    """At which point a node is to die, and at which of the calls that match."""

    point: str
    on: int


class Mortal:
    """A node as a process of its own; it ends with us at the latest."""

    def __init__(
        self,
        home: LinkHome,
        name: str,
        death: Death | None = None,
        largest_file: int | None = None,
        options: tuple[str, ...] = (),
    ) -> None:
        context = fork_server(__name__, "qkdlink.deployment.launching.warm")
        theirs, self._ours = context.Pipe(duplex=False)
        self._words = home.folder / f"{name}.stderr"
        self._process: BaseProcess = context.Process(
            target=_live,
            args=(name, home.configuration(name), death, largest_file, options, self._words, theirs),
            daemon=True,
        )
        self._process.start()
        theirs.close()

    @property
    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self._process.is_alive()

    @property
    def was_killed(self) -> bool:
        """Whether it has ended by SIGKILL."""
        return self._process.exitcode == -signal.SIGKILL

    @property
    def words(self) -> str:
        """What it has written for a person."""
        return self._words.read_text()

    @property
    def status(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._process.exitcode

    def kill(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.join()

    def wait(self, seconds: float) -> None:
        """Wait until it has ended, but not for longer than this."""
        self._process.join(seconds)

    def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        self._process.terminate()
        self._process.join(10)
        if self._process.is_alive():
            self.kill()


def _live(
    name: str,
    configuration: Path,
    death: Death | None,
    largest_file: int | None,
    options: tuple[str, ...],
    words: Path,
    theirs: Connection,
) -> None:
    threading.Thread(target=_end_with_launcher, args=(theirs,), daemon=True).start()
    with words.open("ab") as stderr:
        os.dup2(stderr.fileno(), 2)
    if largest_file is not None:  # a disk that is full as soon as a file has grown to this size
        resource.setrlimit(
            resource.RLIMIT_FSIZE, (largest_file, resource.getrlimit(resource.RLIMIT_FSIZE)[1])
        )
    if death is not None:
        arm(point(death.point, name), death.on)
    sys.argv = [name, "--config", str(configuration), *options]
    if name == ALICE:
        main(ALICE, AliceSettings, qkdlink.alice.station.run)
    else:
        main(BOB, BobSettings, qkdlink.bob.station.run)


def _end_with_launcher(theirs: Connection) -> None:
    with suppress(EOFError, OSError):
        theirs.recv_bytes()
    os.kill(os.getpid(), signal.SIGKILL)
