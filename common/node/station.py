"""The shell that both stations share: start in order, keep a journal, end in order, one sentence for each error."""

import asyncio
import logging
import os
import signal
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from common.authentication.certificate_signature import CertificateSignature
from common.errors import ConfigurationError, QkdlinkError
from common.journal.events import EpochBegan, Event, NodeStarted, NodeStopped, PeerRefused
from common.node.journal import Journal, JournalFile
from common.node.keyring import Keyring
from common.node.launcher_pipe import LauncherPipe
from common.node.link import Link, Party, greet
from common.node.settings import NodeSettings, load_settings, read_seal_key, read_secret_line
from common.optics.seal import LightSeal
from common.protocol.roles import Role
from common.randomness import Randomness
from common.transport.channel import ClassicalChannel
from common.transport.connections import Connection
from common.transport.mqtt import BrokerAccess, Bus, connect
from common.trust.certificates import fingerprint
from common.trust.credentials import CredentialFiles, NodeCredentials, verify_signature
from common.wire.topics import Topics

_BODY_BYTES_PER_PULSE = 2
_SMALLEST_BODY_LIMIT = 1 << 20
"""A detection takes at most one byte of gap per 128 gates plus a bit of basis; parities and seeds are shorter still."""


@dataclass(slots=True)
class Station[S: NodeSettings]:
    """What a station has from its start to its end."""

    role: Role
    settings: S
    credentials: NodeCredentials
    seal: LightSeal
    bus: Bus
    journal: Journal
    pipe: LauncherPipe
    randomness: Randomness
    keyring: Keyring = field(default_factory=Keyring)
    epochs: int = 0

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
            settle=self.pipe.settle,
        )

    def tell(self, event: Event) -> None:
        """Journal an event."""
        self.journal.tell(event)

    def refuse(self, reason: str) -> None:
        """Journal that somebody was turned away."""
        self.tell(PeerRefused(reason=reason))
        print(f"{self.settings.node}: {reason}", file=sys.stderr, flush=True)  # noqa: T201 - for the operator

    def channel(self, connection: Connection) -> ClassicalChannel:
        """Wrap an authenticated connection for the conversations of this link."""
        limit = max(_SMALLEST_BODY_LIMIT, _BODY_BYTES_PER_PULSE * self.settings.parameters.block_pulses)
        return ClassicalChannel(
            connection.reader, connection.writer, limit, self.settings.classical.patience_s
        )

    async def greet(self, connection: Connection, channel: ClassicalChannel) -> Link:
        """Greet an authenticated peer; an epoch begins when both agree."""
        link = await greet(self.party, channel, self._signatures(connection))
        self.epochs += 1
        self.tell(
            EpochBegan(
                epoch=self.epochs - 1,
                session=link.session,
                authenticated_by="mutual-tls",
                tls_version=connection.writer.get_extra_info("ssl_object").version(),
                key_id=None,
                peer=connection.peer.name,
                peer_fingerprint=connection.peer.fingerprint,
            )
        )
        return link

    def _signatures(self, connection: Connection) -> CertificateSignature:
        """Checkpoints of bootstrap blocks are signed by the certificates that authenticate this connection."""
        own = bytes.fromhex(fingerprint(self.credentials.certificate_der))
        theirs = bytes.fromhex(connection.peer.fingerprint)
        certificate = connection.peer.certificate_der
        return CertificateSignature(
            sign=self.credentials.sign,
            verify_peer=lambda data, signature: verify_signature(certificate, data, signature),
            fingerprints=(own, theirs) if self.role is Role.ALICE else (theirs, own),
        )


@asynccontextmanager
async def open_station[S: NodeSettings](
    role: Role, settings: S, folder: Path, seed: int | None, report_file: int | None
) -> AsyncIterator[Station[S]]:
    """Check everything a station needs, connect it to its broker, and tell its start and its end."""
    credentials = _credentials(settings, folder)
    seal = LightSeal(read_seal_key(folder / settings.credentials.light_seal), role.label.lower())
    pipe = LauncherPipe(report_file)
    access = _broker_access(settings, folder)
    async with connect(access) as bus:
        with closing(JournalFile(folder / settings.journal)) as file:
            journal = Journal(settings.node, file, pipe.event)
            randomness = Randomness(settings.node, seed)
            station = Station(role, settings, credentials, seal, bus, journal, pipe, randomness)
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


def _broker_access(settings: NodeSettings, folder: Path) -> BrokerAccess:
    broker = settings.broker
    password = broker.password_file and read_secret_line(folder / broker.password_file, "broker password")
    return BrokerAccess(broker.address, f"{settings.link}-{settings.node}", broker.username, password or None)


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


def sentence(error: BaseException) -> str:
    """Return the first sentence of an error, or of the first error in a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    text = " ".join(str(error).split())
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


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
