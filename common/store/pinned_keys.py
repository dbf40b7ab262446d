"""The signing keys of a link: our own private one, and the peer's public one that a bootstrap has pinned."""

from collections.abc import Callable
from dataclasses import dataclass

from qkdlink.common.errors import ConfigurationError
from qkdlink.common.store.database import Database
from qkdlink.common.store.sealing import StoreSeal

_SIGNS_WITH = "scheme of the signing keys"
_PINNED, _OWN = "pinned key of the peer", "own signing key"


@dataclass(frozen=True, slots=True)
class PinnedKeys:
    """The signing keys of one store, asked and changed inside a context of its database."""

    database: Database
    seal: StoreSeal

    def own(self, scheme: str, draw: Callable[[], bytes]) -> bytes:
        """Return our private key; ConfigurationError if another scheme has drawn it."""
        found, drawn_for = self.database.meta("own-key", ""), self.database.meta(_SIGNS_WITH, scheme)
        if found and drawn_for != scheme:
            raise ConfigurationError(
                f"The signing keys of this link are of {drawn_for}, not of {scheme}: choose the scheme that the"
                " link began with, or have an operator run `qkdlink bootstrap --again` at both ends."
            )
        if found:
            return self.seal.unseal(bytes.fromhex(found), _OWN)
        key = draw()
        self.database.set_meta("own-key", self.seal.seal(key, _OWN).hex())
        self.database.set_meta(_SIGNS_WITH, scheme)
        return key

    def peers(self) -> bytes:
        """Return the peer's public key; empty if none is pinned."""
        found = self.database.meta("peer-key", "")
        return self.seal.unseal(bytes.fromhex(found), _PINNED) if found else b""

    def sealed(self, peer_key: bytes) -> bytes | None:
        """Seal a key that the peer has shown, to be kept with its block; None for none."""
        return self.seal.seal(peer_key, _PINNED) if peer_key else None

    def pin(self, sealed: bytes | None) -> None:
        """Pin what was kept with a block that the peer has confirmed; the first one stays."""
        if sealed is not None and not self.database.meta("peer-key", ""):
            self.database.set_meta("peer-key", sealed.hex())

    def forget(self) -> None:
        """Forget both keys, and what the peer has shown in pending blocks."""
        self.database.connection.execute("UPDATE blocks SET peer_key = NULL WHERE peer_key IS NOT NULL")
        for pinned in ("own-key", "peer-key"):
            self.database.set_meta(pinned, "")
