"""The outcome matrix: what Eve has stolen, and when, against how blocks are tagged; and what a cell has to show.

She wins if and only if she holds everything that authenticates when she comes. Before the latch that is the anchor;
after it the link PSK, and the tag keys where blocks are tagged with generated key.
"""

from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import product
from typing import Any

from qkdlink.common.authentication.scheme import SchemeName
from qkdlink.common.trust.anchor import AnchorName
from qkdlink.deployment.homes.names import ALICE, BOB
from qkdlink.deployment.homes.security import Security
from qkdlink.deployment.stolen.leaks import Loot


class Stolen(StrEnum):
    """What Eve has, and since when."""

    NOTHING = "nothing, and nobody is authenticated"
    CERTIFICATES_BEFORE = "node certificates, before the latch"
    CERTIFICATES_AFTER = "node certificates, after the latch"
    LINK_PSK = "the link PSK"
    TAG_KEYS = "the tag keys"
    BOTH = "the link PSK and the tag keys"
    AUTHORITY_BEFORE = "the authority's key, before the latch"
    AUTHORITY_AFTER = "the authority's key, after the latch"
    OWN_CERTIFICATES = "nothing, and certificates of her own making"


_LOOT = {
    Stolen.NOTHING: Loot(),
    Stolen.OWN_CERTIFICATES: Loot(),
    Stolen.CERTIFICATES_BEFORE: Loot(certificates=True),
    Stolen.CERTIFICATES_AFTER: Loot(certificates=True),
    Stolen.LINK_PSK: Loot(link_psk=True),
    Stolen.TAG_KEYS: Loot(tag_keys=True),
    Stolen.BOTH: Loot(link_psk=True, tag_keys=True),
    Stolen.AUTHORITY_BEFORE: Loot(authority=True),
    Stolen.AUTHORITY_AFTER: Loot(authority=True),
}
_FROM_THE_START = {
    Stolen.NOTHING,
    Stolen.OWN_CERTIFICATES,
    Stolen.CERTIFICATES_BEFORE,
    Stolen.AUTHORITY_BEFORE,
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of the matrix."""

    stolen: Stolen
    scheme: SchemeName

    def __str__(self) -> str:
        return f"{self.stolen}; scheme {self.scheme}"

    @property
    def security(self) -> Security:
        """How the link is secured."""
        anchor = AnchorName.NONE if self.stolen is Stolen.NOTHING else AnchorName.PKI
        return Security(anchor, self.scheme)

    @property
    def loot(self) -> Loot:
        """What she steals."""
        return _LOOT[self.stolen]

    @property
    def is_from_the_start(self) -> bool:
        """Whether she is in between before the first contact; else she comes after the latch."""
        return self.stolen in _FROM_THE_START

    @property
    def expected_to_win(self) -> bool:
        """Whether she holds everything that authenticates when she comes."""
        match self.stolen:
            case Stolen.NOTHING | Stolen.CERTIFICATES_BEFORE | Stolen.AUTHORITY_BEFORE | Stolen.BOTH:
                return True
            case Stolen.LINK_PSK:
                return self.scheme is SchemeName.NONE
            case _:
                return False


_SCHEMES = (SchemeName.NONE, SchemeName.WEGMAN_CARTER)
MATRIX = tuple(
    Cell(stolen, scheme)
    for stolen, scheme in product(
        (
            Stolen.NOTHING,
            Stolen.CERTIFICATES_BEFORE,
            Stolen.CERTIFICATES_AFTER,
            Stolen.LINK_PSK,
            Stolen.TAG_KEYS,
            Stolen.BOTH,
        ),
        _SCHEMES,
    )
)
"""The twelve cells."""
ALL_CELLS = tuple(Cell(*each) for each in product(Stolen, _SCHEMES))
"""Those, and thefts of the authority's key, with which she issues herself certificates in both names; impostures."""
IMPOSTURE = Cell(Stolen.OWN_CERTIFICATES, SchemeName.WEGMAN_CARTER)
"""With certificates in both names that no authority of theirs has issued."""


@dataclass(frozen=True, slots=True)
class Fingerprints:
    """SHA-256 over the keys since Eve came, as each of the four has them; None of no keys."""

    alice: str | None
    eve_with_alice: str | None
    eve_with_bob: str | None
    bob: str | None


@dataclass(frozen=True, slots=True)
class Evidence:
    """What came of a cell."""

    cell: Cell
    keys_of_alice: int
    """Blocks with a key that Alice has made since Eve came, with whomever."""
    keys_of_bob: int
    known_of_alice: int
    """How many of these are in Eve's own store, bit for bit."""
    known_of_bob: int
    common_keys: int
    """Blocks with a key since Eve came that Alice and Bob have in common."""
    fingerprints: Fingerprints
    traffic_read: bool
    """Whether she has read, word for word, what an application at Alice's said to one at Bob's."""
    traffic_arrived: bool
    """Whether every answer was right, so that neither of them noticed anything."""
    failures: dict[str, str]
    """By victim: the sentence that says where she failed with it."""
    seconds: float

    @property
    def she_won(self) -> bool:
        """Whether she has made keys with both, which both believe, and has read what was said under them."""
        return self.traffic_read and all(
            known == made > 0
            for known, made in (
                (self.known_of_alice, self.keys_of_alice),
                (self.known_of_bob, self.keys_of_bob),
            )
        )

    @property
    def sentence(self) -> str:
        """What happened, in a sentence."""
        if self.she_won:
            return (
                f"She has made {self.known_of_alice} keys with {ALICE} and {self.known_of_bob} with {BOB}, who have"
                f" {self.common_keys} in common, and has read their traffic."
            )
        return " ".join(f"{name}: {why}" for name, why in self.failures.items())

    def as_json(self) -> dict[str, Any]:
        """Return the evidence as an object for `--json`."""
        told = {name: value for name, value in asdict(self).items() if name != "cell"}
        return {
            "stolen": str(self.cell.stolen),
            "scheme": str(self.cell.scheme),
            "she_won": self.she_won,
            "sentence": self.sentence,
            **told,
        }
