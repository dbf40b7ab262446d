"""What a node reports of its broker after the first connection: each cause once, and once that the broker is back."""

from collections.abc import Callable

from qkdlink.common.journal.event import Event
from qkdlink.common.journal.events import BrokerBack, BrokerLost, BrokerRefused
from qkdlink.common.printable import printable
from qkdlink.common.transport.addresses import Address

_MOST_CAUSES = 8
"""Different causes that are reported in one outage, and messages that are reported as refused."""


class BrokerTrouble:
    """The state of all connections of one process to its broker, so that two connections report one outage once."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._away: set[str] = set()
        self._causes: set[str] = set()
        self._refusals: set[str] = set()
        self.tell: Callable[[Event], None] | None = None
        """Where reports go; without it nothing is reported, and nothing counts as reported."""

    def lost(self, connection: str, cause: Exception) -> None:
        """Report why a connection does not come about, unless this outage has had that cause before."""
        self._away.add(connection)
        if self._is_new(str(cause), self._causes) and self.tell is not None:
            self.tell(BrokerLost(reason=str(cause)))

    def back(self, connection: str) -> None:
        """Report that the broker is back, once every connection is, if its absence was reported."""
        self._away.discard(connection)
        if self._causes and not self._away and self.tell is not None:
            self._causes.clear()
            self.tell(BrokerBack(broker=str(self._address)))

    def refused(self, reason: str) -> None:
        """Report that the broker has refused a message, once for each reason."""
        if self._is_new(reason, self._refusals) and self.tell is not None:
            self.tell(BrokerRefused(reason=reason))

    def _is_new(self, sentence: str, told: set[str]) -> bool:
        if self.tell is None or sentence in told or len(told) >= _MOST_CAUSES:
            return False
        told.add(sentence)
        return True


def trouble_words(event: Event) -> str:
    """Return what an operator reads of a report."""
    match event:
        case BrokerLost(reason=reason):
            return f"{printable(reason).rstrip('.')}. It is dialled again until it lets this node in."
        case BrokerRefused(reason=reason):
            return printable(reason)
        case _:
            return "the broker is back."
