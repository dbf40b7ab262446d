"""`qkdlink demo` as others call it: the JSON field by field, exit statuses, real processes, and nothing left behind."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from qkdlink import cli
from qkdlink.commands import demo as command
from qkdlink.common.errors import ConfigurationError
from qkdlink.common.journal.events import BlockEnded
from qkdlink.common.protocol.parameters import LinkParameters
from qkdlink.deployment.brokers.broker import find_mosquitto
from qkdlink.deployment.homes.home import LinkHome, open_home
from tests.support.processes import Journal, RunningProcess, full_disk, small_parameters, without_mosquitto

QKDLINK = [str(Path(sys.executable).with_name("qkdlink"))]
BLOCK_FIELDS = {
    "block_id": str,
    "pulses": int,
    "detections": int,
    "sifted_bits": int,
    "qber_key": float,
    "qber_test": float,
    "gains": dict,
    "leaked_bits": int,
    "efficiency": float,
    "secret_bits": int,
}
RUNS = {
    "one-decoy": ("--protocol", "one-decoy", "--block-pulses", "1500000", "--blocks", "2"),
    "two-decoy": ("--protocol", "two-decoy", "--block-pulses", "1500000", "--blocks", "2"),
    "single-photon": (
        "--protocol",
        "single-photon",
        "--block-pulses",
        "200000",
        "--blocks",
        "2",
        "--seed",
        "11",
    ),
}
CLASSES = {
    "one-decoy": {"signal", "decoy"},
    "two-decoy": {"signal", "decoy", "vacuum"},
    "single-photon": {"signal"},
}


@dataclass(frozen=True)
class Demo:
    """A finished `qkdlink demo --json`."""

    status: int
    stdout: str
    stderr: str
    left_behind: list[str]
    commands: list[list[str]]
    """Of every process that it had, seen while it ran."""

    @property
    def result(self) -> dict[str, Any]:
        """The object on the last line."""
        result: dict[str, Any] = json.loads(self.stdout.splitlines()[-1])
        return result


def _descendants(folder: Path) -> list[RunningProcess]:
    """Processes that mention a run's temporary folder, and their guards and brokers with them."""
    return [
        process
        for process in RunningProcess.all_now()
        if any(str(folder) in word for word in process.command)
    ]


def _demo(temporary: Path, *options: str) -> Demo:
    process = subprocess.Popen(
        [*QKDLINK, "demo", "--json", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(temporary)},
    )
    commands: list[list[str]] = []
    while process.poll() is None:
        commands += [each.command for each in _descendants(temporary) if each.command not in commands]
        time.sleep(0.2)
    stdout, stderr = process.communicate()
    left = [str(path) for path in temporary.iterdir()]
    left += [" ".join(each.command) for each in _descendants(temporary)]
    return Demo(process.returncode, stdout, stderr, left, commands)


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Demo]:
    """One demo of each protocol, all at once."""
    folders = [tmp_path_factory.mktemp(name) for name in RUNS]
    with ThreadPoolExecutor(len(RUNS)) as at_once:
        ran = at_once.map(lambda folder, options: _demo(folder, *options), folders, RUNS.values())
        return dict(zip(RUNS, ran, strict=True))


@pytest.fixture(params=RUNS)
def ran(request: pytest.FixtureRequest, demos: dict[str, Demo]) -> tuple[str, Demo]:
    """One of them."""
    return request.param, demos[request.param]


def test_the_keys_are_equal_and_the_status_says_so(ran: tuple[str, Demo]) -> None:
    _, demo = ran
    assert demo.status == 0
    assert demo.result["keys_equal"] is True
    assert demo.result["secret_bits"] > 0
    assert demo.result["fingerprint_alice"] == demo.result["fingerprint_bob"]
    assert re.fullmatch(r"[0-9a-f]{64}", demo.result["fingerprint_alice"])


def test_the_result_has_the_fields_of_the_contract_and_the_json_is_the_last_line(
    ran: tuple[str, Demo],
) -> None:
    _, demo = ran
    result = demo.result
    assert demo.stdout.endswith("}\n")
    assert result.keys() >= {
        "keys_equal", "secret_bits", "fingerprint_alice", "fingerprint_bob", "broker", "processes", "seconds",
        "blocks", "epochs",
    }  # fmt: skip
    assert result["broker"] == ("mosquitto" if find_mosquitto() else "amqtt")
    assert isinstance(result["seconds"], float)
    assert result["seconds"] > 0
    assert result["processes"].keys() == {"alice", "bob"}


def test_every_block_has_the_fields_of_the_contract(ran: tuple[str, Demo]) -> None:
    protocol, demo = ran
    assert len(demo.result["blocks"]) == 2
    for block in demo.result["blocks"]:
        for name, kind in BLOCK_FIELDS.items():
            assert type(block[name]) is kind, name
        assert block["aborted"] is None
        assert block["pulses"] == int(RUNS[protocol][3])
        assert 0 < block["sifted_bits"] <= block["detections"] < block["pulses"]
        assert 0 < block["qber_key"] < 0.05
        assert 0 <= block["qber_test"] < 0.05
        assert block["gains"].keys() == CLASSES[protocol]
        assert all(0 < gain < 1 for gain in block["gains"].values())
        assert 1 < block["efficiency"] < 1.15
        assert 0 < block["secret_bits"] < block["sifted_bits"]
    assert demo.result["secret_bits"] == sum(block["secret_bits"] for block in demo.result["blocks"])
    assert len({block["block_id"] for block in demo.result["blocks"]}) == 2


def test_the_epoch_says_what_authenticates_the_line(ran: tuple[str, Demo]) -> None:
    _, demo = ran
    (epoch,) = demo.result["epochs"]
    assert epoch == {"epoch": 0, "authenticated_by": "mutual-tls", "tls_version": "TLSv1.3", "key_id": None}


def test_alice_and_bob_are_processes_of_their_own_and_their_commands_hold_no_secret(
    ran: tuple[str, Demo],
) -> None:
    _, demo = ran
    pids = set(demo.result["processes"].values())
    assert len(pids) == 2
    assert os.getpid() not in pids
    for name in ("alice", "bob"):
        (arguments,) = [words for words in demo.commands if words[2:4] == ["-m", f"qkdlink.{name}"]]
        assert arguments[4] == "--config"
        assert set(arguments[6::2]) <= {"--report-fd", "--seed"}
    assert not re.search(r"[0-9a-f]{32}", " ".join(word for words in demo.commands for word in words))


def test_a_demo_leaves_no_process_and_no_folder_behind(ran: tuple[str, Demo]) -> None:
    _, demo = ran
    assert demo.left_behind == []
    for pid in demo.result["processes"].values():
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_demo_that_nobody_watches_writes_nothing_to_stderr(ran: tuple[str, Demo]) -> None:
    _, demo = ran
    assert demo.stderr == ""


def _in_here(capfd: pytest.CaptureFixture[str], *arguments: str) -> Demo:
    """Run the command in this process; the nodes are processes all the same."""
    with pytest.raises(SystemExit) as end:
        cli.main([*arguments])
    stdout, stderr = capfd.readouterr()
    assert isinstance(end.value.code, int)
    return Demo(end.value.code, stdout, stderr, [], [])


def _plans(patch: pytest.MonkeyPatch, parameters: LinkParameters) -> None:
    patch.setattr(command, "planned", lambda *_, **__: parameters)


@pytest.mark.usefixtures("nodes_are_forked")
def test_without_mosquitto_the_demo_says_that_amqtt_has_no_access_list_and_a_home_is_kept(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    without_mosquitto(monkeypatch)
    _plans(monkeypatch, small_parameters())
    demo = _in_here(capfd, "demo", "--blocks", "1", "--home", str(tmp_path / "home"))
    assert demo.status == 0
    assert "embedded: it has no access list" in demo.stdout
    assert "The keys are equal." in demo.stdout
    assert {path.name for path in (tmp_path / "home").iterdir()} == {
        *("broker", "ca", "options.json", "sites")
    }
    for name in ("alice", "bob"):
        assert len(Journal(LinkHome(tmp_path / "home").node(name) / "journal.jsonl").of(BlockEnded)) == 1


@pytest.mark.usefixtures("nodes_are_forked")
def test_no_key_is_status_1_with_the_json_all_the_same(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    _plans(monkeypatch, small_parameters(fibre=replace(small_parameters().fibre, misalignment=0.2)))
    demo = _in_here(capfd, "demo", "--json", "--blocks", "1")
    assert demo.status == 1
    result = demo.result
    assert (result["keys_equal"], result["secret_bits"]) == (False, 0)
    (block,) = result["blocks"]
    assert block["aborted"] == "qber-above-tolerated"
    assert (block["secret_bits"], block["qber_key"]) == (0, None)
    assert block["detections"] > 0


ERRORS = {
    "preset": (["--preset", "warp-drive"], "no preset is called 'warp-drive'"),
    "protocol": (["--protocol", "e91"], "no protocol 'e91'"),
    "distance": (["--distance", "400"], "400 km"),
    "negative distance": (["--distance", "-1"], "--distance"),
    "tiny block": (["--block-pulses", "1000"], "1000 pulses"),
    "option": (["--colour", "blue"], "--colour"),
    "no number": (["--blocks", "many"], "--blocks"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_is_status_2_one_line_on_stderr_and_nothing_on_stdout(
    capfd: pytest.CaptureFixture[str], name: str
) -> None:
    options, sentence = ERRORS[name]
    demo = _in_here(capfd, "demo", "--json", *options)
    assert demo.status == 2
    assert demo.stdout == ""
    assert len(demo.stderr.splitlines()) == 1
    assert sentence.lower() in demo.stderr.lower()


def test_a_home_that_is_something_else_is_left_alone(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "letter.txt").write_text("dear bob")
    for options in ([], ["--seed", "1"]):
        demo = _in_here(capfd, "demo", "--json", "--home", str(tmp_path), *options)
        assert (demo.status, demo.stdout, len(demo.stderr.splitlines())) == (2, "", 1)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_a_reproducible_run_refuses_a_home_that_has_been_lived_in(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    open_home(tmp_path / "home")
    demo = _in_here(capfd, "demo", "--json", "--seed", "1", "--home", str(tmp_path / "home"))
    assert demo.status == 2
    assert "needs an empty home" in demo.stderr


@pytest.mark.parametrize(
    ("limit", "file", "furnished"),
    [
        # a chain of two, which is longer than what the authorities write
        (800, "sites/site-a/links/link-1/certificate.pem", False),
        # in a home that was made while there was room
        (800, "sites/site-a/links/link-1/node.toml", True),
        (1400, "The key store of (alice|bob)", True),
    ],
)
def test_on_a_full_disk_the_error_names_the_file_and_nothing_half_made_is_left(
    tmp_path: Path, limit: int, file: str, furnished: bool
) -> None:
    home = tmp_path / "home"
    if furnished:
        open_home(home)
    done = subprocess.run(
        [
            *QKDLINK,
            "demo",
            "--json",
            "--protocol",
            "single-photon",
            "--block-pulses",
            "200000",
            "--home",
            str(home),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        preexec_fn=lambda: full_disk(limit),
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert re.search(rf"(annot write \S+{file}|{file} cannot be written)", done.stderr), done.stderr
    assert not list(tmp_path.rglob(".*")), "no temporary file"
    assert home.exists() == furnished
    for journal in home.rglob("journal.jsonl"):
        assert journal.read_text() == "" or journal.read_text().endswith("\n")


@contextmanager
def _running(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A launcher whose link has made at least one key."""
    process = subprocess.Popen(
        [*QKDLINK, *arguments, "--protocol", "single-photon", "--block-pulses", "80000", "--home", str(folder)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        _wait_until(lambda: _bob_has_a_key(folder))
        yield process
    finally:
        process.kill()
        process.wait()


def _bob_has_a_key(folder: Path) -> bool:
    try:
        return bool(Journal(LinkHome(folder).node("bob") / "journal.jsonl").keys)
    except ConfigurationError:  # the launcher has not made all sites yet
        return False


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30.0
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("number", "arguments", "status"),
    [
        (signal.SIGINT, ("up",), 0),
        (signal.SIGTERM, ("demo", "--json", "--blocks", "10000"), 130),
        (signal.SIGKILL, ("up",), -signal.SIGKILL),
    ],
)
def test_whatever_ends_the_launcher_ends_everything(
    tmp_path: Path, number: signal.Signals, arguments: tuple[str, ...], status: int
) -> None:
    folder = tmp_path / "home"
    with _running(folder, *arguments) as launcher:
        assert len(_descendants(folder)) >= 4, "the launcher, two nodes, a broker"
        launcher.send_signal(number)
        stdout, stderr = launcher.communicate(timeout=30)
        assert launcher.returncode == status
        assert "Traceback" not in stdout + stderr
        _wait_until(lambda: not _descendants(folder))
