"""What a block has to pay for, and what to do when blocks fail: policies without a clock of their own."""

from collections.abc import Callable
from dataclasses import dataclass

from common.keys.allotment import RESERVE_BLOCKS, upkeep_bits


@dataclass(frozen=True, slots=True)
class Economy:
    """What a link spends on itself."""

    pays_for_tags: bool = False
    """Whether tags cost generated key."""
    reserve_wanted: Callable[[], int] = lambda: 0
    """How many bits the reserve lacks at this moment, as this side counts."""

    @property
    def upkeep_bits(self) -> int:
        """What a block costs: a key that is shorter does not pay for itself."""
        return upkeep_bits(tags=self.pays_for_tags)


@dataclass(slots=True)
class Backoff:
    """The pause after blocks that cost tags and yielded no key: doubled from one to the next, gone with a key."""

    first_s: float
    longest_s: float
    pause_s: float = 0.0

    def failed(self) -> None:
        """Note a block without a key."""
        self.pause_s = min(max(self.first_s, 2 * self.pause_s), self.longest_s)

    def succeeded(self) -> None:
        """Note a block with a key."""
        self.pause_s = 0.0


@dataclass(slots=True)
class StarvationAlarm:
    """When failing blocks have eaten so much of the reserve that it has to be told: at a half, a quarter, and so on."""

    threshold: int = RESERVE_BLOCKS // 2

    def is_due(self, blocks_payable: int) -> bool:
        """Whether what is left has fallen to the next threshold."""
        if blocks_payable > self.threshold:
            return False
        self.threshold = blocks_payable // 2
        return True

    def succeeded(self) -> None:
        """Begin anew with a key."""
        self.threshold = RESERVE_BLOCKS // 2


def seconds_to_starvation(blocks_payable: int, backoff: Backoff) -> float:
    """How long tags for so many blocks last if every block from now on fails, by the pauses alone."""
    total, pause = 0.0, backoff.pause_s
    left = blocks_payable
    while left and pause < backoff.longest_s:
        total, pause, left = total + pause, min(max(backoff.first_s, 2 * pause), backoff.longest_s), left - 1
    return total + left * backoff.longest_s
