"""A process that ended without a message is explained by its exit status, and so is one that a guard guards."""

import subprocess
import sys

import pytest

from qkdlink.deployment.processes.endings import told_end


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (-9, "alice was ended by SIGKILL: the machine may have run out of memory"),
        (-11, "alice was ended by SIGSEGV: a library crashed: start the command again"),
        (-1, "alice was ended by SIGHUP: it could not say why"),
        (-40, "alice was ended by signal 40: it could not say why"),
        (3, "alice ended with status 3"),
    ],
)
def test_the_end_names_its_signal_and_what_to_do(status: int, told: str) -> None:
    assert told_end("alice", status).startswith(told)


def test_a_guard_names_the_signal_that_ended_what_it_guards() -> None:
    killed = (sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    command = (sys.executable, "-P", "-m", "qkdlink.deployment.processes.guard", *killed)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as guard:
        assert guard.stderr is not None
        said = guard.stderr.read()
    assert " was ended by SIGKILL: the machine may have run out of memory" in said


def test_a_guard_that_ends_what_it_guards_says_nothing() -> None:
    asleep = (sys.executable, "-c", "import time; time.sleep(60)")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "qkdlink.deployment.processes.guard", *asleep],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.stderr == b""
