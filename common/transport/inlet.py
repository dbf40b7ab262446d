"""A way in that can be plugged to one of several topics: what arrives on the others is let drop."""

import asyncio
from collections.abc import Mapping

from common.transport.mqtt import Delivery, Subscription
from common.wire.patch import Route


class Inlet:
    """Takes deliveries of the topic that is plugged in."""

    def __init__(self, sources: Mapping[Route, Subscription]) -> None:
        self._sources = sources
        self._selected: Route = "direct"
        self._switched = asyncio.Event()

    def select(self, route: Route) -> None:
        """Plug in another topic; what has come on it before is old and let drop."""
        if route == self._selected:
            return
        self._selected = route
        self._sources[route].drop()
        self._switched.set()

    async def get(self) -> Delivery:
        """Wait for the next delivery of whatever is plugged in then."""
        while True:
            source = self._sources[self._selected]
            if (ready := source.ready()) is not None:
                return ready
            self._switched.clear()
            waiting = asyncio.ensure_future(source.get())
            switched = asyncio.ensure_future(self._switched.wait())
            try:
                await asyncio.wait({waiting, switched}, return_when=asyncio.FIRST_COMPLETED)
                if waiting.done() and not waiting.cancelled():
                    return waiting.result()
            finally:
                waiting.cancel()
                switched.cancel()
