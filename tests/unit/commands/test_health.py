import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from qkdlink.commands.health import complaint
from qkdlink.common.journal.event import Event
from qkdlink.common.journal.events import BlockEnded, Entry, EpochBegan, NodeStarted, NodeStopped

type Write = Callable[..., Path]
NOW = 1_000_000.0
STARTED = NodeStarted(role="alice", link="link-1", broker="broker:8883", reproducible=False)
EPOCH = EpochBegan(
    epoch=1,
    session="s",
    authenticated_by="tls-psk",
    tls_version="TLSv1.3",
    key_id="k",
    peer="bob",
    peer_fingerprint=None,
)


def block(secret_bits: int) -> BlockEnded:
    return BlockEnded(
        block_id="link-1/s/1", number=1, pulses=1, detections=1, sifted_bits=1, qber_key=None, qber_test=None, gains={},
        leaked_bits=0, efficiency=None, secret_bits=secret_bits, aborted=None if secret_bits else "no-key", detail=None,
        authenticated_by="hmac-sha256", exchanges=1, seconds=1.0,
        classical_bytes=1, authentication_bytes=1, authentication_seconds=0.0,
    )  # fmt: skip


@pytest.fixture
def journal(tmp_path: Path) -> Write:
    def write(*told: tuple[float, Event]) -> Path:
        path = tmp_path / "journal.jsonl"
        lines = [
            Entry.model_validate({"node": "alice", "time": NOW - ago, "event": event}).model_dump_json()
            for ago, event in told
        ]
        path.write_text("".join(f"{line}\n" for line in lines))
        return path

    return write


def test_a_node_that_has_made_a_key_lately_is_healthy(journal: Write):
    assert complaint(journal((40, STARTED), (30, EPOCH), (20, block(500))), NOW) is None


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        ([], "no block has ended with a key yet"),
        ([(40, STARTED), (30, EPOCH)], "no block has ended with a key yet"),
        ([(40, STARTED), (30, block(0))], "no block has ended with a key yet"),
        ([(400, STARTED), (300, block(500)), (10, block(0))], "did so 300 s ago"),
        ([(40, STARTED), (30, block(500)), (20, STARTED)], "no block has ended with a key yet"),
        ([(40, STARTED), (30, block(500)), (20, NodeStopped(reason="ended"))], "the node has stopped"),
    ],
)
def test_everything_else_is_not(journal: Write, told: list[tuple[float, Event]], sentence: str):
    assert sentence in (complaint(journal(*told), NOW) or "healthy")


def test_a_line_in_the_making_and_one_cut_by_the_window_are_passed_over(
    journal: Write, monkeypatch: pytest.MonkeyPatch
):
    path = journal((90, STARTED), (80, EPOCH), (20, block(500)))
    path.write_text(path.read_text() + '{"node": "al')
    monkeypatch.setattr("qkdlink.commands.health._TAIL_BYTES", path.stat().st_size - 5)
    assert complaint(path, NOW) is None


def test_a_journal_that_is_not_there_is_one_sentence_and_status_one(tmp_path: Path):
    command = [sys.executable, "-P", "-m", "qkdlink.commands.health", str(tmp_path / "journal.jsonl")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "cannot be read: No such file" in done.stdout
    assert done.stderr == ""


def test_it_imports_nothing_that_costs_time():
    program = (
        "import sys, qkdlink.commands.health; "
        "print(sorted({'pydantic', 'numba', 'typer', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
