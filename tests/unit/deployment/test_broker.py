"""A broker that does not start is told with its own last words: its log goes with the folder that it is in."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from qkdlink.common.errors import LinkError
from qkdlink.deployment.brokers.broker import last_words, run_broker
from tests.support.processes import guarded


async def test_a_broker_that_ends_at_once_is_told_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "mosquitto"
    broken.write_text("#!/bin/sh\necho first >&2\necho 'Error: no room for a broker' >&2\nexit 3\n")
    broken.chmod(0o700)
    monkeypatch.setattr("qkdlink.deployment.brokers.broker.find_mosquitto", lambda: str(broken))
    with pytest.raises(
        LinkError, match=r"^The broker \(mosquitto\) did not start: Error: no room for a broker$"
    ):
        async with run_broker(tmp_path, []):
            pass


@pytest.mark.parametrize("log", [None, "", " \n\n"])
def test_a_broker_that_has_said_nothing_has_not_said_why(log: str | None, tmp_path: Path) -> None:
    if log is not None:
        (tmp_path / "log").write_text(log)
    assert last_words(tmp_path / "log") == "it has not said why."


_DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
while True:
    time.sleep(1)
"""
_WHO_STARTS_IT = f"""
import subprocess, sys, time
from tests.support.processes import guarded
guard = guarded([sys.executable, "-c", {_DEAF!r}])
while True:
    time.sleep(1)
"""


def test_a_guarded_program_that_ignores_being_asked_ends_with_whoever_started_it() -> None:
    with subprocess.Popen([sys.executable, "-c", _WHO_STARTS_IT], stdout=subprocess.PIPE) as starter:
        assert starter.stdout is not None
        assert starter.stdout.readline() == b"deaf\n"
        starter.send_signal(signal.SIGKILL)
        assert starter.stdout.read() == b"", "the end of all that could write there"


def test_a_guard_that_is_asked_to_end_insists_that_its_program_ends():
    read_end, write_end = os.pipe()
    with open(read_end, "rb") as told, open(write_end, "wb") as tells:  # noqa: PTH123 - descriptors
        guard = guarded([sys.executable, "-c", _DEAF], stdout=tells)
        tells.close()
        assert told.readline() == b"deaf\n"
        guard.terminate()
        assert told.read() == b"", "the end of all that could write there"
    guard.communicate()
