"""A source's clock: when the last of so many pulses has left in real time, and how far behind it an emulation is."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """The light of one block, from its first pulse on; times are seconds of any one clock."""

    clock_hz: float | None
    """Pulses per second, more than 0; None: as fast as possible, and never behind."""
    started: float

    def wait_s(self, pulses: int, now: float) -> float:
        """How long it takes from `now` on until so many pulses have left; 0 if they should have by now."""
        return max(0.0, -self._late_s(pulses, now))

    def behind_s(self, pulses: int, now: float) -> float:
        """By how much the emulation is late if the last of so many pulses leaves `now`; 0 if it is not."""
        return max(0.0, self._late_s(pulses, now))

    def _late_s(self, pulses: int, now: float) -> float:
        return 0.0 if self.clock_hz is None else now - self.started - pulses / self.clock_hz
