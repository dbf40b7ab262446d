"""What a program does before its imports: it makes sure of its standard streams, and ends quietly if told to end now.

Imports take up to a second, and much longer on a busy machine. Python would answer Ctrl-C in that time with a
traceback. This module therefore imports next to nothing, and `__main__` modules import nothing else at their top.
"""

import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def start(load: Callable[[], Callable[[], None]], stopped: int, message: str = "") -> None:
    """Import a program by `load` and run what it returns; told to end before that, exit with status `stopped`."""
    open_missing_streams()
    # nothing here multiplies matrices, and starting the threads that would takes a tenth of a second on each core
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

    def stop(_number: int, _frame: FrameType | None) -> None:
        if message:
            os.write(2, f"{message}\n".encode())
        os._exit(stopped)  # in the middle of an import an exception could be caught by anybody

    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, stop)
    with importing():
        run = load()
    try:
        for number, handler in before.items():
            signal.signal(number, handler)
        run()
    except KeyboardInterrupt:
        stop(signal.SIGINT, None)


@contextmanager
def importing() -> Iterator[None]:
    """Collect no garbage during imports, a third of their time, nor later among what they made, which stays."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def open_missing_streams() -> None:
    """Open what was closed of standard input, output and error, so that no file or socket of ours gets its number.

    Input is then at its end and error output is dropped. Writing to standard output still fails, as it does where it
    is closed: who does not get a result has to learn of it.
    """
    for number, (name, flags, mode) in enumerate(
        (("stdin", os.O_RDONLY, "r"), ("stdout", os.O_RDONLY, "w"), ("stderr", os.O_WRONLY, "w"))
    ):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, flags), True)  # noqa: FBT003 - it takes no name; the number is the lowest free one
        if getattr(sys, name) is None:
            setattr(
                sys, name, os.fdopen(number, mode, encoding="utf-8", errors="backslashreplace", closefd=False)
            )
