"""The topics of a link on its broker, each with one kind of writer."""

from dataclasses import dataclass

EVE = "eve"
"""Who she is at the broker."""


@dataclass(frozen=True, slots=True)
class Topics:
    """All topics of one link."""

    link: str

    def light(self, sender: str) -> str:
        """Sealed frames of pulses, written by `sender` alone, never retained."""
        return f"qkd/{self.link}/light/{sender}"

    def receipts(self, receiver: str) -> str:
        """Flow control: which frames `receiver` has taken; nothing is derived from it."""
        return f"qkd/{self.link}/receipts/{receiver}"

    def patch(self) -> str:
        """The patch panel, retained; written by Eve and the operator, read by the apparatus of both nodes."""
        return f"qkd/{self.link}/patch"

    def eve_control(self) -> str:
        """Commands for Eve, from her own console or another front end."""
        return f"qkd/{self.link}/eve/control"

    def journal(self, node: str) -> str:
        """What `node` tells of itself, as JSON, one event a message; never a secret."""
        return f"qkd/{self.link}/journal/{node}"
