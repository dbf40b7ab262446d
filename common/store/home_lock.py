"""One process at a time on a home: a lock on its folder, which the kernel releases when the process ends.

Two nodes on one store would take the connection, block numbers and units from each other. The lock is `flock(2)` on
the folder itself. It belongs to the open descriptor, which programs that we start do not inherit: none of them keeps
the lock of a launcher that was killed. It holds between containers, too, that share the folder of one machine.
"""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from qkdlink.common.errors import ConfigurationError

PROCESS_FILE = ".in-use"
"""Which process has the home; it tells people, and decides nothing."""
_STOP_IT = "{folder} is in use by {process}: stop that first, or name another home."


@contextmanager
def locked_home(folder: Path, refusal: str = _STOP_IT) -> Iterator[None]:
    """Keep every other process out of a home; ConfigurationError, with the sentence `refusal`, if one has it.

    In `refusal`, `{folder}` and `{process}` stand for the home and for who has it.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise ConfigurationError(f"The home {folder} cannot be opened: {error.strerror}.") from error
    try:
        _lock(descriptor, folder, refusal)
        _sign(folder / PROCESS_FILE)
        try:
            yield
        finally:
            (folder / PROCESS_FILE).unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path, refusal: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ConfigurationError(refusal.format(folder=folder, process=_process_of(folder))) from error
    except OSError as error:
        raise ConfigurationError(
            f"The home {folder} cannot be locked ({error.strerror}): keep it on a file system that knows locks."
        ) from error


def _sign(file: Path) -> None:
    with suppress(OSError):  # on a full disk the lock still holds
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            opened.write(f"{os.getpid()} {socket.gethostname()}\n")


def _process_of(folder: Path) -> str:
    """Say which process has the home; its number means nothing on another host, as in another container."""
    try:
        number, host = (folder / PROCESS_FILE).read_text(encoding="utf-8").split()
        found = f"process {int(number)}"
    except (OSError, ValueError):
        return "another process"
    return found if host == socket.gethostname() else f"{found} on {host}"
