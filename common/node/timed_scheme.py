"""A block's scheme with a watch beside it: what authentication costs is measured where it happens."""

import time
from dataclasses import dataclass

from qkdlink.common.authentication.scheme import CheckpointScheme, Tag
from qkdlink.common.authentication.transcript import Transcript


@dataclass(slots=True)
class TimedScheme:
    """Makes and checks the same tags, and adds up the seconds that this takes, waiting for the disk included."""

    scheme: CheckpointScheme
    seconds: float = 0.0

    @property
    def name(self) -> str:
        """The scheme's name."""
        return self.scheme.name

    async def tag(self, speaker: int, position: int, transcript: Transcript) -> Tag:
        """Tag the transcript at this place."""
        began = time.perf_counter()
        try:
            return await self.scheme.tag(speaker, position, transcript)
        finally:
            self.seconds += time.perf_counter() - began

    async def verify(self, speaker: int, position: int, transcript: Transcript, tag: Tag) -> bool:
        """Whether the tag is right."""
        began = time.perf_counter()
        try:
            return await self.scheme.verify(speaker, position, transcript, tag)
        finally:
            self.seconds += time.perf_counter() - began
