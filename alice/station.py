"""Alice's process: dial Bob, then one block after the other until there are enough."""

import asyncio
from pathlib import Path

from alice.settings import AliceSettings
from alice.steps import distil
from alice.transmitter import MqttTransmitter
from common.distillation.stages import SecretKey
from common.errors import CredentialsError, LinkError, RemoteProtocolError
from common.journal.events import LineLost, PeerRefused
from common.node.link import Link
from common.node.station import Station, open_station
from common.protocol.aborts import Aborted
from common.protocol.block import Block
from common.protocol.roles import Role
from common.transport.connections import Connection, dial
from common.transport.light import LightOutlet

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 10.0


async def run(settings: AliceSettings, folder: Path, seed: int | None, report_file: int | None) -> None:
    """Live as Alice until all blocks are done."""
    async with open_station(Role.ALICE, settings, folder, seed, report_file) as station:
        receipts = await station.bus.subscribe(station.topics.receipts(settings.peer))
        outlet = LightOutlet(
            station.bus,
            station.topics.light(settings.node),
            receipts,
            settings.frames_in_flight,
            settings.light_patience_s,
        )
        transmitter = MqttTransmitter(outlet, station.seal, settings.frame_pulses)
        async with outlet.listening():
            await Alice(station, transmitter).work()


class Alice:
    """Keeps a link to Bob and numbers its blocks."""

    def __init__(self, station: Station[AliceSettings], transmitter: MqttTransmitter) -> None:
        self._station = station
        self._transmitter = transmitter
        self._next_number = 1

    @property
    def _done(self) -> bool:
        return 0 < self._station.settings.blocks < self._next_number

    async def work(self) -> None:
        """Make blocks; a line that is lost is dialled again, a wrong peer or parameter ends the node."""
        pause = _FIRST_PAUSE_S
        while not self._done:
            connection = await self._dial()
            try:
                before = self._next_number
                await self._use(connection)
            except* (LinkError, RemoteProtocolError) as errors:
                self._station.tell(LineLost(reason=str(errors.exceptions[0])))
            pause = _FIRST_PAUSE_S if self._next_number > before + 1 else min(2 * pause, _LONGEST_PAUSE_S)
            if not self._done:
                await asyncio.sleep(pause)

    async def _dial(self) -> Connection:
        """Dial Bob; one who does not answer is waited for, at the first contact only for so long.

        Credentials that do not fit at the first contact are an operator's mistake and end the node. After that they
        are somebody in between, or a Bob who is just going down: refused, told, and dialled again.
        """
        settings, station = self._station.settings, self._station
        address, first_contact = settings.classical.address, station.epochs == 0
        deadline = asyncio.get_running_loop().time() + settings.classical.patience_s
        pause = _FIRST_PAUSE_S
        while True:
            try:
                return await dial(address.host, address.port, station.credentials, settings.peer)
            except LinkError:
                if first_contact and asyncio.get_running_loop().time() > deadline:
                    raise
            except CredentialsError as refusal:
                if first_contact:
                    raise
                station.tell(PeerRefused(reason=str(refusal)))
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    async def _use(self, connection: Connection) -> None:
        channel = self._station.channel(connection)
        reading = asyncio.create_task(channel.read(_no_new_block), name="classical channel")
        try:
            link = await self._station.greet(connection, channel)
            await self._make_blocks(link)
            await link.say_goodbye("all blocks are done")
        finally:
            channel.close()
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            await connection.close()

    async def _make_blocks(self, link: Link) -> None:
        room = asyncio.Semaphore(self._station.settings.blocks_in_flight)
        async with asyncio.TaskGroup() as group:
            while not self._done:
                await room.acquire()
                await self._station.bus.ready()  # without its broker a block would be lost before it begins
                number, self._next_number = self._next_number, self._next_number + 1
                task = group.create_task(link.run_block(number, self._distil), name=f"block {number}")
                task.add_done_callback(lambda _: room.release())

    async def _distil(self, block: Block) -> SecretKey | Aborted:
        return await distil(self._transmitter, self._station.keyring, block)


def _no_new_block(_: object) -> None:
    return None
