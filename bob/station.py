"""Bob's process: listen for Alice, and live every block that she opens."""

import asyncio
from pathlib import Path

from bob.receiver import MqttReceiver
from bob.settings import BobSettings
from bob.steps import distil
from common.distillation.stages import SecretKey
from common.errors import LinkError, RemoteProtocolError
from common.journal.events import LineLost
from common.node.link import Link, greet_back
from common.node.station import Station, open_station, sentence
from common.protocol.aborts import Aborted
from common.protocol.block import Block
from common.protocol.roles import Role
from common.transport.channel import ClassicalChannel, StreamLine
from common.transport.connections import Connection, listen
from common.wire.framing import LINK_BLOCK, Received
from common.wire.messages import OpenBlock


async def run(settings: BobSettings, folder: Path, seed: int | None, report_file: int | None) -> None:
    """Live as Bob until told to stop."""
    async with open_station(Role.BOB, settings, folder, seed, report_file) as station:
        receiver = MqttReceiver(
            bus=station.bus,
            light=await station.bus.subscribe(station.topics.light(settings.peer)),
            receipts_topic=station.topics.receipts(settings.node),
            seal=station.seal,
            tell=station.tell,
            patience_s=settings.light_patience_s,
        )
        address = settings.classical.address
        bob = Bob(station, receiver)
        async with (
            asyncio.TaskGroup() as group,
            listen(
                address.host, address.port, station.credentials, settings.peer, bob.welcome, station.refuse
            ),
        ):
            group.create_task(receiver.listen(), name="light")
            await bob.failed


class Bob:
    """Accepts Alice's connections; the newest one counts."""

    def __init__(self, station: Station[BobSettings], receiver: MqttReceiver) -> None:
        self._station = station
        self._receiver = receiver
        self._current: ClassicalChannel | None = None
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Ends only with what no new connection can mend: parameters that differ, a full disk, a fault of ours."""

    async def welcome(self, connection: Connection) -> None:
        """Serve one authenticated connection until it ends."""
        channel = self._station.channel(connection)
        if self._current is not None:
            self._current.close()
        self._current = channel
        self._receiver.on_light = channel.sign_of_life
        try:
            async with asyncio.TaskGroup() as group:
                await _Session(self._station, self._receiver, channel, group).serve(connection)
        except* (LinkError, RemoteProtocolError) as errors:
            self._station.tell(LineLost(reason=sentence(errors)))
        except* Exception as errors:  # noqa: BLE001 - handed over whole to the task that ends the node
            if not self.failed.done():
                self.failed.set_exception(errors.exceptions[0])
        finally:
            channel.close()


class _Session:
    """One connection: greet, then a task per block that Alice opens."""

    def __init__(
        self,
        station: Station[BobSettings],
        receiver: MqttReceiver,
        channel: ClassicalChannel,
        group: asyncio.TaskGroup,
    ) -> None:
        self._station = station
        self._receiver = receiver
        self._channel = channel
        self._group = group
        self._link: Link | None = None
        self._open_blocks = 0
        self._last_number = LINK_BLOCK

    async def serve(self, connection: Connection) -> None:
        reading = self._group.create_task(self._channel.read(self._on_new_block), name="classical channel")
        try:
            self._link = await self._station.greet(connection, self._channel, greet_back)
            await self._link.hear_goodbye()
        finally:
            reading.cancel()

    def _on_new_block(self, received: Received) -> StreamLine | None:
        """Open a block at Alice's word: numbers only grow, and there is a limit to how many are open."""
        number = received.envelope.block
        if (
            self._link is None
            or not isinstance(received.envelope.message, OpenBlock)
            or number <= self._last_number
            or self._open_blocks >= self._station.settings.most_blocks_in_flight
        ):
            return None
        self._last_number = number
        self._open_blocks += 1
        line = self._channel.line(number)
        task = self._group.create_task(self._link.run_block(number, self._distil), name=f"block {number}")
        task.add_done_callback(self._block_ended)
        return line

    def _block_ended(self, _: asyncio.Task[None]) -> None:
        self._open_blocks -= 1

    async def _distil(self, block: Block) -> SecretKey | Aborted:
        try:
            return await distil(self._receiver, self._station.keyring, block)
        finally:
            self._receiver.close(block)
