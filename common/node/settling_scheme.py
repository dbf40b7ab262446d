"""A block's scheme that reports the peer's first right tag: what the tag covers is authenticated from then on."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from qkdlink.common.authentication.scheme import CheckpointScheme, Tag
from qkdlink.common.authentication.transcript import Transcript


@dataclass(slots=True)
class SettlingScheme:
    """Makes and checks the same tags, and waits for `on_authenticated` before it calls the first one right."""

    scheme: CheckpointScheme
    on_authenticated: Callable[[], Awaitable[None]]
    _reported: bool = False

    @property
    def name(self) -> str:
        """The scheme's name."""
        return self.scheme.name

    async def tag(self, speaker: int, position: int, transcript: Transcript) -> Tag:
        """Tag the transcript at this place."""
        return await self.scheme.tag(speaker, position, transcript)

    async def verify(self, speaker: int, position: int, transcript: Transcript, tag: Tag) -> bool:
        """Whether the tag is right."""
        if not await self.scheme.verify(speaker, position, transcript, tag):
            return False
        if not self._reported:
            self._reported = True
            await self.on_authenticated()
        return True
