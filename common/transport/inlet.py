"""A way in that can be plugged to one of several topics: the others are not subscribed to meanwhile."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Self

from qkdlink.common.errors import LinkError
from qkdlink.common.transport.light_line import LightLine
from qkdlink.common.transport.mqtt import Delivery
from qkdlink.common.wire.patch import Route


class Inlet:
    """Takes deliveries of the way that is plugged in; `run` is a task that keeps the broker informed."""

    def __init__(self, line: LightLine, topics: Mapping[Route, str]) -> None:
        self._line = line
        self._topics = topics
        self._selected: Route = "direct"
        self._source = line.plug(topics["direct"])
        self._switched = asyncio.Event()
        self._unsettled = asyncio.Event()

    @classmethod
    async def open(cls, line: LightLine, topics: Mapping[Route, str]) -> Self:
        """Subscribe to the direct way; LinkError if the broker refuses."""
        inlet = cls(line, topics)
        await line.settle()
        return inlet

    def select(self, route: Route) -> None:
        """Plug in another way, one of the topics'; what has come on the one before is a stray of the line's."""
        if route == self._selected:
            return
        self._line.unplug(self._topics[self._selected])
        left, self._source, self._selected = self._source, self._line.plug(self._topics[route]), route
        self._switched.set()
        self._unsettled.set()
        for _ in range(left.drop()):
            self._line.on_stray(left.topic)

    async def run(self) -> None:
        """Subscribe to what is plugged in and to nothing else, after every change."""
        while True:
            await self._unsettled.wait()
            self._unsettled.clear()
            with suppress(LinkError):  # the next connection begins with what is wanted then
                await self._line.settle()

    async def get(self) -> Delivery:
        """Wait for the next delivery of whatever is plugged in then."""
        while True:
            source = self._source
            if (ready := source.ready()) is not None:
                return ready
            self._switched.clear()
            waiting = asyncio.ensure_future(source.get())
            switched = asyncio.ensure_future(self._switched.wait())
            try:
                await asyncio.wait({waiting, switched}, return_when=asyncio.FIRST_COMPLETED)
                if waiting.done() and not waiting.cancelled():
                    if source is self._source:
                        return waiting.result()
                    self._line.on_stray(source.topic)  # it had just come when the way was left
            finally:
                waiting.cancel()
                switched.cancel()
