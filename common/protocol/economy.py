"""What a block has to pay for, and what to do when blocks fail: policies without a clock of their own."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, exp, log

from qkdlink.common.keys.allotment import RESERVE_BLOCKS, RESERVE_TARGET_BITS, upkeep_bits


@dataclass(frozen=True, slots=True)
class Economy:
    """What a link spends on itself."""

    pays_for_tags: bool = False
    """Whether tags cost generated key."""
    reserve_wanted: Callable[[], int] = lambda: 0
    """How many bits the reserve lacks at this moment, as this side counts."""

    @property
    def most_reserve_bits(self) -> int:
        """How many bits an empty reserve lacks, so that nobody may ask for more; 0 where tags cost no key."""
        return RESERVE_TARGET_BITS if self.pays_for_tags else 0

    @property
    def upkeep_bits(self) -> int:
        """What a block costs: a key that is shorter does not pay for itself."""
        return upkeep_bits(tags=self.pays_for_tags)


@dataclass(frozen=True, slots=True)
class Backoff:
    """The pauses after blocks that made no key: each longer than the one before, and none after a key.

    A reserve is a number of failing blocks that can still be paid for. One that is None pays for nothing, because the
    line's tags cost no generated key.
    """

    first_s: float
    longest_s: float
    lasts_s: float | None = None
    """If given, pauses grow only as fast as needed for the reserve to last so long from the first failing block on.

    They never grow faster than without it, by doubling: a reserve for few blocks lasts as long as that takes.
    """

    def pause_s(self, failures: int, reserve: int | None) -> float:
        """Return the pause before the next block after so many failing blocks in a row, in seconds."""
        if not failures or reserve == 0:  # without a reserve there is nothing to spare, and no next block
            return 0.0
        return self._pause(failures, self._growth(failures, reserve))

    def seconds_to_starvation(self, failures: int, reserve: int) -> float:
        """Return how long the reserve lasts if every block from now on fails, by the pauses alone."""
        growth = self._growth(failures, reserve)
        return sum(self._pause(failures + more, growth) for more in range(reserve))

    def _growth(self, failures: int, reserve: int | None) -> float:
        """Return by how much a pause is longer than the one before, 1..2.

        Each failing block takes one from the reserve, so that the sum of both numbers, and with it the growth, stays
        what it was at the first one.
        """
        if self.lasts_s is None:
            return _DOUBLED
        if reserve is None:
            return 1.0
        return _growth_to_last(self.first_s, self.longest_s, self.lasts_s, failures + reserve - 1)

    def _pause(self, failures: int, growth: float) -> float:
        if not failures or not self.first_s:
            return 0.0
        return min(self.longest_s, _grown(self.first_s, growth, failures - 1))


_DOUBLED = 2.0
_LARGEST_POWER = 700.0
"""Of e: a float holds it, and as seconds it is longer than any pause."""


def _grown(first_s: float, growth: float, times: int) -> float:
    """Return first_s * growth^times, by logarithms where the power alone is more than a float holds."""
    power = times * log(growth)
    if power < _LARGEST_POWER:
        return first_s * growth**times
    return exp(min(log(first_s) + power, _LARGEST_POWER))


@lru_cache(maxsize=16)
def _growth_to_last(first_s: float, longest_s: float, lasts_s: float, pauses: int) -> float:
    """Return the least growth, 1..2, with which so many pauses take `lasts_s`; 2 where none does."""
    slow, fast = 1.0, _DOUBLED
    while fast - slow > 1e-9:
        middle = (slow + fast) / 2
        if _sum_of_pauses(first_s, longest_s, middle, pauses) < lasts_s:
            slow = middle
        else:
            fast = middle
    return fast


def _sum_of_pauses(first_s: float, longest_s: float, growth: float, pauses: int) -> float:
    """Return first_s * (1 + growth + growth^2 ...), each pause at most `longest_s`."""
    if first_s <= 0.0:
        return 0.0
    growths = (log(longest_s) - log(first_s)) / log(growth) if longest_s > first_s else 0.0
    growing = min(pauses, max(0, ceil(growths)))
    return (_grown(first_s, growth, growing) - first_s) / (growth - 1) + longest_s * (pauses - growing)


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
