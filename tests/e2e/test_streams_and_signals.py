"""Closed streams, a reader that has gone, Ctrl-C while programs are imported: the documented status, no traceback."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

QKDLINK = (sys.executable, "-P", "-m", "qkdlink")
SMALL = ("--protocol", "single-photon", "--block-pulses", "80000", "--blocks", "1")
INTERRUPTED = """
import os, runpy, signal, sys
import qkdlink.common.startup
prepared = qkdlink.common.startup.open_missing_streams
def then_wait():
    prepared()
    signal.setitimer(signal.ITIMER_REAL, {delay})
qkdlink.common.startup.open_missing_streams = then_wait
signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), {number}))
sys.argv[1:] = {arguments}
runpy.run_module({program!r}, run_name="__main__", alter_sys=True)
"""
"""The delay is counted from the program's own first step: how long Python takes to start is not ours to say."""


def run(*command: str, before: Callable[[], None] | None = None, **changes: str) -> tuple[int, str, str]:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=os.environ | changes,
        preexec_fn=before,
    )
    assert "Traceback" not in done.stdout + done.stderr
    assert "Exception ignored" not in done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("closed", "arguments", "status", "said"),
    [
        ((0,), ("keyrate", "--input", "-"), 2, "not a JSON object"),
        ((1,), ("--version",), 2, "output cannot be written"),
        ((1,), ("demo", *SMALL), 2, "output cannot be written"),
        ((2,), ("demo", "--preset", "warp-drive"), 2, ""),
        ((0, 2), ("demo", "--json", *SMALL), 0, ""),  # pipes and sockets of a link would get these numbers
    ],
)
def test_a_closed_stream_costs_what_it_would_have_carried(
    closed: tuple[int, ...], arguments: tuple[str, ...], status: int, said: str
) -> None:
    def close() -> None:
        for number in closed:
            os.close(number)

    ended, _, stderr = run(*QKDLINK, *arguments, before=close)
    assert (ended, said in stderr) == (status, True), stderr


@pytest.mark.parametrize("arguments", [("--help",), ("lab", "list"), ("demo", *SMALL)])
def test_output_that_nobody_reads_ends_a_command_in_silence_with_141(arguments: tuple[str, ...]) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        ended, _, stderr = run(*QKDLINK, *arguments, before=partial(os.dup2, write_end, 1))
    finally:
        os.close(write_end)
    assert (ended, stderr) == (141, "")


@pytest.mark.parametrize("delay", [0.02, 0.3, 1.0])
@pytest.mark.parametrize(
    ("program", "arguments", "number", "stopped"),
    [
        ("qkdlink", ("demo", "--blocks", "1000"), signal.SIGINT, 130),
        ("qkdlink", ("up",), signal.SIGTERM, 130),
        ("qkdlink.bob", ("--config", "nowhere.toml"), signal.SIGINT, 0),
        ("qkdlink.eve", ("--config", "nowhere.toml"), signal.SIGTERM, 0),
    ],
)
def test_a_program_that_is_told_to_end_while_it_starts_does_so_in_silence(
    tmp_path: Path, program: str, arguments: tuple[str, ...], number: int, stopped: int, delay: float
) -> None:
    code = INTERRUPTED.format(number=int(number), delay=delay, arguments=arguments, program=program)
    ended, stdout, stderr = run(sys.executable, "-P", "-c", code, TMPDIR=str(tmp_path))
    if program == "qkdlink":
        allowed = {stopped, 0} if arguments == ("up",) else {stopped}  # a link that is up was ended in order
        assert ended in allowed
        assert stderr in ("qkdlink: Stopped.\n", "") or "compiling" in stderr
        assert not list(tmp_path.iterdir()), "no home is left behind"
    else:
        assert ended in {stopped, 2}  # that there is no such file is an error, if it came to that
    assert ended == 0 or stderr or not stdout


INTERRUPTED_AT_THE_LAST_MOMENT = """
import signal
from qkdlink.common.startup import start

def load():
    restore = signal.signal
    def then_ctrl_c(number, handler):
        restore(number, handler)
        if number == signal.SIGINT:
            signal.raise_signal(number)
    signal.signal = then_ctrl_c
    return lambda: print("it has begun")

start(load, stopped=130, message="qkdlink: Stopped.")
"""


def test_ctrl_c_between_the_imports_and_the_first_line_of_output_is_no_traceback() -> None:
    ended = run(sys.executable, "-P", "-c", INTERRUPTED_AT_THE_LAST_MOMENT)
    assert ended == (130, "", "qkdlink: Stopped.\n")


def test_numba_told_not_to_compile_compiles_the_kernels_all_the_same() -> None:
    told = "from qkdlink.common.optics.loops import look_up; print(hasattr(look_up, 'py_func'))"
    assert run(sys.executable, "-P", "-c", told, NUMBA_DISABLE_JIT="1") == (0, "True\n", "")


def test_the_version_and_the_shells_completion_are_told() -> None:
    assert run(*QKDLINK, "--version") == (0, "qkdlink 0.1.0\n", "")
    told = run(*QKDLINK, _QKDLINK_COMPLETE="complete_bash", COMP_WORDS="qkdlink lab sw", COMP_CWORD="2")
    assert told[:2] == (0, "sweep\n")
