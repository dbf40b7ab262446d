"""What the protocol asks of a scheme that authenticates data."""

from typing import Protocol

from common.authentication.transcript import Transcript


class CheckpointScheme(Protocol):
    """Makes and checks the tags of one block; the place (direction and position) is part of what is tagged."""

    @property
    def name(self) -> str:
        """The scheme's name as it stands in messages, journal and tables."""

    def tag(self, speaker: int, position: int, transcript: Transcript) -> bytes:
        """Tag the transcript for `speaker` (0 Alice, 1 Bob) at checkpoint number `position` of the block."""

    def verify(self, speaker: int, position: int, transcript: Transcript, tag: bytes) -> bool:
        """Whether `tag` is the peer's tag for this transcript at this place."""
