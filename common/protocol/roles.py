"""The two parties of a link."""

from enum import IntEnum


class Role(IntEnum):
    """Alice sends the light and dials; Bob detects it and listens."""

    ALICE = 0
    BOB = 1

    @property
    def peer(self) -> "Role":
        """The other party."""
        return Role(1 - self)

    @property
    def label(self) -> str:
        """The name in sentences and pictures."""
        return self.name.capitalize()

    @property
    def word(self) -> str:
        """The name in files and messages."""
        return self.name.lower()
