"""The anchor none: whoever answers is believed, nothing is tagged, and the store remembers that it was so."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from qkdlink.common.authentication.none import NoAuthentication
from qkdlink.common.authentication.scheme import Authentication
from qkdlink.common.node.anchors.anchor import OnAnyConnection
from qkdlink.common.node.vault import Vault
from qkdlink.common.transport.addresses import Address
from qkdlink.common.transport.connections import Door, OnConnection, OnRefused
from qkdlink.common.transport.psk import AnyConnection
from qkdlink.common.transport.unauthenticated import UnknownPeer, dial_anybody, listen_to_anybody


@dataclass(frozen=True, slots=True)
class NobodyAnchor:
    """No proof on either end; it exists so that the man in the middle can be shown to win."""

    peer: str
    key_log: Path | None = None
    """Where the secrets of TLS sessions are written, in a laboratory alone."""

    @property
    def line(self) -> str:
        """TLS that hides, from everybody but whoever is at the other end."""
        return "tls-without-authentication"

    async def dial(self, address: Address) -> AnyConnection:
        """Believe whoever answers."""
        return await dial_anybody(address.host, address.port, self.peer, key_log=self.key_log)

    def listen(
        self, address: Address, on_connection: OnAnyConnection, on_refused: OnRefused
    ) -> AbstractAsyncContextManager[Door]:
        """Believe whoever dials."""
        welcome = cast("OnConnection[UnknownPeer]", on_connection)
        return listen_to_anybody(
            address.host, address.port, self.peer, welcome, on_refused, key_log=self.key_log
        )

    async def check_still_trusted(self, connection: AnyConnection) -> None:
        """Return at once: nothing here can be revoked or expire."""

    def authentication(self, connection: AnyConnection, session: str, vault: Vault) -> Authentication:
        """Tag nothing; before the first block, the store notes that no application may have what begins here."""
        del connection, session
        vault.store.mark_unauthenticated()
        return NoAuthentication()
