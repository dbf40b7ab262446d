"""Dials and negotiations under way, which are given up when the classical channel is to go another way."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from qkdlink.common.errors import LinkError


class Attempts:
    """Each would wait for its own timeout, up to a minute, at an end that no longer matters."""

    def __init__(self) -> None:
        self._limits: set[asyncio.Timeout] = set()

    @asynccontextmanager
    async def unless_given_up(self, why: str) -> AsyncIterator[None]:
        """Run the body, which `give_up` ends with a LinkError that says `why`."""
        limit = asyncio.timeout(None)
        try:
            async with limit:
                self._limits.add(limit)
                yield
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise LinkError(why) from error
        finally:
            self._limits.discard(limit)

    def give_up(self) -> None:
        """End every attempt that is under way now."""
        while self._limits:
            self._limits.pop().reschedule(asyncio.get_running_loop().time())
