"""The shell that both stations share: start in order, keep a journal, end in order, one sentence for each error."""

import asyncio
import logging
import os
import secrets
import signal
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from common.authentication.certificate_signature import CertificateSignature
from common.authentication.hmac_sha256 import HmacSha256
from common.distillation.stages import SecretKey
from common.errors import ConfigurationError, LinkError, LocalProtocolError, QkdlinkError
from common.journal.events import BlockSettled, EpochBegan, Event, NodeStarted, NodeStopped, PeerRefused
from common.keys.derivation import checkpoint_key, key_id
from common.keys.identifiers import BlockId
from common.node.journal import Journal, JournalFile
from common.node.launcher_pipe import LauncherPipe
from common.node.link import Link, Party
from common.node.settings import NodeSettings, load_settings, read_seal_key, read_secret_line
from common.node.vault import OnSettled, Vault
from common.optics.seal import LightSeal
from common.protocol.conversation import Conversation
from common.protocol.greeting import Acquaintance, Introduction, PendingBlocks, link_conversation
from common.protocol.roles import Role
from common.randomness import Randomness
from common.store.key_store import KeyStore, StoreOwner
from common.transport.apparatus import apparatus_context
from common.transport.channel import ClassicalChannel
from common.transport.mqtt import BrokerAccess, Bus, connect
from common.transport.psk import AnyConnection
from common.transport.tls import PeerIdentity
from common.trust.certificates import fingerprint
from common.trust.credentials import CredentialFiles, NodeCredentials, verify_signature
from common.wire.topics import Topics

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
    credentials: NodeCredentials | None
    """None once the latch is closed: a certificate opens nothing then, so an expired one does no harm."""
    seal: LightSeal
    bus: Bus
    journal: Journal
    pipe: LauncherPipe
    randomness: Randomness
    vault: Vault
    greeting: Greeting
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
        return Party(
            role=self.role,
            link=self.settings.link,
            node=self.settings.node,
            peer=self.settings.peer,
            parameters=self.settings.parameters,
            randomness=self.randomness,
            tell=self.tell,
            begin=self.pipe.begin,
            vault=self.vault,
        )

    def tell(self, event: Event) -> None:
        """Journal an event."""
        self.journal.tell(event)

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
        print(f"{self.settings.node}: {reason}", file=sys.stderr, flush=True)  # noqa: T201 - for the operator

    def channel(self, connection: AnyConnection) -> ClassicalChannel:
        """Wrap an authenticated connection for the conversations of this link."""
        limit = max(_SMALLEST_BODY_LIMIT, _BODY_BYTES_PER_PULSE * self.settings.parameters.block_pulses)
        return ClassicalChannel(
            connection.reader, connection.writer, limit, self.settings.classical.patience_s
        )

    def epoch_of(self, key: BlockId | None) -> int:
        """Number the epoch that a connection belongs to: 0 with certificates, the current one, or the next."""
        if key is None:
            return 0
        current = self.vault.epoch()
        return current.number if current.key_id == key_id(key) else current.number + 1

    async def meet(self, connection: AnyConnection, channel: ClassicalChannel, key: BlockId | None) -> Link:
        """Greet an authenticated peer and settle what was pending; with a new key, an epoch begins.

        `key` is the block whose link PSK authenticates the connection, None for certificates. When this returns both
        directions have been heard, so with a key the latch is closed and every older key destroyed. LinkError if what
        authenticates the connection has lost its force while we greeted: whoever dawdles may not get round the latch.
        """
        conversation = link_conversation(self.role, self.settings.link, channel.line())
        material = None if key is None else self.vault.link_psk_material(key)
        met = await self.greeting(conversation, self._introduction(key), self.vault)
        if key is None and self.vault.epoch().latched:
            raise LinkError(
                "the bootstrap has closed in the meantime, and a certificate opens nothing any more"
            )
        if key is not None and (material is None or not await self.vault.begin_epoch(met.epoch, key)):
            raise LinkError(f"the link PSK {key_id(key)} is no longer valid here")
        self.epochs += 1
        self.tell(_epoch_began(connection, met, key))
        scheme = (
            self._signatures(connection)
            if material is None
            else HmacSha256(checkpoint_key(material, met.session))
        )
        return Link(self.party, channel, conversation, met.session, met.epoch, scheme)

    def _introduction(self, key: BlockId | None) -> Introduction:
        settings = self.settings
        return Introduction(
            link=settings.link,
            node=settings.node,
            peer=settings.peer,
            parameters=settings.parameters,
            nonce=secrets.token_hex(16),
            epoch=self.epoch_of(key),
        )

    def _signatures(self, connection: AnyConnection) -> CertificateSignature:
        """Checkpoints of bootstrap blocks are signed by the certificates that authenticate this connection."""
        peer = connection.peer
        if not isinstance(peer, PeerIdentity) or self.credentials is None:
            raise LocalProtocolError("Only where both showed certificates can both sign with them.")
        fingerprints = {
            self.role: bytes.fromhex(fingerprint(self.credentials.certificate_der)),
            self.role.peer: bytes.fromhex(peer.fingerprint),
        }
        return CertificateSignature(
            sign=self.credentials.sign,
            verify_peer=lambda data, signature: verify_signature(peer.certificate_der, data, signature),
            fingerprints=(fingerprints[Role.ALICE], fingerprints[Role.BOB]),
        )


def _epoch_began(connection: AnyConnection, met: Acquaintance, key: BlockId | None) -> EpochBegan:
    return EpochBegan(
        epoch=met.epoch,
        session=met.session,
        authenticated_by="mutual-tls" if key is None else "tls-psk",
        tls_version=connection.writer.get_extra_info("ssl_object").version(),
        key_id=None if key is None else key_id(key),
        peer=connection.peer.name,
        peer_fingerprint=connection.peer.fingerprint,
    )


@asynccontextmanager
async def open_station[S: NodeSettings](
    role: Role, greeting: Greeting, settings: S, folder: Path, seed: int | None, report_file: int | None
) -> AsyncIterator[Station[S]]:
    """Check everything a station needs, connect it to its broker, and tell its start and its end."""
    seal = LightSeal(read_seal_key(folder / settings.credentials.light_seal), role.label.lower())
    pipe = LauncherPipe(report_file)
    owner = StoreOwner(settings.link, settings.node, settings.parameters.reproducible)
    credentials = None if KeyStore.is_latched(folder) else _credentials(settings, folder)
    async with connect(broker_access(settings, folder)) as bus:
        with (
            closing(JournalFile(folder / settings.journal)) as file,
            closing(KeyStore.open(folder, owner)) as store,
        ):
            journal = Journal(settings.node, file, pipe.event)
            vault = Vault(store, settings.link, role, _settling(pipe, journal))
            randomness = Randomness(settings.node, seed)
            station = Station(
                role, settings, credentials, seal, bus, journal, pipe, randomness, vault, greeting
            )
            async with journal.published(bus, station.topics.journal(settings.node)):
                station.tell(_started(station))
                try:
                    yield station
                finally:
                    station.tell(NodeStopped(reason="ended"))


def _started[S: NodeSettings](station: Station[S]) -> NodeStarted:
    return NodeStarted(
        role=station.role.label.lower(),
        link=station.settings.link,
        broker=str(station.bus.address),
        reproducible=station.settings.parameters.reproducible,
    )


def _credentials(settings: NodeSettings, folder: Path) -> NodeCredentials:
    names = settings.credentials
    files = CredentialFiles(folder / names.certificate, folder / names.private_key, folder / names.authority)
    return NodeCredentials.load(files, settings.node, datetime.now(UTC))


def broker_access(settings: NodeSettings, folder: Path) -> BrokerAccess:
    """How this node reaches its broker, and as whom; ConfigurationError or CredentialsError if its files do not do."""
    broker = settings.broker
    password = broker.password_file and read_secret_line(folder / broker.password_file, "broker password")
    return BrokerAccess(
        broker.address,
        f"{settings.link}-{settings.node}",
        broker.username,
        password or None,
        None
        if broker.authority is None
        else apparatus_context(
            folder / broker.authority,
            broker.certificate and folder / broker.certificate,
            broker.private_key and folder / broker.private_key,
        ),
    )


def light_access(settings: NodeSettings, folder: Path) -> BrokerAccess:
    """How this node's light reaches its broker: a connection beside the other, on which megabytes hold nobody up."""
    access = broker_access(settings, folder)
    return replace(access, client_id=f"{access.client_id}-light")


def _settling(pipe: LauncherPipe, journal: Journal) -> OnSettled:
    def settle(block: BlockId, key: SecretKey | None, *, available: bool, late: bool) -> None:
        pipe.settle(block, key)
        if late:
            journal.tell(BlockSettled(block_id=str(block), available=available))

    return settle


type Run[S: NodeSettings] = Callable[[S, Path, int | None, int | None], Coroutine[Any, Any, None]]


def main[S: NodeSettings](program: str, kind: type[S], run: Run[S]) -> None:
    """Run one node from its command line; exits with 2 and one sentence on an error."""
    options = _options(program)
    logging.basicConfig(level=logging.DEBUG if options.verbose else logging.ERROR, stream=sys.stderr)
    if not options.verbose:
        logging.disable(logging.CRITICAL)
    try:
        settings = load_settings(kind, options.config)
        _check_seed(settings, options)
        life = run(settings, options.config.parent, options.seed, options.report_fd)
        asyncio.run(_until_told(life, options.report_fd))
    except* QkdlinkError as errors:
        if options.verbose:
            raise
        print(f"{program}: {sentence(errors)}", file=sys.stderr)  # noqa: T201 - the one line a user reads
        os._exit(2)  # threads of an unfinished kernel or connection must not hold the exit up
    except* Exception as errors:
        if options.verbose:
            raise
        reason = sentence(errors)
        print(f"{program}: Something unexpected happened: {reason} --verbose shows where.", file=sys.stderr)  # noqa: T201
        os._exit(2)


def sentence(error: BaseException) -> str:
    """Return the first sentence of an error, or of the first error in a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    text = " ".join(str(error).split())
    first = text.partition(" ")[0]
    if first.isalpha():  # a path or an address stays as it is
        text = text[:1].upper() + text[1:]
    return text + ("" if text.endswith(".") else ".")


def _check_seed(settings: NodeSettings, options: Namespace) -> None:
    if settings.parameters.reproducible and options.seed is None:
        raise ConfigurationError(
            "These parameters are of a reproducible run; only the launcher that made them can start this node."
        )
    if options.seed is not None and (options.report_fd is None or not settings.parameters.reproducible):
        raise ConfigurationError("A seed is for reproducible runs started by a launcher, never for a node.")


async def _until_told(run: Coroutine[Any, Any, None], report_file: int | None) -> None:
    """Run until it ends by itself, a signal asks for an end, or the launcher that it reports to is gone."""
    task = asyncio.ensure_future(run)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    if report_file is not None:
        # a pipe that nobody reads any more is in error, which wakes who waits for input on its write end
        loop.add_reader(report_file, _launcher_gone, report_file, task)
    try:
        await task
    except asyncio.CancelledError:
        if not task.cancelled():
            raise


def _launcher_gone(report_file: int, task: asyncio.Future[None]) -> None:
    asyncio.get_running_loop().remove_reader(report_file)
    task.cancel()


def _options(program: str) -> Namespace:
    parser = ArgumentParser(prog=f"python -m {program}", description=f"Run {program}'s node of a QKD link.")
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="the node's TOML file")
    parser.add_argument("--verbose", action="store_true", help="show every detail of an error")
    parser.add_argument("--report-fd", type=int, help="(for launchers) an inherited pipe to report to")
    parser.add_argument("--seed", type=int, help="(for launchers) the seed of a reproducible run")
    return parser.parse_args()
