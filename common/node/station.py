"""The shell that both stations share: start in order, keep a journal, end in order, one sentence for each error."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from qkdlink.common.authentication.scheme import Authentication
from qkdlink.common.distillation.stages import SecretKey
from qkdlink.common.errors import DisagreementError, LinkError, QkdlinkError
from qkdlink.common.journal.event import Event
from qkdlink.common.journal.events import (
    IN_ORDER,
    BlockSettled,
    EpochBegan,
    LightFault,
    NodeStarted,
    NodeStopped,
    PeerRefused,
)
from qkdlink.common.keys.derivation import key_id
from qkdlink.common.keys.identifiers import BlockId
from qkdlink.common.node.anchors.anchor import Anchor
from qkdlink.common.node.anchors.choice import open_anchor
from qkdlink.common.node.anchors.nobody import NobodyAnchor
from qkdlink.common.node.authentication import keyed_authentication, pinning
from qkdlink.common.node.bootstrap_window import BootstrapWindow
from qkdlink.common.node.broker import broker_access
from qkdlink.common.node.connection_pads import ConnectionPads
from qkdlink.common.node.dialling import introduction
from qkdlink.common.node.journal import Journal, JournalFile
from qkdlink.common.node.launcher_pipe import LauncherPipe
from qkdlink.common.node.link import Link, Party, StillTrusted
from qkdlink.common.node.meeting import Meeting
from qkdlink.common.node.patching import Patching, open_patching
from qkdlink.common.node.settings import NodeSettings, read_seal_key
from qkdlink.common.node.vault import OnSettled, Vault
from qkdlink.common.optics.seal import LightSeal
from qkdlink.common.printable import printable
from qkdlink.common.protocol.conversation import Conversation
from qkdlink.common.protocol.economy import Economy
from qkdlink.common.protocol.greeting import Acquaintance, Introduction, PendingBlocks, link_conversation
from qkdlink.common.protocol.roles import Role
from qkdlink.common.randomness import Randomness
from qkdlink.common.sentences import sentence
from qkdlink.common.store.home_lock import locked_home
from qkdlink.common.store.key_store import KeyStore
from qkdlink.common.store.owner import StoreOwner
from qkdlink.common.transport.addresses import Address
from qkdlink.common.transport.broker_trouble import trouble_words
from qkdlink.common.transport.channel import ClassicalChannel
from qkdlink.common.transport.mqtt import Bus, connect
from qkdlink.common.transport.psk import AnyConnection, check_cipher_suites
from qkdlink.common.wire.pulse_frames import FrameFault
from qkdlink.common.wire.topics import Topics

_TOLD_REFUSALS = 20
"""Refusals told in a minute; a stranger who knocks without end fills neither journal nor disk."""

_BODY_BYTES_PER_PULSE = 2
_SMALLEST_BODY_LIMIT = 1 << 20
"""A detection takes at most one byte of gap per 128 gates plus a bit of basis; parities and seeds are shorter still."""


type Greeting = Callable[[Conversation, Introduction, PendingBlocks], Awaitable[Acquaintance]]


@dataclass(slots=True)
class Station[S: NodeSettings]:
    """What a station has from its start to its end."""

    role: Role
    settings: S
    anchor: Anchor | None
    """None once the latch is closed: it opens nothing then, so an expired certificate does no harm."""
    seal: LightSeal
    bus: Bus
    journal: Journal
    pipe: LauncherPipe
    randomness: Randomness
    vault: Vault
    greeting: Greeting
    patching: Patching
    window: BootstrapWindow | None = None
    """What the bootstrap costs; None once the latch is closed."""
    key_log: Path | None = None
    """Where the secrets of TLS sessions are written, in a laboratory alone."""
    epochs: int = 0
    """How many times this process has met its peer."""
    _refusal_minute: float = -1.0
    _refusals: int = 0

    @property
    def topics(self) -> Topics:
        """The topics of this station's link."""
        return Topics(self.settings.link)

    @property
    def party(self) -> Party:
        """This station as a party of its link."""
        scheme = self.settings.authentication.scheme
        return Party(
            role=self.role,
            link=self.settings.link,
            node=self.settings.node,
            peer=self.settings.peer,
            parameters=self.settings.parameters,
            randomness=self.randomness,
            tell=self.tell,
            vault=self.vault,
            economy=Economy(
                scheme.cuts_tags, self.vault.store.reserve_lacks_bits if scheme.cuts_tags else int
            ),
            pinning=partial(pinning, scheme, self.vault),
        )

    def tell(self, event: Event) -> None:
        """Journal an event."""
        self.journal.tell(event)

    def tell_levels(self) -> None:
        """Journal what the key store holds, if that has changed since it was told."""
        if (levels := self.vault.changed_levels()) is not None:
            self.tell(levels)

    def dialled(self, *, bootstrap: bool) -> Address:
        """Return where the peer is reached at this moment: directly, or where the patch panel leads to."""
        way = self.settings.apparatus.ways.get(self.patching.current.classical)
        place = self.settings.classical if way is None or way.classical is None else way.classical
        return place.bootstrap_address if bootstrap else place.address

    def pass_over(self, what: str) -> None:
        """Journal that something too long has come on a topic of light."""
        self.tell(LightFault(fault=FrameFault.OVERSIZED, detail=what, frames=1))

    def refuse(self, reason: str) -> None:
        """Journal that somebody was turned away; of a flood of strangers, so many a minute and then their number."""
        minute = time.monotonic() // 60
        if minute != self._refusal_minute:
            untold = max(0, self._refusals - _TOLD_REFUSALS)
            self._refusal_minute, self._refusals = minute, 0
            if untold:
                self.tell(PeerRefused(reason=f"{untold} more were turned away in the minute before"))
        self._refusals += 1
        if self._refusals > _TOLD_REFUSALS:
            return
        self.tell(PeerRefused(reason=reason))
        print(f"{self.settings.node}: {printable(reason)}", file=sys.stderr, flush=True)  # noqa: T201 - for the operator

    def broker_trouble(self, event: Event) -> None:
        """Journal what is wrong with the broker, or that it is well again, and say it to the operator."""
        self.tell(event)
        print(f"{self.settings.node}: {trouble_words(event)}", file=sys.stderr, flush=True)  # noqa: T201 - see there

    def disagreed(self, error: DisagreementError) -> None:
        """Tell that the peer was told something else about the link; before the latch has closed, raise it.

        Only an operator can mend that. But after the latch no tag covers a greeting, and whoever holds the epoch's link
        PSK can say anything in it: it ends the connection, and this node goes on.
        """
        if not self.vault.epoch().latched:
            raise error
        self.refuse(str(error))

    def channel(self, connection: AnyConnection) -> ClassicalChannel:
        """Wrap an authenticated connection for the conversations of this link."""
        limit = max(_SMALLEST_BODY_LIMIT, _BODY_BYTES_PER_PULSE * self.settings.parameters.block_pulses)
        return ClassicalChannel(
            connection.reader, connection.writer, limit, self.settings.classical.patience_s
        )

    async def meet(self, connection: AnyConnection, channel: ClassicalChannel, key: BlockId | None) -> Link:
        """Greet an authenticated peer and settle what was pending; with a new key, an epoch begins.

        `key` is the block whose link PSK authenticates the connection, None for certificates. When this returns both
        directions have been heard, so with a key the latch is closed and every older key destroyed. LinkError if what
        authenticates the connection has lost its force while we greeted: whoever dawdles may not get round the latch.
        """
        if self.window is not None:
            self.window.opened(connection, channel)
        conversation = link_conversation(self.role, self.settings.link, channel.line())
        material = None if key is None else self.vault.link_psk_material(key)
        meeting = Meeting(self.vault, authenticated_peer=self._knows_peer(key))
        met = await self.greeting(conversation, introduction(self.settings), meeting)
        if key is None and self.vault.epoch().latched:
            raise LinkError(
                "the bootstrap has closed in the meantime, and what it trusts opens nothing any more"
            )
        still_trusted = None
        if key is None:
            line, authentication, still_trusted = self._bootstrap(connection, met.session)
        else:
            line, authentication = "tls-psk", await self._begin_epoch(key, material, met, meeting)
        self.epochs += 1
        self.tell(_epoch_began(connection, met, key, line))
        if key is not None and self.window is not None:
            now, vouched = asyncio.get_running_loop().time(), self.vault.store.vouched()
            self.tell(self.window.closed(now, vouched))
            self.window = None
        self.tell_levels()
        epoch = 0 if key is None else key.number
        return Link(self.party, channel, conversation, met, authentication, epoch, meeting, still_trusted)

    def _knows_peer(self, key: BlockId | None) -> bool:
        """Whether a line goes back to an anchor that has vouched for the peer."""
        if key is None:
            return not isinstance(self.anchor, NobodyAnchor)
        return not self.vault.store.unauthenticated

    async def _begin_epoch(
        self, key: BlockId, material: bytes | None, met: Acquaintance, meeting: Meeting
    ) -> Authentication:
        """Enter the epoch of a key, once it is certain how blocks are authenticated there: no latch closes on less."""
        gone = LinkError(f"the link PSK {key_id(key)} is no longer valid here")
        if material is None:
            raise gone
        await self.vault.release(key)  # which pins what the peer has shown in its block
        scheme = self.settings.authentication.scheme
        pads = ConnectionPads(self.vault, self.settings.node, self.settings.peer, meeting.units_before)
        authentication = keyed_authentication(scheme, self.vault, material, met.session, pads)
        if not await self.vault.begin_epoch(key):
            raise gone
        return authentication

    def _bootstrap(self, connection: AnyConnection, session: str) -> tuple[str, Authentication, StillTrusted]:
        if self.anchor is None:
            raise LinkError("the bootstrap was reopened while this node ran: restart it")
        self.vault.store.begin_bootstrap(self.settings.trust.anchor)
        anchor = self.anchor
        authentication = anchor.authentication(connection, session, self.vault)
        return anchor.line, authentication, partial(anchor.check_still_trusted, connection)


def _epoch_began(connection: AnyConnection, met: Acquaintance, key: BlockId | None, line: str) -> EpochBegan:
    return EpochBegan(
        epoch=0 if key is None else key.number,
        session=met.session,
        authenticated_by=line,
        tls_version=connection.tls_version,
        key_id=None if key is None else key_id(key),
        peer=connection.peer.name,
        peer_fingerprint=connection.peer.fingerprint,
    )


@asynccontextmanager
async def open_station[S: NodeSettings](
    role: Role, greeting: Greeting, settings: S, folder: Path, seed: int | None, report_file: int | None
) -> AsyncIterator[Station[S]]:
    """Check everything a station needs, connect it to its broker, and tell its start and its end.

    ConfigurationError, before anything is opened, if another process works in this home.
    """
    with locked_home(folder):
        async with _opened_station(role, greeting, settings, folder, seed, report_file) as station:
            yield station


@asynccontextmanager
async def _opened_station[S: NodeSettings](
    role: Role, greeting: Greeting, settings: S, folder: Path, seed: int | None, report_file: int | None
) -> AsyncIterator[Station[S]]:
    check_cipher_suites()
    seal = LightSeal(read_seal_key(folder / settings.credentials.light_seal), role.word)
    pipe = LauncherPipe(report_file)
    owner = StoreOwner(settings.link, settings.node, settings.parameters.reproducible)
    anchor = None if KeyStore.is_latched(folder) else open_anchor(settings, folder, role)
    key_log = settings.laboratory.key_log_in(folder)
    if key_log is not None:
        told = f"{settings.node}: INSECURE: the secrets of every TLS session are written to {key_log}"
        print(told, file=sys.stderr, flush=True)  # noqa: T201 - for the operator
    async with connect(broker_access(settings, settings.node, folder)) as bus:
        with (
            closing(JournalFile(folder / settings.journal, to_stdout=settings.journal_to_stdout)) as file,
            closing(KeyStore.open(folder, owner)) as store,
        ):
            journal = Journal(settings.node, file, pipe.event)
            if settings.parameters.monitors_off:
                store.leave_unwatched()
            vault = Vault(
                store, settings.link, role, _settling(pipe, journal), settings.authentication.scheme
            )
            randomness = Randomness(settings.node, seed)
            patching = await open_patching(bus, settings, journal.tell)
            window = None if anchor is None else BootstrapWindow(settings.trust.anchor)
            station = Station(
                role,
                settings,
                anchor,
                seal,
                bus,
                journal,
                pipe,
                randomness,
                vault,
                greeting,
                patching,
                window,
                key_log,
            )
            bus.trouble.tell = station.broker_trouble
            # nobody writes another's topic
            async with journal.published(bus, station.topics.journal(settings.apparatus_site)):
                station.tell(_started(station))
                station.tell_levels()
                watching = None
                if not settings.is_anothers_apparatus:
                    watching = asyncio.create_task(patching.watch(), name="patch panel")
                why = IN_ORDER
                try:
                    yield station
                    station.tell_levels()
                except (QkdlinkError, ExceptionGroup) as error:
                    why = sentence(error)
                    raise
                finally:
                    if watching is not None:
                        watching.cancel()
                    station.tell(NodeStopped(reason=why))


def _started[S: NodeSettings](station: Station[S]) -> NodeStarted:
    return NodeStarted(
        role=station.role.word,
        link=station.settings.link,
        broker=str(station.bus.address),
        reproducible=station.settings.parameters.reproducible,
        unauthenticated=isinstance(station.anchor, NobodyAnchor) or station.vault.store.unauthenticated,
        tls_key_log=station.key_log is not None,
    )


def _settling(pipe: LauncherPipe, journal: Journal) -> OnSettled:
    def settle(block: BlockId, key: SecretKey | None, *, available: bool, late: bool) -> None:
        pipe.settle(key)
        if late:
            journal.tell(BlockSettled(block_id=str(block), available=available))

    return settle
