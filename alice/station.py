"""Alice's process: keep a line to Bob, change its key in time, and make one block after the other on it."""

import asyncio
from collections.abc import Awaitable
from functools import partial
from pathlib import Path
from weakref import WeakSet

from qkdlink.alice.attempts import Attempts
from qkdlink.alice.frames import frame_length
from qkdlink.alice.greeting import greet
from qkdlink.alice.in_flight import BlocksInFlight
from qkdlink.alice.line import OpenLine
from qkdlink.alice.pauses import Pauses
from qkdlink.alice.settings import AliceSettings
from qkdlink.alice.steps import distil
from qkdlink.alice.transmitter import MqttTransmitter
from qkdlink.common.distillation.stages import SecretKey
from qkdlink.common.errors import (
    ConfigurationError,
    CredentialsError,
    DisagreementError,
    LinkError,
    OutdatedStoreError,
    RemoteProtocolError,
    UnprovenRefusalError,
)
from qkdlink.common.growing_pause import GrowingPause
from qkdlink.common.journal.events import LineLost, RekeyingPostponed
from qkdlink.common.keys.derivation import key_id
from qkdlink.common.keys.identifiers import BlockId
from qkdlink.common.node.broker import light_access
from qkdlink.common.node.dialling import MOST_KEYS_TRIED, dial_with_key
from qkdlink.common.node.link import LinkDeposit
from qkdlink.common.node.station import Station, open_station
from qkdlink.common.optics.seal import sealed_bytes
from qkdlink.common.protocol.aborts import Aborted
from qkdlink.common.protocol.block import Block
from qkdlink.common.protocol.rekeying import (
    LONGEST_OVERLAP_S,
    MOST_BOOTSTRAP_KEYS,
    MOST_LIVE_EPOCHS,
    RekeyingPolicy,
)
from qkdlink.common.protocol.roles import Role
from qkdlink.common.sentences import sentence
from qkdlink.common.transport.connections import is_anybody_at
from qkdlink.common.transport.inlet import Inlet
from qkdlink.common.transport.light import LightOutlet
from qkdlink.common.transport.light_line import connect_light
from qkdlink.common.transport.psk import NO_COMMON_KEY, AnyConnection
from qkdlink.common.wire.mqtt_packets import V5, publication_head
from qkdlink.common.wire.patch import Patch
from qkdlink.common.wire.pulse_frames import FrameHeader
from qkdlink.common.wire.topics import Topics

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 10.0
_SWITCHED = "the patch panel was switched"


async def run(settings: AliceSettings, folder: Path, seed: int | None, report_file: int | None) -> None:
    """Live as Alice until all blocks are done."""
    async with (
        open_station(Role.ALICE, greet, settings, folder, seed, report_file) as station,
        connect_light(
            light_access(settings, settings.node, folder), station.pass_over, station.bus.trouble
        ) as line,
    ):
        topics, site, legs = station.topics, settings.apparatus_site, settings.light_legs
        line.check_room_for(largest_packet(settings, topics))
        receipts = await Inlet.open(line, {way: topics.receipts(end, site) for way, end in legs.items()})
        station.patching.on_change(lambda patch: receipts.select(patch.light))
        light = {way: topics.light(site, end) for way, end in legs.items()}
        outlet = LightOutlet(
            line,
            light["direct"],
            receipts,
            settings.frames_in_flight,
            settings.light_patience_s,
        )
        station.patching.on_change(lambda patch: outlet.select(light[patch.light]))
        transmitter = MqttTransmitter(
            outlet,
            station.seal,
            settings.frame_pulses,
            clock_hz=settings.clock_hz,
            probe_photons=lambda: station.patching.current.probe_photons,
        )
        async with outlet.listening(), asyncio.TaskGroup() as group:
            alice = Alice(station, transmitter, group)
            station.patching.on_change(alice.repatched)
            plugging = group.create_task(receipts.run(), name="receipts' way")
            await alice.work()
            plugging.cancel()


def largest_packet(settings: AliceSettings, topics: Topics) -> int:
    """Return how many bytes the longest packet has that this node sends to its broker."""
    pulses = min(settings.parameters.block_pulses, frame_length(settings.frame_pulses, settings.clock_hz))
    header = FrameHeader(settings.link, "0" * 32, 0, 0, 1, 0, pulses).encode()
    payload = len(header) + sealed_bytes(pulses)
    light = (topics.light(settings.apparatus_site, end) for end in settings.light_legs.values())
    return payload + max(len(publication_head(topic, payload, V5, acknowledged=True)) for topic in light)


class Alice:
    """Keeps a line to Bob, numbers the blocks, and begins the epochs."""

    def __init__(
        self, station: Station[AliceSettings], transmitter: MqttTransmitter, group: asyncio.TaskGroup
    ) -> None:
        self._station = station
        self._settings = station.settings
        self._transmitter = transmitter
        self._group = group
        self._policy = RekeyingPolicy(self._settings.rekey_blocks, self._settings.rekey_seconds)
        self._next_number = station.vault.store.highest_block() + 1
        self._left = self._settings.blocks or None
        self._in_flight = BlocksInFlight(self._settings.blocks_in_flight)
        self._pause = GrowingPause(_FIRST_PAUSE_S, _LONGEST_PAUSE_S)
        self._pauses = Pauses(self._settings.backoff, station.vault, station.tell)
        self._living: set[asyncio.Task[bool]] = set()
        self._attempts = Attempts()
        self._lines: WeakSet[OpenLine] = WeakSet()
        self._retiring: dict[OpenLine, asyncio.Task[None]] = {}

    async def work(self) -> None:
        """Make blocks; a line that is lost is dialled again, a wrong peer or parameter ends the node."""
        line: OpenLine | None = None
        self._pauses.count_reserve()
        try:
            while self._left != 0:
                await self._in_flight.enter()
                await self._transmitter.ready()  # without its broker a block would be lost before it begins
                await self._pauses.over(self._next_number, self._living)
                line = await self._payable(await self._usable(line))
                await self._begin_block(line)
            if line is not None:
                await self._retire(line)
        finally:
            if line is not None:
                await line.close()

    def repatched(self, _: Patch) -> None:
        """Give up whatever is under way: light or words go another way from now on."""
        for line in self._lines:
            line.cut(LinkError(_SWITCHED))
        self._attempts.give_up()

    async def _begin_block(self, line: OpenLine) -> None:
        number, self._next_number = self._next_number, self._next_number + 1
        self._left = None if self._left is None else self._left - 1
        await self._station.vault.use_number(number)
        self._pauses.began(pays_for_tags=line.link.pays_for_tags)
        block = line.begin(number, partial(self._distil, line), self._group)
        self._living.add(block)
        block.add_done_callback(self._ended)

    def _ended(self, block: asyncio.Task[bool]) -> None:
        """Make room for the next block, at once or after a pause."""
        self._living.discard(block)
        self._in_flight.leave()
        if block.cancelled() or block.exception() is not None:
            return
        self._pauses.ended(with_key=block.result())

    async def _payable(self, line: OpenLine) -> OpenLine:
        """Wait until a block more can be paid for; StarvationError if nothing that could pay for it is under way."""
        while line.link.pays_for_tags and self._station.vault.blocks_payable() <= len(self._living):
            if not self._living:
                raise self._station.vault.starvation()
            await asyncio.wait(self._living, return_when=asyncio.FIRST_COMPLETED)
            line = await self._usable(line)
        return line

    async def _distil(self, line: OpenLine, deposit: LinkDeposit, block: Block) -> SecretKey | Aborted:
        outcome = await distil(self._transmitter, deposit, block)
        if isinstance(outcome, SecretKey):
            self._in_flight.learn(block.account.exchanges, line.round_trip_s, self._transmitter.light_s)
        return outcome

    # --- the line ----------------------------------------------------------------------------------------------

    async def _usable(self, line: OpenLine | None) -> OpenLine:
        """Return a line that a block may begin on: this one, the next epoch's, or a new one."""
        while True:
            if line is None:
                line = await self._connect()
                continue
            if line.lost is not None:
                await self._leave(line, line.lost)
                line = None
            elif self._is_due(line):
                line = await self._next_epoch(line)
            elif self._has_used_up_bootstrap(line):
                line = await self._end_bootstrap(line)
            else:
                return line

    async def _leave(self, line: OpenLine, why: LinkError | RemoteProtocolError) -> None:
        """Leave a line that was lost, and pause before the next is dialled."""
        self._station.tell(LineLost(reason=sentence(why)))
        await line.close()
        if line.confirmed_any:
            self._pause.reset()
        await asyncio.sleep(self._pause.take())

    async def _connect(self) -> OpenLine:
        """Dial Bob; one who does not answer is waited for, at the first contact only for so long.

        A certificate or card that this node refuses at the first contact is an operator's mistake and ends the node, as
        parameters that differ do, until the latch has closed. That the other end seems to refuse ours proves nothing,
        because anybody on the line can cut it: it is dialled again while patience lasts. After the first contact, or
        the latch, each of them is refused, told, and dialled again; so is a peer that breaks a rule.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.classical.patience_s
        pause = GrowingPause(_FIRST_PAUSE_S, _LONGEST_PAUSE_S)
        while True:
            first_contact = self._station.epochs == 0
            try:
                return await self._dial()
            except DisagreementError as error:
                self._station.disagreed(error)
            except (LinkError, RemoteProtocolError) as error:
                heard = isinstance(error, RemoteProtocolError) and self._station.vault.epoch().latched
                if first_contact and loop.time() > deadline and not heard:
                    if await self._is_shut_out():
                        raise self._shut_out() from error
                    raise
                await self._tell_of(error, quietly=first_contact and not heard, knocks=pause.seconds > 1)
            except CredentialsError as refusal:
                proven = not isinstance(refusal, UnprovenRefusalError) or loop.time() > deadline
                if first_contact and proven and not self._station.vault.epoch().latched:
                    raise
                self._station.refuse(str(refusal))
            await asyncio.sleep(pause.take())

    async def _tell_of(self, error: LinkError | RemoteProtocolError, *, quietly: bool, knocks: bool) -> None:
        """Tell why no line came about; at the first contact a peer that is not there yet is waited for quietly."""
        if isinstance(error, OutdatedStoreError):
            self._station.refuse(str(error))
        elif not quietly:
            self._station.tell(LineLost(reason=sentence(error)))
        elif knocks and await self._is_shut_out():  # not while both are starting
            self._station.refuse(str(self._shut_out()))

    async def _is_shut_out(self) -> bool:
        """Whether the bootstrap is open here alone: the other end is there, but listens for keys only."""
        if self._station.vault.epoch().latched:
            return False
        keyed, bootstrap = (self._station.dialled(bootstrap=which) for which in (False, True))
        return await is_anybody_at(keyed.host, keyed.port) and not await is_anybody_at(
            bootstrap.host, bootstrap.port
        )

    def _shut_out(self) -> LinkError:
        return LinkError(
            f"{self._settings.peer} lets nobody in by the bootstrap any more, and {self._settings.node} has no key that"
            f" it takes: if the store of {self._settings.node} is lost, or its home was put back from an older copy, an"
            " operator has to run `qkdlink bootstrap --again` at the other end, and, with a pre-shared key, to make a"
            " new one for both."
        )

    async def _dial(self) -> OpenLine:
        """Dial with the newest key that Bob takes; by the trust anchor only while the latch is open."""
        vault, refusal = self._station.vault, None
        for key in vault.link_psks()[:MOST_KEYS_TRIED]:
            try:
                return await self._dial_with(key)
            except CredentialsError as error:
                refusal = error
        if not vault.epoch().latched:
            return await self._bootstrap()
        if refusal is not None:
            raise type(refusal)(
                f"{refusal}; if {self._settings.peer} takes no other, {NO_COMMON_KEY}"
            ) from refusal
        raise ConfigurationError(
            "The bootstrap is closed and no link PSK is left: an operator has to run `qkdlink bootstrap --again` at"
            " both ends."
        )

    async def _dial_with(self, key: BlockId) -> OpenLine:
        settings, material = self._settings, self._station.vault.link_psk_material(key)
        if material is None:
            raise CredentialsError(f"The link PSK {key_id(key)} is gone.")
        address = self._station.dialled(bootstrap=False)
        dialling = dial_with_key(settings, address, key, material, key_log=self._station.key_log)
        return await self._open(dialling, key)

    async def _bootstrap(self) -> OpenLine:
        if self._station.anchor is None:
            raise ConfigurationError("The bootstrap was reopened while this node ran: restart it.")
        return await self._open(self._station.anchor.dial(self._station.dialled(bootstrap=True)), None)

    async def _open(self, dialling: Awaitable[AnyConnection], key: BlockId | None) -> OpenLine:
        """Meet Bob; a line that was dialled before the panel was switched, and met on after, leads the wrong way."""
        patching = self._station.patching
        routes = patching.current.routes
        async with self._attempts.unless_given_up(_SWITCHED):
            line = await OpenLine.open(self._station, await dialling, key)
        self._go_on_above(line)
        self._lines.add(line)
        self._in_flight.allow(line.link.most_blocks)
        if patching.current.routes != routes:
            line.cut(LinkError(_SWITCHED))
        return line

    def _go_on_above(self, line: OpenLine) -> None:
        """Number blocks above what Bob has seen, at a bootstrap after this node's store was lost.

        On a line with a link PSK his number is no tagged word, and anybody with that PSK could have raised it.
        """
        if line.link.epoch == 0:
            self._next_number = max(self._next_number, line.link.peers_highest_block + 1)

    # --- epochs ------------------------------------------------------------------------------------------------

    def _is_due(self, line: OpenLine) -> bool:
        """Whether this line's epoch should end and can.

        It can if there is a newer key, which Bob has not just refused, and if no block still lives in an older epoch.
        """
        if not self._policy.is_due(epoch=line.link.epoch, blocks=line.blocks, seconds=line.age_s):
            return False
        if self._newer_key(line) is None:
            if line.link.epoch > 0:
                self._postpone(line, "there is no newer key yet")
            return False
        older = sum(1 for retiring in self._retiring if retiring.living)
        return line.next_attempt_in_s <= 0 and older < MOST_LIVE_EPOCHS - 1

    def _newer_key(self, line: OpenLine) -> BlockId | None:
        newest = next(iter(self._station.vault.link_psks()), None)
        return newest if newest is not None and newest.number > line.key_number else None

    async def _next_epoch(self, line: OpenLine) -> OpenLine:
        """Open a line under the newest key; the old one ends when its last block has ended."""
        key = self._newer_key(line)
        if key is None:
            return line
        while len(self._retiring) >= MOST_LIVE_EPOCHS - 1:
            await asyncio.wait(self._retiring.values())
        await line.accepted()  # once he has met us under the new key, Bob refuses to begin a block here
        try:
            new = await self._dial_with(key)
        except (LinkError, CredentialsError, RemoteProtocolError, DisagreementError) as error:
            if isinstance(error, DisagreementError):
                self._station.disagreed(error)
            self._postpone(line, str(error))
            line.delay_attempt(str(error))
            return line
        retiring = self._group.create_task(self._retire(line), name=f"end of epoch {line.link.epoch}")
        self._retiring[line] = retiring
        retiring.add_done_callback(lambda _: self._retiring.pop(line, None))
        return new

    def _has_used_up_bootstrap(self, line: OpenLine) -> bool:
        """Whether one more block could be one more key under a certificate than there may be."""
        if line.link.epoch > 0:
            return False
        return len(self._station.vault.link_psks()) + line.living >= MOST_BOOTSTRAP_KEYS

    async def _end_bootstrap(self, line: OpenLine) -> OpenLine:
        """Begin the first epoch, for as long as a silent peer is waited for; LinkError, and no more keys, after that.

        A block that still lives may end without a key; only afterwards is it certain that there are enough.
        """
        if line.living:
            await line.drained()
            return line
        loop, new = asyncio.get_running_loop(), line
        deadline = loop.time() + self._settings.classical.patience_s
        while new is line and loop.time() < deadline:
            await asyncio.sleep(min(max(line.next_attempt_in_s, 0.0), deadline - loop.time()))
            new = await self._next_epoch(line)
        if new is line:
            raise LinkError(
                f"There are {MOST_BOOTSTRAP_KEYS} keys, the bootstrap authenticates no more, and none opens a line:"
                f" {line.refusal}"
            )
        return new

    def _postpone(self, line: OpenLine, reason: str) -> None:
        if line.postpone():
            self._station.tell(RekeyingPostponed(epoch=line.link.epoch, reason=reason))

    async def _retire(self, line: OpenLine) -> None:
        """Let a line's blocks end, say goodbye, and close it."""
        try:
            async with asyncio.timeout(LONGEST_OVERLAP_S):
                await line.drained()
                if line.lost is None:
                    await line.link.say_goodbye("no further block will be opened here")
        except (LinkError, RemoteProtocolError, TimeoutError):
            pass  # whoever does not let us go politely is left
        finally:
            await line.close()
