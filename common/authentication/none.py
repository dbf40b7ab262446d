"""No tags: whoever can speak on the line is believed. It exists so that the man in the middle can be shown to win."""

from dataclasses import dataclass
from typing import Self

from qkdlink.common.authentication.scheme import SchemeName, Tag
from qkdlink.common.authentication.transcript import Transcript


@dataclass(frozen=True, slots=True)
class NoAuthentication:
    """The reference implementation that does nothing."""

    @property
    def name(self) -> str:
        """The scheme's name."""
        return SchemeName.NONE

    @property
    def is_independent(self) -> bool:
        """There is no tag."""
        return False

    def of_block(self, number: int) -> Self:
        """Every block is as bare as the other."""
        del number
        return self

    async def tag(self, speaker: int, position: int, transcript: Transcript) -> Tag:
        """Make an empty tag."""
        del speaker, position, transcript
        return Tag(b"")

    async def verify(self, speaker: int, position: int, transcript: Transcript, tag: Tag) -> bool:
        """Believe whatever arrived, as long as it is an empty tag."""
        del speaker, position, transcript
        return tag == Tag(b"")
