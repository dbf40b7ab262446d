"""`python -m qkdlink.deployment.launching.guard COMMAND...`: runs a command for as long as the launcher lives, even if
that is killed.

Brokers do not ask who started them. The launcher holds the other end of this process's standard input; its end is the
end of the command, and so are SIGTERM and SIGINT. The command is asked first, and killed if it has not ended after a
second. SIGUSR1 kills it at once.
"""

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress

_END_TIMEOUT_S = 1.0


def _main(command: list[str]) -> int:
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=_end, args=(process,), daemon=True).start())
    signal.signal(signal.SIGUSR1, lambda *_: process.kill())
    threading.Thread(target=_end_with_launcher, args=(process,), daemon=True).start()
    return process.wait()


def _end_with_launcher(process: subprocess.Popen[bytes]) -> None:
    os.read(sys.stdin.fileno(), 1)
    _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask, then insist: whoever waits for us would kill us alone, and the command would stay."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_END_TIMEOUT_S)
    process.kill()


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
