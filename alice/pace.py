"""A source's clock: when so many pulses have left in real time, and how far behind it an emulation is."""

from dataclasses import dataclass

_MOST_MADE_UP_S = 1.0
"""So much of a pause between two blocks is made up for, by light that leaves as fast as it can; the rest is lost."""
_LATE_S = 0.02
"""A timer's inaccuracy is not worth telling."""


@dataclass(slots=True)
class SourceClock:
    """The light of one life of Alice's, block after block; times are seconds of any one clock."""

    clock_hz: float | None
    """Pulses per second, more than 0; None: as fast as possible, and never behind."""
    _began: float | None = None
    _pulses: int = 0
    _due: float = 0.0
    _told_s: float = 0.0

    def begin(self, now: float) -> None:
        """Begin a block: its first pulse is due when the block before is over, or later by what cannot be made up."""
        if self._began is None:
            self._began = self._due = now
        self._due = max(self._due, now - _MOST_MADE_UP_S)

    def wait_s(self, pulses: int, now: float) -> float:
        """How long it takes from `now` on until so many pulses of the block have left; 0 if they should have by now."""
        return 0.0 if self.clock_hz is None else max(0.0, self._due + pulses / self.clock_hz - now)

    def end(self, pulses: int) -> None:
        """End a block of so many pulses."""
        self._pulses += pulses
        self._due += 0.0 if self.clock_hz is None else pulses / self.clock_hz

    def behind_s(self, now: float) -> float:
        """By how much the last pulse that has left is late, counted from the first one of all; 0 if it is not."""
        if self.clock_hz is None or self._began is None:
            return 0.0
        return max(0.0, now - self._began - self._pulses / self.clock_hz)

    def pulses_per_second(self, now: float) -> float:
        """What was reached since the first pulse of all; 0 before there is any light."""
        return 0.0 if self._began is None else self._pulses / max(now - self._began, 1e-9)

    def falls_behind(self, now: float) -> bool:
        """Whether it is worth telling that it is behind: for the first time, and again when it is a tenth worse."""
        behind_s = self.behind_s(now)
        is_worse = behind_s >= 1.1 * self._told_s + _LATE_S
        self._told_s = behind_s if is_worse else min(self._told_s, behind_s)
        return is_worse
