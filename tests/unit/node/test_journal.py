"""The journal: whole private lines, in the file first; a full disk is an error, a broker that is away is not."""

import asyncio
import os
import resource
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import cast

import pytest

from common.errors import ConfigurationError, LinkError
from common.journal.events import ENTRY, Entry, LineLost, NodeStopped
from common.node.journal import Journal, JournalFile
from common.transport.mqtt import Bus


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


class FlakyBus:
    """A broker that is away for its first few messages, or never answers."""

    def __init__(self, away: int = 0, *, silent: bool = False) -> None:
        self.away = away
        self.silent = silent
        self.published: list[tuple[str, bytes]] = []

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        assert not retain
        if self.silent:
            await asyncio.Event().wait()
        if self.away:
            self.away -= 1
            raise LinkError("The broker is gone.")
        self.published.append((topic, payload))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def journal(path: Path, told: list[Entry]) -> tuple[Journal, JournalFile]:
    file = JournalFile(path)
    return Journal("bob", file, told.append), file


def test_an_event_is_one_line_with_its_vantage_point_in_a_file_for_its_owner_alone(path: Path) -> None:
    told: list[Entry] = []
    writing, file = journal(path, told)
    with closing(file):
        writing.tell(LineLost(reason="gone\nfor good"))
        writing.tell(NodeStopped(reason="ended"))
    assert [ENTRY.validate_json(line) for line in lines(path)] == told
    assert [entry.node for entry in told] == ["bob", "bob"]
    assert told[0].event == LineLost(reason="gone\nfor good")
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_journal_is_continued_not_replaced(path: Path) -> None:
    for reason in ("first", "second"):
        writing, file = journal(path, [])
        with closing(file):
            writing.tell(NodeStopped(reason=reason))
    assert len(lines(path)) == 2


def test_a_journal_that_cannot_be_opened_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere.journal\.jsonl cannot be written: No such file"):
        JournalFile(tmp_path / "nowhere" / "journal.jsonl")


@contextmanager
def small_disk() -> Iterator[None]:
    """A limit on every file of this process; pytest itself may be writing one, so nothing else is done meanwhile."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (250, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_an_error_and_leaves_whole_lines(path: Path) -> None:
    writing, file = journal(path, [])
    with closing(file):
        for n in range(2):
            writing.tell(NodeStopped(reason=str(n)))
        for _ in range(2):
            with small_disk(), pytest.raises(ConfigurationError, match="cannot be written"):
                writing.tell(NodeStopped(reason="x" * 60))
    assert [ENTRY.validate_json(line).event for line in lines(path)] == [
        NodeStopped(reason="0"),
        NodeStopped(reason="1"),
    ]


async def test_the_broker_hears_what_the_file_has(path: Path) -> None:
    bus = FlakyBus()
    writing, file = journal(path, [])
    with closing(file):
        async with writing.published(cast("Bus", bus), "topic"):
            writing.tell(NodeStopped(reason="ended"))
    assert bus.published == [("topic", line.encode()) for line in lines(path)]


async def test_a_broker_that_is_away_costs_the_broker_an_event_and_nobody_else(path: Path) -> None:
    bus = FlakyBus(away=1)
    writing, file = journal(path, [])
    with closing(file):
        async with writing.published(cast("Bus", bus), "topic"):
            for n in range(2):
                writing.tell(NodeStopped(reason=str(n)))
    assert [ENTRY.validate_json(payload).event for _, payload in bus.published] == [NodeStopped(reason="1")]
    assert len(lines(path)) == 2


async def test_a_broker_that_never_answers_holds_the_end_up_for_a_second_at_the_most(path: Path) -> None:
    writing, file = journal(path, [])
    started = asyncio.get_running_loop().time()
    with closing(file):
        async with writing.published(cast("Bus", FlakyBus(silent=True)), "topic"):
            for n in range(2000):
                writing.tell(NodeStopped(reason=str(n)))
    assert asyncio.get_running_loop().time() - started < 2.5
    assert len(lines(path)) == 2000


def test_closing_gives_the_file_back(path: Path) -> None:
    file = JournalFile(path)
    descriptor = file._file
    file.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
