"""Making a node's card: a new certificate, what is said of it, and the OpenPGP signature, all or nothing."""

from dataclasses import dataclass, field
from pathlib import Path

from qkdlink.common.trust.algorithms import KeyAlgorithm
from qkdlink.common.trust.node_card import NODE_CARD_FILE, CardRole, NodeCard, SignedCard
from qkdlink.common.trust.pki import NODE_DAYS, Validity
from qkdlink.common.trust.private_files import PUBLIC_MODE, NewFile, private_folder, write_new
from qkdlink.common.trust.self_signed import self_signed
from qkdlink.deployment.certificates.openpgp_signing import Hand

CARD_CERTIFICATE_FILE = "card-certificate.pem"
CARD_PRIVATE_KEY_FILE = "card-private-key.pem"


@dataclass(frozen=True, slots=True)
class Wish:
    """What a card is to say."""

    link: str
    node: str
    role: CardRole
    validity: Validity = field(default_factory=lambda: Validity.days(NODE_DAYS))
    algorithm: KeyAlgorithm = KeyAlgorithm.P256


def make_card(home: Path, wish: Wish, hand: Hand, key: str) -> SignedCard:
    """Make in a node's home its private key (0600), its self-signed certificate and its card, signed by `key`.

    `key` is a fingerprint, or `=` and a user id, that gpg finds in the hand's home. Raises CredentialsError if a name
    cannot be used, gpg does not sign, or one of the files exists: then nothing was written.
    """
    private_key, certificate = self_signed(wish.node, wish.validity, wish.algorithm)
    card = NodeCard.about(wish.link, wish.node, wish.role, wish.validity, certificate)
    signed = SignedCard(card=card, signature=hand.sign(card.signed_bytes(), key))
    with private_folder(home):
        write_new(
            NewFile(home / CARD_PRIVATE_KEY_FILE, private_key),
            NewFile(home / CARD_CERTIFICATE_FILE, certificate, PUBLIC_MODE),
            NewFile(home / NODE_CARD_FILE, signed.to_bytes(), PUBLIC_MODE),
        )
    return signed
