"""Faults of light for the journal: the first few of a kind one by one, the others as a number."""

from collections import Counter
from collections.abc import Callable

from qkdlink.common.journal.event import Event
from qkdlink.common.journal.events import LightFault

_ONE_BY_ONE = 3


class LightFaults:
    """Counts faults by their kind, and keeps a flood of them from flooding the journal."""

    def __init__(self, tell: Callable[[Event], None]) -> None:
        self._tell = tell
        self._counts: Counter[str] = Counter()

    def note(self, fault: str, detail: str) -> None:
        """Count a fault, and journal it if it is one of the first of its kind."""
        self._counts[fault] += 1
        if self._counts[fault] <= _ONE_BY_ONE:
            self._tell(LightFault(fault=fault, detail=detail, frames=1))

    def tell_the_rest(self) -> None:
        """Journal how many more there were of each kind, and begin anew."""
        for fault, count in self._counts.items():
            if count > _ONE_BY_ONE:
                self._tell(LightFault(fault=fault, detail="more of the same", frames=count - _ONE_BY_ONE))
        self._counts.clear()
