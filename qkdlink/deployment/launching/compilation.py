"""Compile every kernel before a link starts, in a process of its own, and say how far it is.

The first run on a machine compiles for half a minute. Without this each node would compile the same kernels at the
same time, in silence, in the middle of its first block. `python -m qkdlink.deployment.launching.compilation` compiles
and prints a line per step; `ensure_compiled` is for launchers.
"""

import fcntl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from qkdlink import common, eve
from qkdlink.common.kernels import compiled as kernels
from qkdlink.common.optics.loops import look_up

_PACKAGES = tuple(Path(path) for package in (common, eve) for path in package.__path__)
"""Where the kernels are that the nodes of a link use."""
_COMMAND = (sys.executable, "-P", "-m", "qkdlink.deployment.launching.compilation")


def ensure_compiled(say: Callable[[str], None] | None = None) -> None:
    """Compile the kernels unless they are compiled, with a line on standard error per step; quick if they are.

    Where no cache can be written every process has to compile for itself, and there is nothing to do here.
    """
    done = _done()
    if done is None or done.exists():
        return
    say = say or _on_standard_error
    with _alone(say):
        if not done.exists() and _compile(say) == 0:
            with suppress(OSError):
                done.touch()


def _done() -> Path | None:
    """Return the file that says that all is compiled; its name stands for all that the machine code depends on."""
    folder = kernels.cache_folder(look_up)
    return None if folder is None else folder / f"all-kernels-{kernels.digest_of_kernels(*_PACKAGES)[:16]}"


def _compile(say: Callable[[str], None]) -> int:
    """Run the compilation, which ends with us at the latest; return its status."""
    say("compiling numeric kernels, once on this machine; it takes about half a minute")
    with subprocess.Popen(
        _COMMAND,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # a kernel that does not compile is the error of the node that needs it
        text=True,
        start_new_session=True,  # Ctrl-C is for us
    ) as process:
        try:
            for step in process.stdout or ():
                say(f"compiling kernels: {step.strip()}")
        except BaseException:
            process.kill()
            raise
    return process.returncode


@contextmanager
def _alone(say: Callable[[str], None]) -> Iterator[None]:
    """Let one process at a time compile; the lock is on a file of ours that everybody can open."""
    with Path(kernels.__file__).open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another process is compiling the numeric kernels; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            pass  # a file system without locks: both compile, which costs time and nothing else
        yield


def _on_standard_error(line: str) -> None:
    sys.stderr.write(f"qkdlink: {line}\n")
    sys.stderr.flush()


def _main() -> None:
    from qkdlink.deployment.launching.kernel_use import STEPS

    for number, (name, step) in enumerate(STEPS.items(), 1):
        sys.stdout.write(f"{name} ({number} of {len(STEPS)})\n")
        sys.stdout.flush()
        step()


if __name__ == "__main__":
    _main()
