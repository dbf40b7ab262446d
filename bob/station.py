"""Bob's process: listen for Alice, with certificates only until the latch closes, and live every block she opens."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from qkdlink.bob.greeting import greet
from qkdlink.bob.receiver import MqttReceiver
from qkdlink.bob.session import Session
from qkdlink.bob.settings import BobSettings
from qkdlink.bob.unproven import UnprovenBlocks
from qkdlink.common.errors import DisagreementError, LinkError, OutdatedStoreError, RemoteProtocolError
from qkdlink.common.journal.events import LineLost
from qkdlink.common.keys.derivation import key_id, link_psk
from qkdlink.common.keys.identifiers import BlockId
from qkdlink.common.node.broker import light_access
from qkdlink.common.node.station import Station, open_station
from qkdlink.common.protocol.rekeying import LONGEST_OVERLAP_S, MOST_LIVE_EPOCHS
from qkdlink.common.protocol.roles import Role
from qkdlink.common.sentences import sentence
from qkdlink.common.transport.connections import Connection, Door
from qkdlink.common.transport.inlet import Inlet
from qkdlink.common.transport.light_line import connect_light
from qkdlink.common.transport.psk import AnyConnection, KeyedPeer, LinkKeys, listen_psk
from qkdlink.common.wire.patch import Patch


async def run(settings: BobSettings, folder: Path, seed: int | None, report_file: int | None) -> None:
    """Live as Bob until told to stop."""
    async with (
        open_station(Role.BOB, greet, settings, folder, seed, report_file) as station,
        connect_light(
            light_access(settings, settings.node, folder), station.pass_over, station.bus.trouble
        ) as line,
    ):
        topics, site, legs = station.topics, settings.apparatus_site, settings.light_legs
        receipts = {way: topics.receipts(site, end) for way, end in legs.items()}
        light = await Inlet.open(line, {way: topics.light(end, site) for way, end in legs.items()})
        receiver = MqttReceiver(
            line=line,
            light=light,
            receipts_topic=receipts["direct"],
            seal=station.seal,
            tell=station.tell,
            patience_s=settings.light_patience_s,
        )
        line.on_stray = receiver.stray
        station.patching.on_change(lambda patch: light.select(patch.light))
        station.patching.on_change(lambda patch: receiver.select(receipts[patch.light]))
        bob = Bob(station, receiver)
        station.patching.on_change(bob.repatched)
        async with asyncio.TaskGroup() as group, bob.listening():
            group.create_task(light.run(), name="light's way")
            group.create_task(receiver.listen(), name="light")
            await bob.failed


class Bob:
    """Accepts Alice's connections: at most two epochs live, and the newest connection of each counts."""

    def __init__(self, station: Station[BobSettings], receiver: MqttReceiver) -> None:
        self._station = station
        self._receiver = receiver
        self._sessions: dict[BlockId | None, Session] = {}
        self._unproven = UnprovenBlocks(station.settings.unproven_pause_s)
        self._bootstrap_door: Door | None = None
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Ends only with what no new connection can mend: a full disk, a fault of ours, no key left to pay with, and
        parameters that differ before the latch has closed."""

    def repatched(self, _: Patch) -> None:
        """Give up whatever is under way: light or words come another way from now on."""
        for session in self._sessions.values():
            session.close()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Listen with link PSKs, and with certificates while the latch is open."""
        station, settings = self._station, self._station.settings
        keys = LinkKeys(settings.link, settings.node, settings.peer, self._look_up)
        keyed = settings.classical.address
        async with AsyncExitStack() as doors:
            await doors.enter_async_context(
                listen_psk(
                    keyed.host,
                    keyed.port,
                    keys,
                    self._welcome_keyed,
                    station.refuse,
                    key_log=station.key_log,
                )
            )
            if station.anchor is not None:
                self._bootstrap_door = await doors.enter_async_context(
                    station.anchor.listen(
                        settings.classical.bootstrap_address, self._welcome_anchored, station.refuse
                    )
                )
            yield

    def _look_up(self, wanted: str) -> bytes | None:
        """Find the PSK of a key id: of this epoch, of the last one while it overlaps, or of a newer block."""
        for block in self._station.vault.link_psks(live_too=True):
            material = self._station.vault.link_psk_material(block) if key_id(block) == wanted else None
            if material is not None:
                return link_psk(material, self._station.settings.link, wanted)
        return None

    async def _welcome_keyed(self, connection: Connection[KeyedPeer]) -> None:
        session, _, number = connection.peer.key_id.rpartition("/")
        await self._welcome(connection, BlockId(self._station.settings.link, session, int(number)))

    async def _welcome_anchored(self, connection: AnyConnection) -> None:
        if self._station.vault.epoch().latched:
            self._station.refuse("somebody came to the bootstrap after it had closed")
            return
        await self._welcome(connection, None)

    async def _welcome(self, connection: AnyConnection, key: BlockId | None) -> None:
        """Serve one authenticated connection until it ends."""
        try:
            await self._serve(connection, key)
        except* DisagreementError as errors:
            self._disagreed(errors.exceptions[0])
        except* OutdatedStoreError as errors:
            self._station.refuse(sentence(errors))
        except* (LinkError, RemoteProtocolError) as errors:
            self._station.tell(LineLost(reason=sentence(errors)))
        except* Exception as errors:  # noqa: BLE001 - handed over whole to the task that ends the node
            if not self.failed.done():
                self.failed.set_exception(errors.exceptions[0])

    def _disagreed(self, error: Exception) -> None:
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        try:
            if isinstance(error, DisagreementError):
                self._station.disagreed(error)
        except DisagreementError:
            if not self.failed.done():
                self.failed.set_exception(error)

    async def _serve(self, connection: AnyConnection, key: BlockId | None) -> None:
        async with asyncio.TaskGroup() as group:
            session = Session(self._station, self._receiver, connection, group, self._unproven, key)
            try:
                link = await session.meet()
                self._admit(key, session)
                if link.epoch > 0:
                    self._close_bootstrap()
                await link.hear_goodbye()
            finally:
                session.close()
                if self._sessions.get(key) is session:
                    del self._sessions[key]

    def _admit(self, key: BlockId | None, session: Session) -> None:
        """Make room: a reconnection replaces its predecessor, and of three epochs the oldest ends."""
        before = self._sessions.pop(key, None)
        if before is not None:
            before.close()
        while len(self._sessions) >= MOST_LIVE_EPOCHS:
            oldest = next(iter(self._sessions))
            self._sessions.pop(oldest).close()
        for older in self._sessions.values():
            older.retire()
            asyncio.get_running_loop().call_later(LONGEST_OVERLAP_S, older.close)
        self._sessions[key] = session
        self._receiver.on_light = session.sign_of_life

    def _close_bootstrap(self) -> None:
        if self._bootstrap_door is not None:
            self._bootstrap_door.close()
            self._bootstrap_door = None
