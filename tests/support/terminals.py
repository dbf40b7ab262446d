"""The programs of an installation, and `qkdlink` on a pseudo-terminal, as somebody would sit at one."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from qkdlink.deployment.brokers.broker import find_mosquitto
from qkdlink.deployment.homes.home import LinkHome
from tests.support.processes import Journal, until

_ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, sys.path)), "TERM": "xterm-256color"}


@asynccontextmanager
async def programs(link: Path) -> AsyncIterator[dict[str, Journal]]:
    """Run broker, Eve, Bob and Alice, each in its folder, while the context is open; yields their journals."""
    running = [_start(link / "broker", str(find_mosquitto()), "-c", "mosquitto.conf")]
    journals = {
        name: Journal(LinkHome(link).node(name) / "journal.jsonl") for name in ("eve", "bob", "alice")
    }
    try:
        for name, journal in journals.items():
            running.append(
                _start(
                    LinkHome(link).node(name),
                    sys.executable,
                    "-m",
                    f"qkdlink.{name}",
                    "--config",
                    "node.toml",
                )
            )
            await until(lambda journal=journal: bool(journal.events), f"{name}'s first word", 60)
        yield journals
    finally:
        for program in reversed(running):
            program.terminate()
            program.wait(20)


def _start(folder: Path, *command: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, cwd=folder, env=_ENVIRONMENT)


@dataclass
class Terminal:
    """A terminal of 160 columns and 50 rows, and the program on it."""

    process: subprocess.Popen[bytes]
    handle: int
    _seen: bytes = b""

    def shown(self) -> str:
        """Everything that was written so far, escape sequences included."""
        with suppress(BlockingIOError, OSError):
            while more := os.read(self.handle, 1 << 16):
                self._seen += more
        return self._seen.decode(errors="replace")

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self.handle, keys.encode())


@contextmanager
def on_a_terminal(*arguments: str) -> Iterator[Terminal]:
    """Run `qkdlink` on a terminal of its own while the context is open."""
    handle, its_end = pty.openpty()
    fcntl.ioctl(its_end, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 160, 0, 0))
    os.set_blocking(handle, False)
    command = [sys.executable, "-c", "from qkdlink.cli import main; main()", *arguments]
    process = subprocess.Popen(
        command, stdin=its_end, stdout=its_end, stderr=its_end, env=_ENVIRONMENT, start_new_session=True
    )
    os.close(its_end)
    try:
        yield Terminal(process, handle)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        os.close(handle)
