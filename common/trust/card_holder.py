"""A node of the web of trust: its own card and key, its peer's name, and the keyring that judges the peer's card."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from qkdlink.common.errors import CredentialsError
from qkdlink.common.protocol.roles import Role
from qkdlink.common.trust import algorithms
from qkdlink.common.trust.algorithms import PrivateKey, algorithm_of, tls_has, tls_has_not
from qkdlink.common.trust.credentials import SIGNATURE_CONTEXT
from qkdlink.common.trust.node_card import CardRole, SignedCard
from qkdlink.common.trust.openpgp import Keyring
from qkdlink.common.trust.pem import read_certificate, read_private_key
from qkdlink.common.trust.web_of_trust import check_place, verify_card


@dataclass(frozen=True, slots=True)
class HolderFiles:
    """Where it all lies."""

    card: Path
    certificate: Path
    private_key: Path
    keyring: Path


@dataclass(frozen=True, slots=True, eq=False)
class CardCredentials:
    """The self-signed certificate that is on our card, and its key."""

    certificate_file: Path
    private_key_file: Path
    certificate: x509.Certificate = field(repr=False)
    _private_key: PrivateKey = field(repr=False)

    @classmethod
    def load(cls, files: HolderFiles, card: SignedCard) -> Self:
        """Read both; CredentialsError, naming the file, if they do not belong to the card and to each other."""
        certificate, key = read_certificate(files.certificate), read_private_key(files.private_key)
        if certificate.public_bytes(Encoding.DER) != card.card.certificate_der:
            raise CredentialsError(
                f"{files.certificate} is not the certificate on {files.card}: make both anew"
            )
        if certificate.public_key() != key.public_key():
            raise CredentialsError(
                f"{files.private_key} is not the key of {files.certificate}: make both anew"
            )
        algorithm = algorithm_of(key)
        if algorithm is not None and not tls_has(algorithm):
            raise CredentialsError(f"{files.certificate} {tls_has_not(algorithm)}")
        return cls(files.certificate, files.private_key, certificate, key)

    @property
    def certificate_der(self) -> bytes:
        """This node's certificate (DER)."""
        return self.certificate.public_bytes(Encoding.DER)

    def sign(self, data: bytes) -> bytes:
        """Sign as `qkdlink.common.trust.credentials.NodeCredentials.sign` does; `verify_signature` there verifies."""
        return algorithms.sign(self._private_key, SIGNATURE_CONTEXT + data)

    def check_unchanged(self) -> None:
        """Refuse, with a CredentialsError, to go on with a certificate that was replaced since it was loaded."""
        if read_certificate(self.certificate_file) != self.certificate:
            raise CredentialsError(f"{self.certificate_file} was replaced meanwhile: restart this node")


@dataclass(frozen=True, slots=True, eq=False)
class CardHolder:
    """What one node shows and whom it believes; build it with `load`, which checks everything of our own."""

    link: str
    node: str
    peer: str
    role: Role
    card: SignedCard = field(repr=False)
    credentials: CardCredentials = field(repr=False)
    keyring: Keyring

    @classmethod
    def load(
        cls, files: HolderFiles, link: str, node_and_peer: tuple[str, str], role: Role, now: datetime
    ) -> Self:
        """Read and check a node's card, key and keyring at the time `now` (aware).

        Raises CredentialsError, naming the file, if one is missing, unreadable, open to others, not of this node, link
        and role, out of date or not fit for the others, and if GnuPG is not installed.
        """
        node, peer = node_and_peer
        if node == peer:
            raise CredentialsError(
                f'this node and its peer are both called "{peer}": each needs a name of its own'
            )
        keyring = Keyring.open(files.keyring)
        card = SignedCard.read(files.card)
        try:
            check_place(card.card, link, node, CardRole.of(role), now)
        except CredentialsError as error:
            raise CredentialsError(f"{files.card}: {error}") from error
        credentials = CardCredentials.load(files, card)
        return cls(link, node, peer, role, card, credentials, keyring)

    async def accept(self, shown: SignedCard, now: datetime) -> None:
        """Refuse, with a CredentialsError that says why, every card but a valid one of our peer, at the time `now`.

        What can be seen without gpg is looked at first: to have gpg work, a stranger needs at least a fitting card.
        """
        if shown.card.node == self.node:
            raise CredentialsError(
                "the peer shows this node's own card: the line leads back to this very node"
            )
        check_place(shown.card, self.link, self.peer, CardRole.of(self.role.peer), now)
        await verify_card(shown, self.keyring)
