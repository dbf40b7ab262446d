"""People with OpenPGP keys, for tests of the web of trust: two nodes, an introducer who knows both, and strangers."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from qkdlink.common.protocol.roles import Role
from qkdlink.common.trust.card_holder import CardCredentials, CardHolder, HolderFiles
from qkdlink.common.trust.node_card import NODE_CARD_FILE, CardRole, SignedCard, user_id
from qkdlink.deployment.certificates.card_making import (
    CARD_CERTIFICATE_FILE,
    CARD_PRIVATE_KEY_FILE,
    Wish,
    make_card,
)
from qkdlink.deployment.certificates.openpgp_signing import Hand, signing_in
from qkdlink.deployment.homes.web_of_trust import KEYRING_FOLDER, new_key, trust_fully

LINK = "link-1"
needs_gpg = pytest.mark.skipif(shutil.which("gpg") is None, reason="GnuPG is not installed")


@dataclass(frozen=True)
class Person:
    """Somebody with a GnuPG home and one key in it."""

    home: Path
    key: str
    public: bytes

    @property
    def keyring(self) -> Path:
        """The GnuPG home."""
        return self.home / KEYRING_FOLDER

    @contextmanager
    def hand(self) -> Iterator[Hand]:
        """Do as this person does."""
        with signing_in(self.keyring) as hand:
            yield hand

    def files(self) -> HolderFiles:
        """What a node would be told."""
        home = self.home
        return HolderFiles(
            home / NODE_CARD_FILE, home / CARD_CERTIFICATE_FILE, home / CARD_PRIVATE_KEY_FILE, self.keyring
        )


def person(folder: Path, name: str, uid: str) -> Person:
    """Make somebody."""
    home = folder / name
    (home / KEYRING_FOLDER).mkdir(0o700, parents=True)
    with signing_in(home / KEYRING_FOLDER) as hand:
        key = new_key(hand, uid)
        return Person(home, key, hand.gpg("--export", key))


@dataclass(frozen=True)
class Society:
    """Alice, Bob and the introducer, who has certified both; both trust the introducer fully."""

    folder: Path
    alice: Person
    bob: Person
    introducer: Person

    def keyring(self, name: str, whose: Person) -> Path:
        """A copy of somebody's keyring, to be spoilt; sockets of agents are not copied."""
        copy = self.folder / name
        shutil.copytree(whose.keyring, copy, ignore=shutil.ignore_patterns("S.*", ".#*", "*.lock"))
        return copy

    def holder(self, role: Role) -> CardHolder:
        """Alice's or Bob's node."""
        names = {Role.ALICE: (self.alice, "bob"), Role.BOB: (self.bob, "alice")}
        who, peer = names[role]
        return CardHolder.load(who.files(), LINK, (who.home.name, peer), role, datetime.now(UTC))

    def shown_by(self, role: Role, other: Person) -> CardHolder:
        """Alice's or Bob's node, showing the card and using the key of somebody else; it checks nothing of its own."""
        card = SignedCard.read(other.files().card)
        mine = self.holder(role)
        return replace(mine, card=card, credentials=CardCredentials.load(other.files(), card))


def society(folder: Path) -> Society:
    """Make the three of them, as three people would."""
    introducer = person(folder, "introducer", "Ivy the introducer")
    nodes = {role: person(folder, role.word, user_id(LINK, role.word)) for role in Role}
    for role, node in nodes.items():
        with node.hand() as hand:
            make_card(node.home, Wish(LINK, node.home.name, CardRole.of(role)), hand, node.key)
    introduce(introducer, *nodes.values())
    for node in nodes.values():
        meet(node, introducer)
    return Society(folder, nodes[Role.ALICE], nodes[Role.BOB], introducer)


def introduce(introducer: Person, *people: Person) -> None:
    """Let the introducer certify every user id that these people's keys have."""
    with introducer.hand() as hand:
        for each in people:
            hand.gpg("--import", data=each.public)
            hand.gpg("--quick-sign-key", each.key)


def meet(node: Person, introducer: Person) -> None:
    """Let a node's operator get to know the introducer, and all whom the introducer knows."""
    with introducer.hand() as hand:
        known = hand.gpg("--export")
    with node.hand() as hand:
        hand.gpg("--import", data=known)
        hand.gpg("--quick-lsign-key", introducer.key)
        trust_fully(hand, introducer.key)
