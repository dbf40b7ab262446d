"""A node's own house: its files, its clock, its store, and whether it is running at this moment."""

import os
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from qkdlink.common.errors import CredentialsError
from qkdlink.common.keys.allotment import Purpose
from qkdlink.common.keys.identifiers import BlockId
from qkdlink.common.node.settings import CONFIGURATION_FILE, NodeSettings, read_seal_key, read_secret_line
from qkdlink.common.protocol.roles import Role
from qkdlink.common.store.in_use import is_open_for_writing
from qkdlink.common.store.key_store import KeyStore
from qkdlink.common.store.opening import STORE_FILE, STORE_KEY_FILE
from qkdlink.common.store.owner import StoreOwner
from qkdlink.common.trust.anchor import AnchorName
from qkdlink.common.trust.credentials import CredentialFiles
from qkdlink.common.trust.pem import read_chain
from qkdlink.deployment.diagnosis.causes import Obstacle
from qkdlink.deployment.diagnosis.findings import Finding

_TOLERANCE = timedelta(minutes=5)
"""Clocks that are corrected step back a little; certificates begin as much before they are made."""


@dataclass(frozen=True, slots=True)
class Patient:
    """The node under examination, and the time by its machine's clock (aware)."""

    role: Role
    settings: NodeSettings
    folder: Path
    now: datetime
    largest_packet: int = 0
    """How many bytes the longest packet has that it sends to its broker, as far as that is known."""

    @property
    def changed(self) -> datetime:
        """When its configuration was changed last."""
        file = self.folder / CONFIGURATION_FILE
        return datetime.fromtimestamp(file.stat().st_mtime if file.exists() else 0, UTC)

    @property
    def journal(self) -> Path:
        """Its journal."""
        return self.folder / self.settings.journal

    @property
    def credential_files(self) -> CredentialFiles:
        """Who it is to its peer, before there is a key."""
        names = self.settings.credentials
        return CredentialFiles(
            self.folder / names.certificate,
            self.folder / names.private_key,
            self.folder / names.authority,
            self.folder / self.settings.trust.revocations,
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
    link_psks: tuple[tuple[BlockId, bytes], ...] = field(default=(), repr=False)
    """Material of each link PSK that exists, newest first."""
    unauthenticated: bool = False
    """The keys go back to a bootstrap without authentication."""


def read_holdings(patient: Patient) -> Holdings:
    """Read what the store says of the line; ConfigurationError, as at a start, if the node could not open it."""
    store = open_store(patient)
    if store is None:
        return Holdings()
    with closing(store):
        return _holdings(store)


def open_store(patient: Patient) -> KeyStore | None:
    """Open the store, which is to be closed again; None, and nothing is made, if a start would make it.

    One that is there is opened as the node opens it, which changes nothing: a store has its tables since it was made.
    """
    path, key = patient.folder / STORE_FILE, patient.folder / STORE_KEY_FILE
    if not key.exists() and not (path.exists() and path.stat().st_size):
        return None
    settings = patient.settings
    owner = StoreOwner(settings.link, settings.node, settings.parameters.reproducible)
    return KeyStore.open(patient.folder, owner)


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
    begins = dict(_begins([*_certificates(patient), *patient.apparatus_certificates]))
    if last_line is not None:
        begins[f"the last line of {patient.journal}"] = last_line - _TOLERANCE
    late = [(what, begin) for what, begin in begins.items() if begin > patient.now]
    if late:
        what, begin = max(late, key=lambda pair: pair[1])
        return Finding.failed(
            Obstacle.CLOCK,
            f"this machine's clock says {minute(patient.now)}, but {what} begins to be valid, or was written,"
            f" at {minute(begin)}: set the clock (or have the file made on a machine whose clock is right)",
        )
    return Finding.ok(
        f"it says {minute(patient.now)}, which is later than {len(begins)} dates at hand (certificates,"
        f" journal); the clock of {patient.settings.peer} was not asked"
    )


def is_running(patient: Patient) -> bool:
    """Whether the node itself runs now: then it has its journal open for writing."""
    return is_open_for_writing(patient.journal)


def _holdings(store: KeyStore) -> Holdings:
    found = ((block, store.material(block, Purpose.LINK_PSK)) for block in store.link_psks())
    keys = tuple((block, material) for block, material in found if material is not None)
    return Holdings(store.epoch().latched, keys, store.unauthenticated)


def _certificates(patient: Patient) -> list[Path]:
    """Those of the anchor: only some show certificates."""
    match patient.settings.trust.anchor:
        case AnchorName.PKI:
            files = patient.credential_files
            return [files.certificate, files.authority]
        case AnchorName.WEB_OF_TRUST:
            return [patient.folder / patient.settings.trust.card_certificate]
        case AnchorName.PSK | AnchorName.NONE:
            return []


def _begins(certificates: list[Path]) -> Iterator[tuple[str, datetime]]:
    for path in certificates:
        with suppress(CredentialsError):  # whether it can be read is another check's question
            yield str(path), read_chain(path)[0].not_valid_before_utc


def minute(moment: datetime) -> str:
    """Write a moment for a person."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"
