"""Order the entries of one node that come from the broker: repeated ones are told apart, missing ones counted."""

from qkdlink.common.journal.events import Entry


class EntrySequence:
    """What a reader has seen of one node's journal.

    The broker delivers at least once (QoS 1), so an entry may come twice; it loses what a slow reader does not take,
    and a reader that was away has missed what was told meanwhile. Entries are numbered from 1 in each run of a node.
    """

    def __init__(self) -> None:
        self.missed = 0
        """Entries that did not come, since the first one that did."""
        self._run: str | None = None
        self._number = 0

    def accept(self, entry: Entry) -> bool:
        """Return whether an entry is new, and count those that are missing before it.

        The first entry of all may have any number: a reader may begin to listen in the middle of a run. A later run
        is heard from its first entry on. Entries without a number, of an earlier version, are always new.
        """
        if not entry.number:
            return True
        if entry.run == self._run and entry.number <= self._number:
            return False
        if self._run is not None:
            expected = self._number + 1 if entry.run == self._run else 1
            self.missed += entry.number - expected
        self._run, self._number = entry.run, entry.number
        return True
