"""What Eve has stolen, as the homes of her two programs: what leaked is the victim's, every other secret is a guess.

She knows all that is public: names, sessions, numbers and lengths of blocks, which units were used. So her store is a
copy of the victim's, sealed under a key of her own, in which each part that did not leak holds random bits instead.
Her programs can then come as far as the protocol lets them, and fail at the message that needs what she lacks.
"""

import os
import secrets
import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qkdlink.common.keys.allotment import OF_ALICE, OF_BOB, Purpose
from qkdlink.common.keys.derivation import KEY_BYTES, key_id
from qkdlink.common.keys.identifiers import BlockId
from qkdlink.common.node.settings import CONFIGURATION_FILE
from qkdlink.common.store.key_store import KeyStore
from qkdlink.common.store.opening import STORE_FILE, STORE_KEY_FILE
from qkdlink.common.store.owner import StoreOwner, place_of, place_of_seal
from qkdlink.common.store.sealing import StoreSeal
from qkdlink.common.trust.pki import issue
from qkdlink.common.trust.private_files import NewFile, private_folder, write_over
from qkdlink.deployment.certificates.hierarchy import create_authorities
from qkdlink.deployment.homes.home import LinkHome
from qkdlink.deployment.homes.names import ALICE, BOB
from qkdlink.eve.topics import EVE

_CREDENTIALS = ("certificate.pem", "private-key.pem", "authority.pem", "revocations.pem")
_TAG_PARTS = (*OF_ALICE, *OF_BOB)
FACING_ALICE, FACING_BOB = "facing-alice", "facing-bob"
HOMES = {BOB: FACING_ALICE, ALICE: FACING_BOB}
"""Whose part each of her programs plays, and the folder of its home within hers."""


@dataclass(frozen=True, slots=True)
class Loot:
    """What she has stolen, of both nodes."""

    certificates: bool = False
    """Both nodes' certificates with their keys."""
    authority: bool = False
    """The key of the authority that issues certificates: she makes herself her own."""
    link_psk: bool = False
    """The link PSK of the epoch that they are in."""
    tag_keys: bool = False
    """Every unit for tags that is left at this moment, the reserve included."""

    @property
    def is_of_stores(self) -> bool:
        """Whether any of it lies in a key store."""
        return self.link_psk or self.tag_keys


def furnish(home: LinkHome, loot: Loot, configurations: Mapping[str, str]) -> dict[str, Any]:
    """Make the homes of her two programs from what she steals now; `configurations` are their `node.toml`, by part.

    Returns the setting `impersonate` for hers. Where she has no certificate to steal she makes one of an authority of
    her own, which is as good as self-signed.
    """
    for part, folder in HOMES.items():
        hers = home.node(EVE) / folder
        with private_folder(hers):
            _take_certificate(home, part, loot, hers)
            if loot.is_of_stores:
                rob_store(home.node(part), StoreOwner(home.link, part, reproducible=False), loot, hers)
            write_over(NewFile(hers / CONFIGURATION_FILE, configurations[part].encode()))
    return {"alice_home": FACING_BOB, "bob_home": FACING_ALICE}


def _take_certificate(home: LinkHome, part: str, loot: Loot, hers: Path) -> None:
    if loot.certificates:
        for name in _CREDENTIALS:
            shutil.copy(home.node(part) / name, hers / name)
        return
    authority = home.folder / "ca"
    if not loot.authority:
        authority = home.node(EVE) / "ca"
        if not authority.exists():
            create_authorities(authority)
    issue(authority, part, hers)


def rob_store(victim: Path, owner: StoreOwner, loot: Loot, hers: Path) -> None:
    """Copy the key store in the home `victim` to the home `hers`: what leaked as it is, all else guessed.

    The victim may be running; what it does later is not in the copy. ConfigurationError if it has no store.
    """
    with closing(KeyStore.of(victim)) as store:
        seal = StoreSeal.open(hers / STORE_KEY_FILE)
        os.close(os.open(hers / STORE_FILE, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        with (
            closing(sqlite3.connect(victim / STORE_FILE)) as theirs,
            closing(sqlite3.connect(hers / STORE_FILE)) as copy,
        ):
            theirs.backup(copy)
            with copy:
                _Copy(copy, store, owner, seal).reseal(loot)


@dataclass(frozen=True, slots=True)
class _Copy:
    """A copied store whose secrets are still sealed under the victim's key."""

    database: sqlite3.Connection
    victim: KeyStore
    owner: StoreOwner
    seal: StoreSeal

    def reseal(self, loot: Loot) -> None:
        """Put what leaked, or a guess, in the place of every secret (docs/keys.md has the tables)."""
        for row, session, number in self.database.execute(
            "SELECT id, session, number FROM blocks"
        ).fetchall():
            block = BlockId(self.owner.link, session, number)
            self._reseal_parts(row, block, loot)
            proof = self.seal.seal(secrets.token_bytes(KEY_BYTES), place_of(self.owner, block, "proof"))
            self.database.execute("UPDATE blocks SET proof = ?, peer_key = NULL WHERE id = ?", (proof, row))
        self.database.execute("DELETE FROM pads")
        self.database.execute("DELETE FROM meta WHERE name IN ('own-key', 'peer-key')")
        recognised = self.seal.seal(b"", place_of_seal(self.owner)).hex()
        self.database.execute("UPDATE meta SET value = ? WHERE name = 'seal'", (recognised,))

    def _reseal_parts(self, row: int, block: BlockId, loot: Loot) -> None:
        parts = self.database.execute(
            "SELECT purpose, bits FROM parts WHERE block = ? AND sealed IS NOT NULL", (row,)
        ).fetchall()
        for name, bits in parts:
            purpose = Purpose(name)
            leaked = self.victim.material(block, purpose) if self._has_leaked(block, purpose, loot) else None
            sealed = self.seal.seal(
                leaked or secrets.token_bytes(bits // 8), place_of(self.owner, block, purpose)
            )
            self.database.execute(
                "UPDATE parts SET sealed = ? WHERE block = ? AND purpose = ?", (sealed, row, purpose)
            )

    def _has_leaked(self, block: BlockId, purpose: Purpose, loot: Loot) -> bool:
        if purpose is Purpose.LINK_PSK:
            return loot.link_psk and self.victim.epoch().key_id == key_id(block)
        return loot.tag_keys and purpose in _TAG_PARTS
