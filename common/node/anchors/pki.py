"""The anchor pki: certificates open the line, and their keys sign the bootstrap's checkpoints."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, cast

from qkdlink.common.authentication.certificate_signature import CertificateSignature
from qkdlink.common.authentication.scheme import Authentication
from qkdlink.common.errors import LocalProtocolError
from qkdlink.common.node.anchors.anchor import OnAnyConnection
from qkdlink.common.node.vault import Vault
from qkdlink.common.protocol.roles import Role
from qkdlink.common.transport.addresses import Address
from qkdlink.common.transport.certified import dial, listen
from qkdlink.common.transport.connections import Door, OnConnection, OnRefused
from qkdlink.common.transport.psk import AnyConnection
from qkdlink.common.transport.tls import PeerIdentity
from qkdlink.common.trust.certificates import fingerprint
from qkdlink.common.trust.credentials import NodeCredentials, verify_signature


@dataclass(frozen=True, slots=True)
class PkiAnchor:
    """X.509 on both ends."""

    role: Role
    peer: str
    credentials: NodeCredentials
    key_log: Path | None = None
    """Where the secrets of TLS sessions are written, in a laboratory alone."""

    @property
    def line(self) -> str:
        """Certificates on both ends."""
        return "mutual-tls"

    async def dial(self, address: Address) -> AnyConnection:
        """Show our certificate, and believe the peer's if our authority vouches for its name."""
        return await dial(address.host, address.port, self.credentials, self.peer, key_log=self.key_log)

    def listen(
        self, address: Address, on_connection: OnAnyConnection, on_refused: OnRefused
    ) -> AbstractAsyncContextManager[Door]:
        """Accept the peer by its certificate."""
        welcome = cast("OnConnection[PeerIdentity]", on_connection)
        return listen(
            address.host,
            address.port,
            self.credentials,
            self.peer,
            welcome,
            on_refused,
            key_log=self.key_log,
        )

    async def check_still_trusted(self, connection: AnyConnection) -> None:
        """Look again at both ends' certificates, and at what was revoked since the handshake."""
        now, own = datetime.now(UTC), self.credentials
        NodeCredentials.load(own.files, own.name, now)
        if isinstance(connection.peer, PeerIdentity):
            own.check_peer_in_force(connection.peer.chain_der, now)

    def authentication(self, connection: AnyConnection, session: str, vault: Vault) -> Authentication:
        """Checkpoints are signed by the keys of the two certificates that authenticate this line."""
        del session, vault
        return certificate_signature(self.role, self.credentials, connection)


class Signatory(Protocol):
    """Whose certificate key signs."""

    @property
    def certificate_der(self) -> bytes:
        """The certificate (DER)."""

    def sign(self, data: bytes) -> bytes:
        """Sign so that `qkdlink.common.trust.credentials.verify_signature` can verify it."""


def certificate_signature(
    role: Role, credentials: Signatory, connection: AnyConnection
) -> CertificateSignature:
    """Sign with our certificate's key, verify with that of the certificate which the peer has shown on this line."""
    peer = connection.peer
    if not isinstance(peer, PeerIdentity):
        raise LocalProtocolError("Only where both showed certificates can both sign with them.")
    fingerprints = {
        role: bytes.fromhex(fingerprint(credentials.certificate_der)),
        role.peer: bytes.fromhex(peer.fingerprint),
    }
    return CertificateSignature(
        sign=credentials.sign,
        verify_peer=lambda data, signature: verify_signature(peer.certificate_der, data, signature),
        fingerprints=(fingerprints[Role.ALICE], fingerprints[Role.BOB]),
    )
