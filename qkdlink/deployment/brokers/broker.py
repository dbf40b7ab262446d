"""A broker for a link on this machine: Mosquitto with an access list, else amqtt without one. For launchers only.

Mosquitto lets each node write its own topics and read what it needs, and nothing else. amqtt is the broker of last
resort: it listens on loopback, has no access list, and whoever uses it is told so.
"""

import asyncio
import base64
import hashlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from qkdlink.common.errors import LinkError
from qkdlink.common.transport.addresses import Address
from qkdlink.common.trust.private_files import NewFile, write_new
from qkdlink.common.wire.mqtt_packets import LONGEST_PACKET
from qkdlink.deployment.brokers.ports import LOOPBACK, free_port

_PYTHON = (sys.executable, "-P")
_START_TIMEOUT_S = 15.0
_STOP_TIMEOUT_S = 5.0
_PBKDF2_ROUNDS = 101  # what mosquitto_passwd uses; these passwords are 128 random bits

_MOST_QUEUED_BYTES = 2**29
"""What waits at the broker for one reader that is too slow."""
_HOUSE_RULES = f"""\
persistence false
max_packet_size {LONGEST_PACKET}
max_queued_bytes {_MOST_QUEUED_BYTES}
set_tcp_nodelay true
max_inflight_messages 0
max_queued_messages 1000
log_dest stderr
log_type error
log_type warning
"""
"""Of every Mosquitto of a link: light is never kept, and what a reader cannot take in time is lost light.

No packet is longer than a frame of light may be. Retained messages stay available, because the patch panel's is one.
"""


@dataclass(frozen=True, slots=True)
class BrokerUser:
    """Somebody at the broker: its password, and the topics it may write and read."""

    name: str
    password: str | None = field(repr=False)
    """None where the broker knows its users by their certificates."""
    writes: tuple[str, ...]
    reads: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunningBroker:
    """A broker that listens."""

    kind: str
    """"mosquitto" or "amqtt"."""
    address: Address
    has_access_list: bool
    log: Path
    process: asyncio.subprocess.Process
    """The broker's guard, which ends when the broker does."""


def house_rules() -> str:
    """Return what holds for every Mosquitto of a link; one that root sets up keeps to root's private files."""
    return _HOUSE_RULES + ("user root\n" if os.geteuid() == 0 else "")


def access_list(users: Iterable[BrokerUser]) -> str:
    """Return Mosquitto's access list: what it does not name is refused."""
    return "\n".join(
        "\n".join(
            [
                f"user {user.name}",
                *(f"topic write {topic}" for topic in user.writes),
                *(f"topic read {topic}" for topic in user.reads),
                "",
            ]
        )
        for user in users
    )


def find_mosquitto() -> str | None:
    """Return the path of Mosquitto, which some systems install outside of PATH."""
    return shutil.which(
        "mosquitto", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    )


@asynccontextmanager
async def run_broker(
    folder: Path, users: Iterable[BrokerUser], port: int | None = None
) -> AsyncIterator[RunningBroker]:
    """Run a broker on a loopback port, a free one unless told, while the context is open; LinkError if it fails."""
    mosquitto, port = find_mosquitto(), port or free_port()
    if mosquitto is not None:
        kind, command = "mosquitto", [mosquitto, "-c", str(_configure_mosquitto(folder, port, users))]
    else:
        kind, command = (
            "amqtt",
            [*_PYTHON, "-m", "qkdlink.deployment.brokers.embedded_broker", str(folder), str(port)],
        )
    with (folder / "broker.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *_PYTHON,
            "-m",
            "qkdlink.deployment.processes.guard",
            *command,
            stdin=subprocess.PIPE,  # closed by our end, whatever that is
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        await _wait_for(process, port, kind, folder)
        yield RunningBroker(
            kind, Address(LOOPBACK, port), kind == "mosquitto", folder / "broker.log", process
        )
    finally:
        await stop(process)


async def kill(broker: RunningBroker) -> None:
    """Kill a broker without a word, and wait until it is gone."""
    broker.process.send_signal(signal.SIGUSR1)
    await broker.process.wait()


async def stop(process: asyncio.subprocess.Process) -> None:
    """End a process that we started: ask first, then insist."""
    if process.returncode is None:
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _STOP_TIMEOUT_S)
        except TimeoutError:
            process.kill()
            await process.wait()


async def _wait_for(process: asyncio.subprocess.Process, port: int, kind: str, folder: Path) -> None:
    deadline = asyncio.get_running_loop().time() + _START_TIMEOUT_S
    while process.returncode is None and asyncio.get_running_loop().time() < deadline:
        try:
            _, writer = await asyncio.open_connection(LOOPBACK, port)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return
    raise LinkError(f"The broker ({kind}) did not start: {last_words(folder / 'broker.log')}")


def last_words(log: Path) -> str:
    """Return the last line of a broker's log, which may be gone when its folder is: why it ended, if it said so."""
    lines = log.read_text(errors="replace").split("\n") if log.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "it has not said why.")


def _configure_mosquitto(folder: Path, port: int, users: Iterable[BrokerUser]) -> Path:
    accounts = list(users)
    passwords = "".join(f"{user.name}:{_hashed(user.password)}\n" for user in accounts if user.password)
    configuration = (
        f"listener {port} {LOOPBACK}\n"
        "allow_anonymous false\n"
        f"password_file {folder / 'passwords'}\n"
        f"acl_file {folder / 'access-list'}\n"
    ) + house_rules()
    files = {"passwords": passwords, "access-list": access_list(accounts), "mosquitto.conf": configuration}
    for name in files:
        (folder / name).unlink(missing_ok=True)
    write_new(*(NewFile(folder / name, text.encode(), 0o600) for name, text in files.items()))
    return folder / "mosquitto.conf"


def _hashed(password: str) -> str:
    salt = secrets.token_bytes(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _PBKDF2_ROUNDS)
    return f"$7${_PBKDF2_ROUNDS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"
