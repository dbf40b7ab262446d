"""What a reader of a node's entries keeps of them, and what it knows to be missing."""

import pytest

from qkdlink.common.journal.events import Entry, NodeStopped
from qkdlink.common.journal.sequence import EntrySequence

type Heard = list[tuple[str, int]]


@pytest.mark.parametrize(
    ("heard", "kept", "missed"),
    [
        ([("a", 1), ("a", 2), ("a", 3)], [("a", 1), ("a", 2), ("a", 3)], 0),
        ([("a", 1), ("a", 2), ("a", 1), ("a", 2), ("a", 3)], [("a", 1), ("a", 2), ("a", 3)], 0),
        ([("a", 1), ("a", 4), ("a", 5), ("a", 8)], [("a", 1), ("a", 4), ("a", 5), ("a", 8)], 4),
        ([("a", 7), ("a", 8)], [("a", 7), ("a", 8)], 0),  # began to listen in the middle of a run
        ([("a", 7), ("b", 1), ("b", 2)], [("a", 7), ("b", 1), ("b", 2)], 0),  # restarted
        ([("a", 7), ("b", 3), ("b", 3)], [("a", 7), ("b", 3)], 2),
        ([("", 0), ("", 0)], [("", 0), ("", 0)], 0),  # a version that did not number entries
    ],
)
def test_a_reader_drops_repeated_entries_and_counts_missing_ones(heard: Heard, kept: Heard, missed: int):
    sequence = EntrySequence()
    entries = [
        Entry(node="bob", run=run, number=number, time=1.0, event=NodeStopped(reason=""))
        for run, number in heard
    ]
    assert [(entry.run, entry.number) for entry in entries if sequence.accept(entry)] == kept
    assert sequence.missed == missed
