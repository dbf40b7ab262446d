"""The anchor psk: a secret delivered out of band opens the line, and authenticates the bootstrap's checkpoints.

How follows from what both nodes have: with the scheme wegman-carter and a file that is long enough, the checkpoints are
tagged with pads cut from the file; else with HMAC-SHA-256 under a key expanded from its first 256 bits.
"""

import asyncio
import re
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from qkdlink.common.authentication.hmac_sha256 import HmacSha256
from qkdlink.common.authentication.scheme import Authentication, SchemeName
from qkdlink.common.authentication.wegman_carter import Unit, WegmanCarter
from qkdlink.common.errors import CredentialsError
from qkdlink.common.keys.allotment import Purpose
from qkdlink.common.keys.derivation import (
    BOOTSTRAP_KEY_ID,
    Label,
    bootstrap_identity,
    bootstrap_psk,
    parse_bootstrap_identity,
    pre_shared_file_name,
    session_key,
)
from qkdlink.common.node.anchors.anchor import OnAnyConnection
from qkdlink.common.node.vault import Vault
from qkdlink.common.protocol.high_water import outdated
from qkdlink.common.protocol.roles import Role
from qkdlink.common.store.key_store import KeyStore
from qkdlink.common.transport.addresses import Address
from qkdlink.common.transport.connections import Door, OnConnection, OnRefused
from qkdlink.common.transport.psk import AnyConnection, KeyedPeer, LinkKeys, dial_psk, listen_psk
from qkdlink.common.trust.preshared import PresharedSecret
from qkdlink.common.trust.used_marks import is_marked, mark, mark_of

HMAC_NAME, WEGMAN_CARTER_NAME = "pre-shared-hmac-sha256", "pre-shared-wegman-carter"
_PURPOSES = {Role.ALICE: Purpose.TAGS_ALICE_TO_BOB, Role.BOB: Purpose.TAGS_BOB_TO_ALICE}


@dataclass(frozen=True, slots=True)
class PresharedAnchor:
    """The same file on both ends."""

    role: Role
    link: str
    node: str
    peer: str
    scheme: SchemeName
    file: Path
    secret: PresharedSecret
    key_log: Path | None = None
    """Where the secrets of TLS sessions are written, in a laboratory alone."""

    @property
    def line(self) -> str:
        """A PSK from the first byte, as for every later epoch."""
        return "tls-psk"

    async def dial(self, address: Address) -> AnyConnection:
        """Prove the secret, and believe whoever proves it too."""
        identity = bootstrap_identity(self.link)
        return await dial_psk(
            address.host, address.port, identity, self._psk, self.peer, key_log=self.key_log
        )

    def listen(
        self, address: Address, on_connection: OnAnyConnection, on_refused: OnRefused
    ) -> AbstractAsyncContextManager[Door]:
        """Accept whoever proves the secret; no certificate and no other key opens this port."""
        keys = LinkKeys(
            self.link, self.node, self.peer, {BOOTSTRAP_KEY_ID: self._psk}.get, parse_bootstrap_identity
        )
        welcome = cast("OnConnection[KeyedPeer]", on_connection)
        return listen_psk(address.host, address.port, keys, welcome, on_refused, key_log=self.key_log)

    async def check_still_trusted(self, connection: AnyConnection) -> None:
        """Return at once: nothing here can be revoked or expire."""

    def authentication(self, connection: AnyConnection, session: str, vault: Vault) -> Authentication:
        """Tag with the file's pads, or under a key of this session; CredentialsError if its pads have been used."""
        del connection
        pads = self.pads
        if pads is None:
            return HmacSha256(session_key(Label.BOOTSTRAP_TAGS, self.secret.key, session), HMAC_NAME)
        self._check_mark(vault.store)
        if not vault.store.pads.deposit(self._name, pads):
            raise self._is_over()
        mark(self.file, self._use)  # from now on pads may be taken
        return WegmanCarter(FilePads(vault, self.role, self.node, self.peer), WEGMAN_CARTER_NAME)

    def check(self, store: KeyStore | None) -> None:
        """Raise the CredentialsError that a bootstrap with this store, or a new one, would come to: spent pads."""
        if self.pads is None:
            return
        self._check_mark(store)
        if store is not None and store.pads.is_over(self._name):
            raise self._is_over()

    def _check_mark(self, store: KeyStore | None) -> None:
        """Refuse pads that were taken by a store that is lost: which of them, nobody knows."""
        is_known = store is not None and store.pads.has_had(self._name)
        if not is_known and is_marked(self.file, self._use):
            raise CredentialsError(
                f"The pads in {self.file} were used already, as {mark_of(self.file).name} beside it says, and this"
                " node's key store does not know which: make a new pre-shared key with `qkdlink psk new`, and carry"
                " it to both ends."
            )

    @property
    def pads(self) -> dict[Purpose, bytes] | None:
        """The pads of each direction that the bootstrap's tags are made with; None if they are HMACs."""
        halves = self.secret.pads if self.scheme is SchemeName.WEGMAN_CARTER else None
        return None if halves is None else dict(zip(_PURPOSES.values(), halves, strict=True))

    @property
    def _psk(self) -> bytes:
        return bootstrap_psk(self.secret.key, self.link, self.secret.bits)

    @property
    def _name(self) -> str:
        return pre_shared_file_name(self.secret.key, self.link)

    @property
    def _use(self) -> str:
        """What the mark says: both nodes may have one file on one machine, and each takes its own half."""
        return f"{self._name}/{_PURPOSES[self.role]}"

    def _is_over(self) -> CredentialsError:
        return CredentialsError(
            f"The pads in {self.file} have had their bootstrap, and a pad is never used in another: make a new"
            " pre-shared key with `qkdlink psk new`, and carry it to both ends."
        )


_UNIT = re.compile(r"pre-shared/(?P<purpose>[a-z-]+)/(?P<unit>0|[1-9][0-9]{0,8})")


@dataclass(slots=True)
class FilePads:
    """The units of one line of a bootstrap: the file's, and generated ones for blocks that outlive the bootstrap.

    The latch burns what is left of the file on disk, when the peer may have spoken already and not been heard. So its
    units are held here, for this line alone; no line of an epoch ever looks up a name of theirs.
    """

    vault: Vault
    role: Role
    node: str
    peer: str
    _passed: int = field(init=False)
    """How many units of the peer lie before the first that it may use on this line."""
    _theirs: dict[int, bytes] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._passed = self.vault.store.pads.gone(_PURPOSES[self.role.peer])
        self._theirs = self.vault.store.pads.ahead(_PURPOSES[self.role.peer])

    async def take(self, block: int) -> Unit:
        """Take the next unit of the file, or of generated key; StarvationError without either."""
        own = _PURPOSES[self.role]
        taken = await asyncio.to_thread(self.vault.store.pads.take, own, str(block))
        if taken is None:
            return await self.vault.take(block)
        number, material = taken
        return Unit(f"pre-shared/{own}/{number}", material)

    async def look_up(self, name: str) -> bytes | None:
        """Return the unit that the peer names; RemoteProtocolError if it is not the peer's, not here, or was used.

        OutdatedStoreError if it lies before one that was used on an earlier line.
        """
        number = self._number(name)
        if number is None:
            return await self.vault.look_up(name)
        if number < self._passed:
            raise outdated(self.peer, self.node)
        if number not in self._theirs:
            raise self.vault.refused_unit(
                name, "which was used before, or which the pre-shared key does not have"
            )
        return self._theirs[number]

    async def used(self, name: str, block: int) -> bool:
        """Note on disk that the peer has used a unit; False if it had been used already."""
        number = self._number(name)
        if number is None:
            return await self.vault.used(name, block)
        is_held = self._theirs.pop(number, None) is not None
        theirs = _PURPOSES[self.role.peer]
        return is_held and await asyncio.to_thread(self.vault.store.pads.used, theirs, number, str(block))

    def _number(self, name: str) -> int | None:
        found = _UNIT.fullmatch(name)
        if found is None or found["purpose"] != _PURPOSES[self.role.peer]:
            return None
        return int(found["unit"])
