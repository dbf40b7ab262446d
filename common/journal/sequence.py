"""Order the entries of one node's journal: repeats are told apart, and gaps in the numbers are named."""

from collections import deque
from dataclasses import dataclass, field

from qkdlink.common.journal.events import Entry

_REMEMBERED_RUNS = 16
_NAMED_GAPS = 100


@dataclass(frozen=True, slots=True)
class Gap:
    """Entries of one run of a node that have not come: the numbers `first` to `last`, both included."""

    node: str
    run: str
    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first + 1


@dataclass(slots=True)
class EntrySequence:
    """The numbers that a reader has seen of one node's journal.

    The broker delivers at least once (QoS 1), so an entry may come twice; it loses what a slow reader does not take,
    and a reader that was away has missed what was told meanwhile. Entries are numbered from 1 in each run of a node.
    """

    missed: int = 0
    """Entries that did not come, since the first one that did."""
    gaps: deque[Gap] = field(default_factory=lambda: deque(maxlen=_NAMED_GAPS))
    """The latest gaps; `missed` counts the entries of all of them."""
    _last: dict[str, int] = field(default_factory=dict)
    """The last number seen, by run; the latest run stands last."""

    def accept(self, entry: Entry) -> bool:
        """Return whether an entry is new, and name the gap before it.

        A late entry of an earlier run is not new: its place has passed. Entries without a number, of an earlier
        version, are always new.
        """
        if not entry.number:
            return True
        if not self._follows(entry):
            return False
        if (gap := self.gap_before(entry)) is not None:
            self.missed += len(gap)
            self.gaps.append(gap)
        self._last[entry.run] = entry.number
        while len(self._last) > _REMEMBERED_RUNS:
            del self._last[next(iter(self._last))]
        return True

    def gap_before(self, entry: Entry) -> Gap | None:
        """Return which entries are missing before this one.

        The first entry of all may have any number: a reader may begin to listen in the middle of a run. A later run
        is heard from its first entry on.
        """
        if not entry.number or not self._last or not self._follows(entry):
            return None
        expected = self._last.get(entry.run, 0) + 1
        return Gap(entry.node, entry.run, expected, entry.number - 1) if entry.number > expected else None

    def _follows(self, entry: Entry) -> bool:
        """Return whether the entry belongs to the latest run, after all that was seen, or to a new run."""
        if entry.run not in self._last:
            return True
        return entry.run == next(reversed(self._last)) and entry.number > self._last[entry.run]
