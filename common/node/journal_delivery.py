"""Deliver journal lines to the broker, each at least once and in order, through outages and up to the node's end."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Self

from qkdlink.common.errors import LinkError
from qkdlink.common.growing_pause import GrowingPause
from qkdlink.common.transport.broker_refusals import MessageRefusedError
from qkdlink.common.transport.mqtt import Bus

MOST_WAITING = 4096
"""Lines that wait for the broker: about 2 MB. In a longer outage the oldest ones are dropped, a gap for readers."""

_IN_FLIGHT = 32
"""Lines under way at a time: one round trip per line would be too slow for a broker far away."""

_END_TIMEOUT_S = 3.0
"""A launcher kills a node that takes five seconds to end."""

_RETRY_PAUSE_S, _LONGEST_RETRY_PAUSE_S = 0.25, 5.0
"""A broker that refuses what it is sent may be told otherwise by its operator, and is not asked at every turn."""


class JournalDelivery:
    """Keeps every line until the broker has acknowledged it, and sends it again if it has not."""

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[str] = asyncio.Queue(MOST_WAITING)

    def add(self, line: str) -> None:
        """Queue a line; a full queue loses its oldest one, so that readers hear how a node ended."""
        if self._waiting.full():
            self._waiting.get_nowait()
            self._waiting.task_done()
        self._waiting.put_nowait(line)

    @asynccontextmanager
    async def running(self, bus: Bus, topic: str) -> AsyncIterator[Self]:
        """Publish lines while the context is open; its end, whatever the cause, waits for what is outstanding."""
        task = asyncio.create_task(self._publish(bus, topic), name="journal")
        try:
            yield self
        finally:
            # a node ends by being cancelled, so this wait has to be in `finally`: its last events matter most
            with suppress(TimeoutError):
                async with asyncio.timeout(_END_TIMEOUT_S):
                    await self._waiting.join()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _publish(self, bus: Bus, topic: str) -> None:
        batch: deque[str] = deque()
        pause = GrowingPause(_RETRY_PAUSE_S, _LONGEST_RETRY_PAUSE_S)
        while True:
            if not batch:
                batch.append(await self._waiting.get())
            while len(batch) < _IN_FLIGHT and not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            acknowledged = await _acknowledged(bus, topic, batch)
            for _ in range(acknowledged):
                batch.popleft()
                self._waiting.task_done()
            if batch:
                if acknowledged:
                    pause.reset()
                await asyncio.sleep(pause.take())
                await bus.ready()


async def _acknowledged(bus: Bus, topic: str, batch: deque[str]) -> int:
    """Publish lines in order; return how many, from the first one on, the broker has acknowledged.

    A line that is too long for the broker counts as acknowledged: it would hold up all later ones, and is a gap for
    readers.
    """
    publishing = (bus.publish(topic, line.encode()) for line in batch)
    results = await asyncio.gather(*publishing, return_exceptions=True)
    for count, result in enumerate(results):
        if isinstance(result, MessageRefusedError) and result.is_too_long:
            continue
        if isinstance(result, LinkError):
            return count
        if result is not None:
            raise result
    return len(batch)
