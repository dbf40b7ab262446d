"""When the next block may begin after blocks that made no key, and how long the reserve lasts: waited for and told."""

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress
from math import inf

from qkdlink.common.journal.event import Event
from qkdlink.common.journal.events import BlockPostponed, ReserveCounted, ReserveLow
from qkdlink.common.node.vault import Vault
from qkdlink.common.protocol.economy import Backoff, StarvationAlarm


class Pauses:
    """The pauses of one node, whose length `qkdlink.common.protocol.economy` decides."""

    def __init__(self, backoff: Backoff, vault: Vault, tell: Callable[[Event], None]) -> None:
        self._backoff = backoff
        self._vault = vault
        self._tell = tell
        self._alarm = StarvationAlarm()
        self._failures = vault.store.units.blocks_since_a_key()
        self._failed_at: float | None = None
        """When the latest block of this process failed, if it did: before its first block there is no pause."""
        self._block_ended = asyncio.Event()
        self._began_at = -inf
        self._pays_for_tags = False
        """Whether the latest block costs generated key."""
        self._told: ReserveCounted | None = None

    def began(self, *, pays_for_tags: bool) -> None:
        """Take note that a block begins, and whether it costs generated key."""
        self._began_at, self._pays_for_tags = asyncio.get_running_loop().time(), pays_for_tags

    def ended(self, *, with_key: bool) -> None:
        """Take note of a block that ended by itself, and tell how long this can go on."""
        if with_key:
            self._failures, self._failed_at = 0, None
            self._alarm.succeeded()
        else:
            self._failures, self._failed_at = self._failures + 1, asyncio.get_running_loop().time()
        self._block_ended.set()
        self.count_reserve()

    def count_reserve(self) -> None:
        """Tell what the reserve is, if it has changed; not before there is one."""
        payable = self._vault.blocks_payable()
        if not self._vault.scheme.cuts_tags or not (payable or self._pays_for_tags):
            return
        seconds = self._backoff.seconds_to_starvation(self._failures, payable)
        counted = ReserveCounted(blocks_payable=payable, seconds_to_starvation=seconds)
        if counted != self._told:
            self._told = counted
            self._tell(counted)
        if self._failed_at is not None and self._alarm.is_due(payable):
            self._tell(ReserveLow(blocks_payable=payable, seconds_to_starvation=seconds))

    async def over(self, number: int, living: Collection[object]) -> None:
        """Wait until block `number` may begin: a pause after the latest beginning or failure, or when a key is made.

        Where the `living` ones may take all that is left, none may follow them, and there is nothing to wait for.
        """
        while (until := self._next_at(len(living))) > asyncio.get_running_loop().time():
            pause_s = until - asyncio.get_running_loop().time()
            self._tell(BlockPostponed(number=number, pause_s=pause_s, reason=self._reason()))
            self._block_ended.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    await self._block_ended.wait()

    def _next_at(self, living: int) -> float:
        """Return when a block may begin, by the event loop's clock."""
        reserve = self._vault.blocks_payable() if self._pays_for_tags else None
        if self._failed_at is None or (reserve is not None and reserve <= living):
            return -inf
        return max(self._failed_at, self._began_at) + self._backoff.pause_s(self._failures, reserve)

    def _reason(self) -> str:
        blocks = "the last block" if self._failures == 1 else f"each of the last {self._failures} blocks"
        cost = ", and cost tags from the reserve" if self._pays_for_tags else ""
        return f"{blocks} made no key{cost}"
