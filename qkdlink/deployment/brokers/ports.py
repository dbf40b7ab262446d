"""Loopback ports for processes that are about to start: nobody uses them, and no other launcher hands them out.

Between the choice of a port and the moment when a child listens at it lie seconds, in which everybody else who starts
links here chooses too (tests in parallel do). So a port that was chosen is kept for the life of this process, with a
lock on one byte of a file that all launchers of this user share, in their cache folder. A lock ends with its process,
however that ends.
"""

import fcntl
import os
import secrets
import socket
from contextlib import suppress
from functools import cache
from pathlib import Path

LOOPBACK = "127.0.0.1"
_LOWEST_PORT, _PORTS = 15_000, 17_000
_MINE: set[int] = set()


def free_port() -> int:
    """Return a loopback port that nobody uses now, and that nobody else is given while this process lives.

    It lies below those that systems give to callers: a connection that begins in the meantime cannot take it.
    """
    while True:
        port = _LOWEST_PORT + secrets.randbelow(_PORTS)
        if port not in _MINE and _is_unused(port) and _lock(port):
            _MINE.add(port)
            return port


def _is_unused(port: int) -> bool:
    with socket.socket() as probe, suppress(OSError):
        probe.bind((LOOPBACK, port))
        return True
    return False


def _lock(port: int) -> bool:
    locks = _locks()
    if locks is None:
        return True
    try:
        fcntl.lockf(locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except (
        BlockingIOError,
        PermissionError,
    ):  # held by another launcher: which of the two, systems differ in
        return False
    return True


@cache
def _locks() -> int | None:
    """Open the file whose bytes are locked; it is never closed, because closing it would give all locks back."""
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qkdlink"
        folder.mkdir(parents=True, exist_ok=True)
        return os.open(folder / "ports", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except (OSError, RuntimeError):  # nowhere to write: then a port is free as far as anybody can see
        return None
