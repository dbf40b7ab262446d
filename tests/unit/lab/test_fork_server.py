"""The server that nodes are forked from, where TMPDIR is longer than the path of a socket may be."""

import os
import subprocess
import sys
from pathlib import Path

_FORKS_ONE = """
from qkdlink.lab.faults.mortal import fork_server

process = fork_server().Process(target=print, args=("forked",))
process.start()
process.join()
"""


def test_processes_are_forked_whatever_the_length_of_tmpdir(tmp_path: Path):
    long = tmp_path / ("long" * 40)
    long.mkdir()
    ended = subprocess.run(
        [sys.executable, "-c", _FORKS_ONE],
        env={**os.environ, "TMPDIR": str(long)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "forked\n", "")
    assert not list(long.iterdir()), "nothing is left there"
