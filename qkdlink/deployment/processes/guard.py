"""`python -m qkdlink.deployment.processes.guard COMMAND...`: runs a command for as long as the launcher lives, even if
that is killed.

Brokers do not ask who started them. The launcher holds the other end of this process's standard input; its end is the
end of the command, and so are SIGTERM and SIGINT. The command is asked first, and killed if it has not ended after a
second. SIGUSR1 kills it at once. A command that a signal ends, unasked, is named on standard error.
"""

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

from qkdlink.deployment.processes.endings import told_end

_END_TIMEOUT_S = 1.0
_asked = threading.Event()
"""Whether the command was told to end."""


def _main(command: list[str]) -> int:
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=_end, args=(process,), daemon=True).start())
    signal.signal(signal.SIGUSR1, lambda *_: _kill(process))
    threading.Thread(target=_end_with_launcher, args=(process,), daemon=True).start()
    status = process.wait()
    if status < 0 and not _asked.is_set():
        sys.stderr.write(f"{told_end(Path(command[0]).name, status)}\n")
    return status


def _kill(process: subprocess.Popen[bytes]) -> None:
    _asked.set()
    process.kill()


def _end_with_launcher(process: subprocess.Popen[bytes]) -> None:
    os.read(sys.stdin.fileno(), 1)
    _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask, then insist: whoever waits for us would kill us alone, and the command would stay."""
    _asked.set()
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_END_TIMEOUT_S)
    process.kill()


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
