"""The anchor web-of-trust: node cards that an introducer vouches for open the line; their keys sign its checkpoints."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self, cast

from qkdlink.common.authentication.scheme import Authentication
from qkdlink.common.node.anchors.anchor import OnAnyConnection
from qkdlink.common.node.anchors.pki import certificate_signature
from qkdlink.common.node.settings import NodeSettings
from qkdlink.common.node.vault import Vault
from qkdlink.common.protocol.roles import Role
from qkdlink.common.transport import carded
from qkdlink.common.transport.addresses import Address
from qkdlink.common.transport.carded import CardIdentity
from qkdlink.common.transport.connections import Door, OnConnection, OnRefused
from qkdlink.common.transport.psk import AnyConnection
from qkdlink.common.transport.tls import PeerIdentity
from qkdlink.common.trust.card_holder import CardHolder, HolderFiles
from qkdlink.common.trust.node_card import CardRole
from qkdlink.common.trust.web_of_trust import check_place


@dataclass(frozen=True, slots=True)
class WebOfTrustAnchor:
    """OpenPGP on both ends, judged by GnuPG."""

    holder: CardHolder
    key_log: Path | None = None
    """Where the secrets of TLS sessions are written, in a laboratory alone."""

    @classmethod
    def open(cls, settings: NodeSettings, folder: Path, role: Role) -> Self:
        """Read and check what the settings name; CredentialsError if it does not do, or if GnuPG is missing."""
        trust = settings.trust
        files = HolderFiles(
            card=folder / trust.node_card,
            certificate=folder / trust.card_certificate,
            private_key=folder / trust.card_private_key,
            keyring=folder / trust.keyring,
        )
        names = (settings.node, settings.peer)
        holder = CardHolder.load(files, settings.link, names, role, datetime.now(UTC))
        return cls(holder, settings.laboratory.key_log_in(folder))

    @property
    def line(self) -> str:
        """Certificates on both ends, each from a node card."""
        return "mutual-tls-node-cards"

    async def dial(self, address: Address) -> AnyConnection:
        """Show our card, and believe the certificate on the peer's if the web of trust vouches for it."""
        return await carded.dial(address.host, address.port, self.holder, key_log=self.key_log)

    def listen(
        self, address: Address, on_connection: OnAnyConnection, on_refused: OnRefused
    ) -> AbstractAsyncContextManager[Door]:
        """Accept the peer by its card."""
        welcome = cast("OnConnection[PeerIdentity]", on_connection)
        return carded.listen(
            address.host, address.port, self.holder, welcome, on_refused, key_log=self.key_log
        )

    async def check_still_trusted(self, connection: AnyConnection) -> None:
        """Judge both cards again, by the keyring as it is now."""
        now, holder = datetime.now(UTC), self.holder
        check_place(holder.card.card, holder.link, holder.node, CardRole.of(holder.role), now)
        if isinstance(connection.peer, CardIdentity):
            await holder.accept(connection.peer.card, now)

    def authentication(self, connection: AnyConnection, session: str, vault: Vault) -> Authentication:
        """Checkpoints are signed by the keys of the two certificates that authenticate this line."""
        del session, vault
        return certificate_signature(self.holder.role, self.holder.credentials, connection)
