"""A node's own house: its files, its clock, its credentials, its store, and whether it is running at this moment."""

import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from common.errors import CredentialsError
from common.keys.allotment import Purpose
from common.keys.identifiers import BlockId
from common.node.diagnosis.causes import Obstacle
from common.node.diagnosis.findings import Finding
from common.node.settings import NodeSettings, read_seal_key, read_secret_line
from common.protocol.roles import Role
from common.store.key_store import STORE_FILE, STORE_KEY_FILE, KeyStore, StoreOwner
from common.trust.certificates import dns_names
from common.trust.credentials import CredentialFiles, NodeCredentials
from common.trust.pem import read_certificate

_TOLERANCE = timedelta(minutes=5)
"""Clocks that are corrected step back a little; certificates begin as much before they are made."""


@dataclass(frozen=True, slots=True)
class Patient:
    """The node under examination, and the time by its machine's clock (aware)."""

    role: Role
    settings: NodeSettings
    folder: Path
    now: datetime

    @property
    def journal(self) -> Path:
        """Its journal."""
        return self.folder / self.settings.journal

    @property
    def credential_files(self) -> CredentialFiles:
        """Who it is to its peer, before there is a key."""
        names = self.settings.credentials
        return CredentialFiles(
            self.folder / names.certificate, self.folder / names.private_key, self.folder / names.authority
        )

    @property
    def apparatus_certificates(self) -> list[Path]:
        """What its line to the broker rests on, as far as there is any."""
        broker = self.settings.broker
        return [self.folder / name for name in (broker.authority, broker.certificate) if name is not None]


@dataclass(frozen=True, slots=True)
class Holdings:
    """What the store says of the line."""

    latched: bool = False
    epoch: int = 0
    link_psks: tuple[tuple[BlockId, bytes], ...] = field(default=(), repr=False)
    """Material of each link PSK that exists, newest first."""


def read_holdings(patient: Patient) -> Holdings:
    """Read what the store says of the line; ConfigurationError, as at a start, if the node could not open it.

    A store that a start would make is not made here, and one that is there is opened as the node opens it, which
    changes nothing: a store has its tables since it was made.
    """
    path, key = patient.folder / STORE_FILE, patient.folder / STORE_KEY_FILE
    if not key.exists() and not (path.exists() and path.stat().st_size):
        return Holdings()
    settings = patient.settings
    owner = StoreOwner(settings.link, settings.node, settings.parameters.reproducible)
    with closing(KeyStore.open(patient.folder, owner)) as store:
        return _holdings(store)


def check_files(patient: Patient, *, running: bool) -> Finding:
    """Ask whether the node can read its secrets and write where it has to."""
    settings, folder = patient.settings, patient.folder
    read_seal_key(folder / settings.credentials.light_seal)
    if settings.broker.password_file is not None:
        read_secret_line(folder / settings.broker.password_file, "broker password")
    for path in (folder, patient.journal, folder / STORE_FILE):
        if path.exists() and not os.access(path, os.W_OK):
            return Finding.failed(
                Obstacle.CONFIGURATION, f"{path} cannot be written: give it to the user who runs the node"
            )
    state = "this node is running" if running else "this node is not running"
    return Finding.ok(f"the light seal is readable and the home can be written; {state}")


def check_clock(patient: Patient, last_line: datetime | None) -> Finding:
    """Ask whether this machine's clock is before anything that has certainly happened."""
    files = patient.credential_files
    begins = dict(_begins([files.certificate, files.authority, *patient.apparatus_certificates]))
    if last_line is not None:
        begins[f"the last line of {patient.journal}"] = last_line - _TOLERANCE
    late = [(what, begin) for what, begin in begins.items() if begin > patient.now]
    if late:
        what, begin = max(late, key=lambda pair: pair[1])
        return Finding.failed(
            Obstacle.CLOCK,
            f"this machine's clock says {_minute(patient.now)}, but {what} begins to be valid, or was written,"
            f" at {_minute(begin)}: set the clock (or have the file made on a machine whose clock is right)",
        )
    return Finding.ok(
        f"it says {_minute(patient.now)}, which is later than {len(begins)} dates at hand (certificates,"
        f" journal); the clock of {patient.settings.peer} was not asked"
    )


def check_credentials(patient: Patient, *, latched: bool) -> Finding:
    """Ask whether the certificates of this node can be used, the peer's only while one is needed."""
    for path in patient.apparatus_certificates:
        _refuse_expired(path, patient.now, "issue it anew from the authority of the broker and its clients")
    if latched:
        return Finding.ok(
            "the bootstrap is closed: keys authenticate this link, and no certificate is needed"
        )
    files, node = patient.credential_files, patient.settings.node
    for path in (files.certificate, files.authority):
        _refuse_expired(path, patient.now, "issue a new one with `qkdlink ca issue`")
    names = dns_names(read_certificate(files.certificate))
    if node not in names:
        whose = " and ".join(names) or "nobody"
        return Finding.failed(
            Obstacle.NAME,
            f"{files.certificate} is for {whose}, but this node is called {node}: put right `node` in the"
            " configuration, or issue a certificate for that name",
        )
    NodeCredentials.load(files, node, patient.now)
    return Finding.ok(f"{files.certificate} is for {node}, from the authority beside it, and valid")


def is_running(patient: Patient) -> bool:
    """Whether the node itself runs now: then it has its journal open for writing.

    Asked by a read lease, which Linux grants only on a file that nobody writes, in whatever container (fcntl(2),
    F_SETLEASE). Where the file system knows no leases, or the file is somebody else's, the answer is False.
    """
    try:
        descriptor = os.open(patient.journal, os.O_RDONLY)
    except OSError:
        return False
    try:
        # a node that starts in this very instant is announced by a signal, whose default would end us
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    else:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return False
    finally:
        os.close(descriptor)


def _holdings(store: KeyStore) -> Holdings:
    epoch = store.epoch()
    found = ((block, store.material(block, Purpose.LINK_PSK)) for block in store.link_psks())
    keys = tuple((block, material) for block, material in found if material is not None)
    return Holdings(epoch.latched, epoch.number, keys)


def _begins(certificates: list[Path]) -> Iterator[tuple[str, datetime]]:
    for path in certificates:
        with suppress(CredentialsError):  # whether it can be read is another check's question
            yield str(path), read_certificate(path).not_valid_before_utc


def _refuse_expired(path: Path, now: datetime, remedy: str) -> None:
    ends = read_certificate(path).not_valid_after_utc
    if now > ends:
        raise CredentialsError(
            f"{path} expired at {_minute(ends)}, and this machine's clock says {_minute(now)}: if the clock is right,"
            f" {remedy}"
        )


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
