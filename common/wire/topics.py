"""The topics of a link on its broker, each with one kind of writer."""

from dataclasses import dataclass


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

    def journal(self, node: str) -> str:
        """What `node` tells of itself, as JSON, one event a message; never a secret."""
        return f"qkd/{self.link}/journal/{node}"
