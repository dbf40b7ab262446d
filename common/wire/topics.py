"""The topics of a link on its broker, each with one writer, and those of light with one reader.

They are named after sites, because a site is where an apparatus stands: a node may be called the same at several links.
A way of light from Alice to Bob is one leg or, through another apparatus, two. Each leg has a topic of its own for its
light and one for its receipts, so that the broker's access list keeps the ways apart.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Topics:
    """All topics of one link."""

    link: str

    def light(self, sender: str, receiver: str) -> str:
        """Sealed frames of pulses on one leg, written by `sender` alone, read by `receiver` alone, never retained."""
        return f"qkd/{self.link}/{sender}/light/{receiver}"

    def receipts(self, sender: str, receiver: str) -> str:
        """Flow control of one leg: which frames `sender` has taken; nothing is derived from it."""
        return f"qkd/{self.link}/{sender}/receipts/{receiver}"

    def patch(self) -> str:
        """The patch panel, retained; read by the apparatus of both nodes, which never write it."""
        return f"qkd/{self.link}/patch"

    def journal(self, site: str) -> str:
        """What the node of a site tells of itself on this link, as JSON, one event a message; never a secret."""
        return f"qkd/{self.link}/{site}/journal"
