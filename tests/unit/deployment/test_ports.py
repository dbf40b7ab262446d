"""Ports for processes that are about to start: nobody uses them, and no two launchers are given the same."""

import fcntl
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from qkdlink.deployment.brokers import ports
from qkdlink.deployment.brokers.ports import LOOPBACK, free_port

TAKES_ONE_OF = (
    "import sys; from qkdlink.deployment.brokers import ports; ports._LOWEST_PORT, ports._PORTS = int(sys.argv[1]), 2;"
    "print(ports.free_port(), flush=True); sys.stdin.read()"
)


def test_a_port_is_free_and_below_those_that_systems_give_to_callers() -> None:
    port = free_port()
    assert 15_000 <= port < 32_000
    with socket.socket() as probe:
        probe.bind((LOOPBACK, port))


def test_a_port_is_handed_out_once_by_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = free_port(), free_port()
    draws = iter([first, second, first])
    draw = ports.secrets.randbelow
    monkeypatch.setattr(ports.secrets, "randbelow", lambda below: next(draws, 15_000 + draw(below)) - 15_000)
    assert free_port() not in (first, second)
    assert not list(draws), "all three were refused"


def test_a_port_in_use_is_not_handed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server((LOOPBACK, 0)) as busy:
        draws = iter([busy.getsockname()[1]])
        draw = ports.secrets.randbelow
        monkeypatch.setattr(
            ports.secrets, "randbelow", lambda below: next(draws, 15_000 + draw(below)) - 15_000
        )
        assert free_port() != busy.getsockname()[1]


def test_where_nothing_can_be_written_a_port_is_free_as_far_as_can_be_seen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "qkdlink").write_text("a file where a folder should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    ports._locks.cache_clear()
    try:
        assert 15_000 <= free_port() < 32_000
    finally:
        ports._locks.cache_clear()


def first_of_two() -> int:
    """Take a port whose neighbour nobody has."""
    while True:
        port = free_port()
        if ports._is_unused(port + 1) and ports._lock(port + 1):
            fcntl.lockf(ports._locks(), fcntl.LOCK_UN, 1, port + 1)
            return port


def test_two_processes_are_given_two_ports_and_a_process_that_ends_gives_its_port_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pair = first_of_two()
    monkeypatch.setattr(ports, "_LOWEST_PORT", pair)
    monkeypatch.setattr(ports, "_PORTS", 2)
    for _ in range(
        3
    ):  # the other one has just the second: the first is kept here, and none is kept by the dead
        with subprocess.Popen(
            [sys.executable, "-c", TAKES_ONE_OF, str(pair)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as other:
            assert other.stdout is not None
            try:
                assert int(other.stdout.readline()) == pair + 1
            finally:
                other.kill()
