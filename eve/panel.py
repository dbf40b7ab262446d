"""Eve at the patch panel: she plugs herself in, says so again and again, and takes herself out when she goes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from qkdlink.common.errors import LinkError
from qkdlink.common.transport.mqtt import Bus, LastWill
from qkdlink.common.wire.patch import DIRECT, Patch
from qkdlink.common.wire.topics import Topics

KEEPALIVE_S = 2
"""After one and a half of these without a sign of her the broker publishes her last will."""
_REPEAT_S = 1.0
_RETRY_S = 0.05
_LAST_WORD_S = 3.0
"""For so long Eve tries to unplug herself before she ends; the nodes' watchdogs wait longer (`SILENCE_S`)."""


def last_will(topics: Topics) -> LastWill:
    """Return what the broker says in her name when she is gone: everything goes directly again."""
    return LastWill(topics.patch(), DIRECT.encode())


@dataclass(slots=True)
class Panel:
    """What she has plugged."""

    bus: Bus
    topics: Topics
    wanted: Patch = DIRECT

    async def plug(self, patch: Patch) -> None:
        """Plug herself in or out."""
        self.wanted = patch
        await self.bus.publish(self.topics.patch(), patch.encode(), retain=True)

    @asynccontextmanager
    async def plugged(self, patch: Patch) -> AsyncIterator[None]:
        """Stay plugged in while the context is open."""
        await self.plug(patch)
        repeating = asyncio.create_task(self._repeat(), name="patch panel")
        try:
            yield
        finally:
            repeating.cancel()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORD_S):
                    await self._until_taken(DIRECT)

    async def _until_taken(self, patch: Patch) -> None:
        """Plug, and plug again on the next connection, until the broker acknowledges it."""
        while True:
            await self.bus.ready()
            try:
                return await self.plug(patch)
            except LinkError:
                await asyncio.sleep(_RETRY_S)

    async def _repeat(self) -> None:
        while True:
            await asyncio.sleep(_REPEAT_S)
            with suppress(LinkError):
                await self.plug(self.wanted)
