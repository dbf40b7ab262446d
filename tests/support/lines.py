"""Lines in memory, and the room in which everybody hears when nobody will speak again."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace

from qkdlink.common.errors import LinkError
from qkdlink.common.wire.framing import Received, decode


class Room:
    """Knows who waits; where everybody does, nobody will speak again."""

    def __init__(self, people: Iterable[str]) -> None:
        self._present = set(people)
        self._waiting: dict[str, asyncio.Future[None]] = {}

    async def wait(self, who: str) -> None:
        """Wait to be woken; LinkError if nobody is left who could."""
        self._waiting[who] = asyncio.get_running_loop().create_future()
        self._notice_silence()
        try:
            await self._waiting[who]
        finally:
            del self._waiting[who]

    def wake(self, who: str) -> None:
        """Tell somebody that there is something to hear."""
        if who in self._waiting and not self._waiting[who].done():
            self._waiting[who].set_result(None)

    def leave(self, who: str) -> None:
        """Go away for good."""
        self._present.discard(who)
        self._notice_silence()

    def _notice_silence(self) -> None:
        asleep = {who for who, future in self._waiting.items() if not future.done()}
        if asleep == self._present:
            for who in asleep:
                self._waiting[who].set_exception(LinkError("The peer closed the connection."))


class MemoryLine:
    """One end of a conversation: what is said goes to `carry`, what is delivered waits to be received."""

    def __init__(self, room: Room, owner: str, carry: Callable[[bytes], None]) -> None:
        self._room = room
        self._owner = owner
        self._carry = carry
        self._inbox: deque[tuple[bytes, int]] = deque()
        self._sent = 0

    async def send(self, frame: bytes) -> None:
        """Say a frame."""
        self._sent += 1
        self._carry(frame)

    async def receive(self) -> Received:
        """Wait for a frame and read it."""
        while not self._inbox:
            await self._room.wait(self._owner)
        frame, sent = self._inbox.popleft()
        return replace(decode(frame), after=sent)

    def deliver(self, frame: bytes) -> None:
        """Let a frame arrive here."""
        self._inbox.append((frame, self._sent))
        self._room.wake(self._owner)
