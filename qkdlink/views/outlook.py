"""When the next block comes, why it waits, and how long the reserve lasts: in the words of all who show it."""

from dataclasses import dataclass

from qkdlink.common.journal.event import Event
from qkdlink.common.journal.events import (
    BlockOpened,
    BlockPostponed,
    NodeStarted,
    NodeStopped,
    ReserveCounted,
)


@dataclass(slots=True)
class Outlook:
    """What Alice has last told of it; `now` is this machine's time, because her clock may be another one."""

    _postponed: BlockPostponed | None = None
    _begins: float = 0.0
    _reserve: ReserveCounted | None = None

    def hear(self, event: Event, now: float) -> None:
        """Take an event of Alice's."""
        match event:
            case BlockPostponed(pause_s=pause_s) as postponed:
                self._postponed, self._begins = postponed, now + pause_s
            case BlockOpened():
                self._postponed = None
            case ReserveCounted() as counted:
                self._reserve = counted
            case NodeStarted() | NodeStopped():
                self._postponed = self._reserve = None
            case _:
                return

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
