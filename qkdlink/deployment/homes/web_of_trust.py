"""A small web of trust on one machine: two nodes, and an introducer who has met both.

Everything is done as three people would do it: each makes a key, the introducer certifies the keys of both nodes, and
each node's operator certifies the introducer's and trusts it fully. The introducer's secret key does not stay.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from qkdlink.common.protocol.roles import Role
from qkdlink.common.trust.node_card import CardRole, user_id
from qkdlink.common.trust.private_files import private_folder
from qkdlink.deployment.certificates.card_making import Wish, make_card
from qkdlink.deployment.certificates.openpgp_signing import Hand, signing_in

KEYRING_FOLDER = "gnupg"
_FULL_TRUST = 5
"""In gpg's ownertrust lists."""


def furnish_web_of_trust(alice_home: Path, bob_home: Path, link: str) -> None:
    """Add to both nodes' homes what the anchor web-of-trust needs: a keyring, a certificate, a card.

    The nodes are called as their roles. Alice's card comes last: where it is, all is. Raises CredentialsError if a card
    is there already, or if GnuPG is missing.
    """
    places = {Role.BOB: bob_home, Role.ALICE: alice_home}
    with TemporaryDirectory(prefix="introducer-") as introducer, signing_in(Path(introducer)) as hand:
        introducing = new_key(hand, f"qkdlink introducer of {link}")
        keys = {role: _new_node(home, user_id(link, role.word)) for role, home in places.items()}
        for key, public in keys.values():
            hand.gpg("--import", data=public)
            hand.gpg("--quick-sign-key", key)
        certified = hand.gpg("--export")
    for role, home in places.items():
        with signing_in(home / KEYRING_FOLDER) as operator:
            operator.gpg("--import", data=certified)
            operator.gpg("--quick-lsign-key", introducing)
            trust_fully(operator, introducing)
            make_card(home, Wish(link, role.word, CardRole.of(role)), operator, keys[role][0])


def new_key(hand: Hand, name: str) -> str:
    """Make an Ed25519 key that signs, for one year and without a passphrase; return its fingerprint."""
    status = hand.gpg(
        *("--status-fd", "1", "--pinentry-mode", "loopback", "--passphrase", ""),
        *("--quick-generate-key", name, "ed25519", "sign", "1y"),
    )
    return status.decode("ascii").partition("KEY_CREATED ")[2].split()[1]


def trust_fully(hand: Hand, fingerprint: str) -> None:
    """Trust the owner of a key fully: whom it certifies is known."""
    hand.gpg("--import-ownertrust", data=f"{fingerprint}:{_FULL_TRUST}:\n".encode("ascii"))


def _new_node(home: Path, user: str) -> tuple[str, bytes]:
    """Make a node's keyring with a key of its own; return the key's fingerprint and its public half."""
    with private_folder(home / KEYRING_FOLDER) as keyring, signing_in(keyring) as hand:
        key = new_key(hand, user)
        return key, hand.gpg("--export", key)
