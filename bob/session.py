"""One connection of Alice's: meet her, then a task for each block that she opens."""

import asyncio
from contextlib import suppress
from math import ceil

from qkdlink.bob.receiver import MqttReceiver
from qkdlink.bob.settings import BobSettings
from qkdlink.bob.steps import distil
from qkdlink.bob.unproven import UnprovenBlocks
from qkdlink.common.distillation.stages import SecretKey
from qkdlink.common.errors import LinkError, RemoteProtocolError, StarvationError
from qkdlink.common.keys.identifiers import BlockId
from qkdlink.common.node.link import Link, LinkDeposit
from qkdlink.common.node.station import Station
from qkdlink.common.protocol.aborts import Aborted
from qkdlink.common.protocol.block import Block
from qkdlink.common.protocol.high_water import FURTHEST_JUMP, Marks, outdated
from qkdlink.common.transport.channel import StreamLine
from qkdlink.common.transport.psk import AnyConnection
from qkdlink.common.wire.framing import Received
from qkdlink.common.wire.messages import OpenBlock

_FURTHEST_AHEAD = 2**20
"""So far a block may be numbered above the last that the peer has proven: untagged words must not use numbers up."""


class Session:
    """Bob's end of one connection; its tasks live in the group of whoever serves it."""

    def __init__(
        self,
        station: Station[BobSettings],
        receiver: MqttReceiver,
        connection: AnyConnection,
        group: asyncio.TaskGroup,
        unproven: UnprovenBlocks,
        key: BlockId | None,
    ) -> None:
        self._station = station
        self._receiver = receiver
        self._connection = connection
        self._group = group
        self._unproven = unproven
        self._key = key
        self._channel = station.channel(connection)
        self._reading = group.create_task(self._channel.read(self._on_new_block), name="classical channel")
        self._met: asyncio.Future[Link] = asyncio.get_running_loop().create_future()
        self._open_blocks = 0
        self._places = asyncio.Semaphore(station.settings.most_blocks_in_flight)
        marks = station.vault.marks()
        self._last_number = self._proven = marks.heard_block
        self._highest_number = self._furthest(marks)
        self._retired = False
        self._said_goodbye = False

    async def meet(self) -> Link:
        """Greet Alice; from then on she may open blocks."""
        link = await self._station.meet(self._connection, self._channel, self._key)
        self._places = asyncio.Semaphore(link.most_blocks)
        self._met.set_result(link)
        return link

    def retire(self) -> None:
        """A newer epoch has begun: blocks that are open here go on, and none may begin."""
        self._retired = True

    def sign_of_life(self) -> None:
        """Alice's light has arrived: she is there, although she says nothing."""
        self._channel.sign_of_life()

    def close(self) -> None:
        """End the connection: whoever waits for Alice is told."""
        self._channel.close()
        self._reading.cancel()
        self._met.cancel()

    def _on_new_block(self, received: Received) -> StreamLine | None:
        """Open a block at Alice's word: numbers only grow, and there is a limit to how many are open.

        A block has ended for her a little earlier than here, where her last words of it are still to be dealt with.
        Each such block holds one of our places, and none that waits for a place has ended for her: as long as she
        keeps to the limit, no more wait than there are places. RemoteProtocolError if more do.
        """
        number, most = received.envelope.block, self._most_blocks
        if not isinstance(received.envelope.message, OpenBlock):
            return None
        if number <= self._proven:
            raise outdated(self._station.settings.peer, self._station.settings.node)
        if self._retired:
            raise RemoteProtocolError(
                f"The peer opens block {number} on the connection of an older epoch, where none may begin any more."
            )
        if number <= self._last_number:
            raise RemoteProtocolError(
                f"The peer opens block {number} after block {self._last_number}: numbers only grow."
            )
        if number > self._highest_number:
            raise RemoteProtocolError(
                f"The peer opens block {number}, and the highest that it may open on this connection is"
                f" {self._highest_number}: the last one that it has proven is {self._proven}."
            )
        if self._open_blocks >= 2 * most:
            raise RemoteProtocolError(
                f"The peer opens block {number}, and with it more at a time than the agreed {most}"
                " (most_blocks_in_flight)."
            )
        self._pace(number)
        self._last_number = number
        self._open_blocks += 1
        line = self._channel.line(number)
        self._group.create_task(self._live(number), name=f"block {number}")
        return line

    def _pace(self, number: int) -> None:
        """Take no more blocks of a peer that proves nothing than leave the reserve for a day."""
        if self._key is None or not self._station.settings.authentication.scheme.cuts_tags:
            return
        unproven = self._station.vault.unproven_blocks() + self._open_blocks
        wait_s = self._unproven.take(unproven, asyncio.get_running_loop().time())
        if wait_s:
            raise RemoteProtocolError(
                f"The peer opens block {number} without having shown a right tag in the last {unproven}: the next is"
                f" taken in {ceil(wait_s)} s."
            )

    def _furthest(self, marks: Marks) -> int:
        """Return the highest number that a block here may have; known before the peer's first word.

        At a bootstrap Alice may come with a new store here, or an old one, so more is let in; never so much that she
        would refuse this node's highest number at the next bootstrap.
        """
        if self._key is None:
            return max(FURTHEST_JUMP, marks.highest_block + _FURTHEST_AHEAD)
        return marks.heard_block + _FURTHEST_AHEAD

    @property
    def _most_blocks(self) -> int:
        """How many blocks may be open here: what both ends have agreed on, or, before they have met, what we allow."""
        met = self._met.done() and not self._met.cancelled()
        return self._met.result().most_blocks if met else self._station.settings.most_blocks_in_flight

    async def _live(self, number: int) -> None:
        """Live one block, once we have met and there is a place for it.

        Her first word of it may come while we still write down the epoch, or close a block that has ended for her.
        """
        try:
            link = await self._met
            async with self._places:
                await self._live_if_payable(link, number)
        finally:
            self._open_blocks -= 1

    async def _live_if_payable(self, link: Link, number: int) -> None:
        """Live a block; one that we cannot pay for, now or in its middle, ends the link, and Alice is told so."""
        vault = self._station.vault
        try:
            if link.pays_for_tags and vault.blocks_payable() < 1:
                raise vault.starvation()
            await link.run_block(number, self._distil)
        except StarvationError as starvation:
            if not self._said_goodbye:  # another block may have starved before this one
                self._said_goodbye = True
                with suppress(LinkError):
                    await link.say_goodbye(str(starvation))
            raise

    async def _distil(self, deposit: LinkDeposit, block: Block) -> SecretKey | Aborted:
        try:
            return await distil(self._receiver, deposit, block)
        finally:
            self._receiver.close(block)
