"""When the next block comes, why it waits, and how long the reserve lasts: in the words of all who show it."""

from dataclasses import dataclass

from qkdlink.common.journal.events import BlockPostponed, ReserveCounted
from qkdlink.common.journal.link_state import NodeState


@dataclass(slots=True)
class Outlook:
    """What Alice has last told of it; `now` is this machine's time, because her clock may be another one."""

    _postponed: BlockPostponed | None = None
    _begins: float = 0.0
    _reserve: ReserveCounted | None = None

    def look(self, alice: NodeState, now: float) -> None:
        """Look at what Alice has told so far."""
        postponed = alice.postponed.event if alice.postponed is not None else None
        if isinstance(postponed, BlockPostponed) and postponed is not self._postponed:
            self._begins = now + postponed.pause_s
        self._postponed = postponed if isinstance(postponed, BlockPostponed) else None
        self._reserve = alice.reserve

    def next_block(self, now: float) -> str | None:
        """Say when the next block comes, if it waits."""
        if self._postponed is None:
            return None
        return f"block {self._postponed.number} in {duration(self._begins - now)}: {self._postponed.reason}"

    @property
    def reserve(self) -> str | None:
        """Say how long the reserve lasts, if there is one."""
        if self._reserve is None:
            return None
        blocks = self._reserve.blocks_payable
        return f"pays for {blocks} more blocks; if all of them fail, it is empty in {self.reserve_lasts}"

    @property
    def reserve_lasts(self) -> str | None:
        """Say how long the reserve lasts if every block fails, and no more."""
        return None if self._reserve is None else duration(self._reserve.seconds_to_starvation)


def duration(seconds: float) -> str:
    """Return a time in the units in which people count it: 45 s, 12 min, 1 h 30 min, 25 h."""
    whole = max(0, round(seconds))
    if whole < 2 * _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min"
    hours, minutes = whole // _HOUR, whole % _HOUR // _MINUTE
    return f"{hours} h {minutes} min" if hours < _MANY_HOURS and minutes else f"{hours} h"


_MINUTE, _HOUR = 60, 3600
_MANY_HOURS = 10
