"""`python -m lab.guard COMMAND...`: runs a command for as long as the launcher lives, even if that is killed.

Brokers do not ask who started them. The launcher holds the other end of this process's standard input; its end is the
end of the command, which is asked first and killed if it has not ended after a second. SIGUSR1 kills the command
as nothing else would: without a word.
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
        signal.signal(number, lambda *_: process.terminate())
    signal.signal(signal.SIGUSR1, lambda *_: process.kill())
    threading.Thread(target=_end_with_launcher, args=(process,), daemon=True).start()
    return process.wait()


def _end_with_launcher(process: subprocess.Popen[bytes]) -> None:
    os.read(sys.stdin.fileno(), 1)
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_END_TIMEOUT_S)
    process.kill()


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
