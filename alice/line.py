"""One connection to Bob, while blocks live on it."""

import asyncio
from contextlib import suppress
from typing import Self

from qkdlink.alice.settings import AliceSettings
from qkdlink.common.distillation.stages import SecretKey
from qkdlink.common.errors import LinkError, RemoteProtocolError
from qkdlink.common.growing_pause import GrowingPause
from qkdlink.common.keys.identifiers import BlockId
from qkdlink.common.node.link import Distil, Link
from qkdlink.common.node.station import Station
from qkdlink.common.transport.channel import ClassicalChannel
from qkdlink.common.transport.connections import OnRefused
from qkdlink.common.transport.psk import AnyConnection

_FIRST_DELAY_S, _LONGEST_DELAY_S = 1.0, 60.0


class OpenLine:
    """A line that was met on: its link, its age, and how many blocks it has carried."""

    def __init__(
        self,
        link: Link,
        connection: AnyConnection,
        channel: ClassicalChannel,
        reading: asyncio.Task[None],
        key: BlockId | None,
        refuse: OnRefused,
    ) -> None:
        self.link = link
        self.blocks = 0
        self.confirmed_any = False
        self.lost: LinkError | RemoteProtocolError | None = None
        self._connection = connection
        self._channel = channel
        self._reading = reading
        self._key = key
        self._refuse = refuse
        self._opened_at = self._attempt_at = asyncio.get_running_loop().time()
        self._delay = GrowingPause(_FIRST_DELAY_S, _LONGEST_DELAY_S)
        self._living: set[asyncio.Task[bool]] = set()
        self._watching = asyncio.create_task(self._watch(), name="line")
        self._hearing = asyncio.create_task(self._hear(), name="goodbye")
        self._postponed = False
        self.refusal = ""
        """Why the last attempt at the next epoch failed."""

    @classmethod
    async def open(
        cls, station: Station[AliceSettings], connection: AnyConnection, key: BlockId | None
    ) -> Self:
        """Meet the peer on a fresh connection; whatever goes wrong closes it."""
        channel = station.channel(connection)
        reading = asyncio.create_task(channel.read(_no_new_block), name="classical channel")
        try:
            link = await station.meet(connection, channel, key)
        except BaseException:
            await _close(connection, channel, reading)
            raise
        return cls(link, connection, channel, reading, key, station.refuse)

    @property
    def age_s(self) -> float:
        """Seconds since the line was opened."""
        return asyncio.get_running_loop().time() - self._opened_at

    @property
    def key_number(self) -> int:
        """Number of the block whose link PSK authenticates the line; 0 for certificates."""
        return 0 if self._key is None else self._key.number

    @property
    def round_trip_s(self) -> float:
        """The shortest time in which Bob has answered here."""
        return self._channel.round_trip_s

    @property
    def living(self) -> int:
        """How many blocks live here at this moment."""
        return len(self._living)

    @property
    def next_attempt_in_s(self) -> float:
        """How long to wait before the next epoch may be tried again."""
        return self._attempt_at - asyncio.get_running_loop().time()

    def begin(self, number: int, distil: Distil, group: asyncio.TaskGroup) -> asyncio.Task[bool]:
        """Begin a block here, whose task says whether it made a key; it speaks before any block begun later."""
        self.blocks += 1
        task = group.create_task(self._live(number, distil), name=f"block {number}")
        self._living.add(task)
        task.add_done_callback(self._living.discard)
        return task

    async def _live(self, number: int, distil: Distil) -> bool:
        """Live one block; what ends the line is kept, and told to whoever wants to use it next."""
        try:
            outcome = await self.link.run_block(number, distil)
        except (LinkError, RemoteProtocolError) as error:
            self.lose(error)
            return False
        self.confirmed_any = True
        return isinstance(outcome, SecretKey)

    async def _hear(self) -> None:
        """Wait for the peer's goodbye, which ends this connection: no tag covers it, so it ends nothing else.

        Bob rightly says nothing here while light is on, or while blocks that failed are paused for: no patience runs.
        """
        await self._channel.line().spoken_to()
        with suppress(LinkError, RemoteProtocolError):
            reason = await self.link.hear_goodbye()
            goodbye = LinkError(f"{self.link.party.peer} opens no further block here: {reason}")
            self._refuse(str(goodbye))
            self.lose(goodbye)

    async def _watch(self) -> None:
        """Give every block up once the line is gone: light alone would not notice that nobody is left to hear."""
        try:
            await self._channel.lost()
        except (LinkError, RemoteProtocolError) as error:
            self.lose(error)
            self._give_up_blocks()

    def _give_up_blocks(self) -> None:
        for task in self._living:
            task.cancel()

    def lose(self, error: LinkError | RemoteProtocolError) -> None:
        """Note that the line is of no more use."""
        self.lost = self.lost or error

    def cut(self, why: LinkError) -> None:
        """Give the line up, and every block on it."""
        self.lose(why)
        self._channel.end(why)
        self._give_up_blocks()

    def delay_attempt(self, refusal: str) -> None:
        """Wait longer and longer from one failed attempt at the next epoch to another."""
        self.refusal = refusal
        self._attempt_at = asyncio.get_running_loop().time() + self._delay.take()

    def postpone(self) -> bool:
        """Note that the next epoch is put off; True at the first time, so that it is told once."""
        first, self._postponed = not self._postponed, True
        return first

    async def accepted(self) -> None:
        """Wait until the peer has answered to every block that has begun here, or the line is lost."""
        await asyncio.sleep(0)  # a task that has just been made has not opened its block yet
        await self._channel.all_heard()

    async def drained(self) -> None:
        """Wait until no block lives here any more."""
        while self._living:
            await asyncio.wait(self._living)

    async def close(self) -> None:
        """Close the connection; a block that still lives here is given up."""
        self._watching.cancel()
        self._hearing.cancel()
        self._channel.close()
        self._give_up_blocks()
        await _close(self._connection, self._channel, self._reading)


async def _close(connection: AnyConnection, channel: ClassicalChannel, reading: asyncio.Task[None]) -> None:
    channel.close()
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await connection.close()


def _no_new_block(_: object) -> None:
    return None
