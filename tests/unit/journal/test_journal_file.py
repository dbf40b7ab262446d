import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from qkdlink.common.errors import ConfigurationError
from qkdlink.common.journal.events import Entry, NodeStopped
from qkdlink.common.node.journal import Journal, JournalFile


@contextmanager
def full_disk(limit: int) -> Iterator[None]:
    """Let no file of this process grow beyond `limit` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_an_event_is_one_line_with_vantage_point_and_time(tmp_path: Path):
    path = tmp_path / "journal.jsonl"
    file = JournalFile(path)
    entries: list[Entry] = []
    Journal("alice", file, entries.append).tell(NodeStopped(reason="line\nbreak"))
    file.close()
    (line,) = path.read_text().splitlines()
    entry = json.loads(line)
    assert (entry["node"], entry["event"]["reason"]) == ("alice", "line\\nbreak")
    assert entry["time"] == entries[0].time > 1e9


def test_a_journal_goes_on_where_it_ended_and_is_its_owners_alone(tmp_path: Path):
    path = tmp_path / "journal.jsonl"
    for text in ("one", "two"):
        file = JournalFile(path)
        file.write(text)
        file.close()
    assert path.read_text() == "one\ntwo\n"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_journal_that_cannot_be_opened_is_told_in_one_sentence(tmp_path: Path):
    with pytest.raises(
        ConfigurationError, match=r"journal .* cannot be written: No such file or directory\."
    ):
        JournalFile(tmp_path / "nowhere" / "journal.jsonl")


def test_a_full_disk_leaves_whole_lines_only(tmp_path: Path):
    path = tmp_path / "journal.jsonl"
    file = JournalFile(path)
    file.write("a whole line")
    with full_disk(path.stat().st_size + 5), pytest.raises(ConfigurationError, match="cannot be written"):
        file.write("another line, which is too long")
    assert path.read_text() == "a whole line\n"
    file.write("room again")
    file.close()
    assert path.read_text() == "a whole line\nroom again\n"
