"""What Alice's node is told beyond what every node is told."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from qkdlink.alice.frames import frame_count, frame_length
from qkdlink.alice.in_flight import MOST_BLOCKS
from qkdlink.common.node.settings import NodeSettings
from qkdlink.common.protocol.economy import Backoff
from qkdlink.common.wire.messages import MOST_FRAMES


class AliceSettings(NodeSettings):
    """Configuration of `python -m qkdlink.alice`."""

    blocks: Annotated[int, Field(ge=0)] = 0
    """How many blocks to attempt before ending; 0 means until told to stop."""
    blocks_in_flight: Annotated[int, Field(ge=1, le=8)] | None = None
    """Light of the next block is sent while this one is distilled; left out, 2, and up to 6 on a long line.

    Never more than Bob lets be open."""
    rekey_blocks: Annotated[int, Field(ge=1)] = 10
    """A new epoch, with a PSK from generated key, after so many blocks."""
    rekey_seconds: Annotated[float, Field(gt=0)] = 600.0
    """Or after so much time, whichever comes first."""
    backoff_first_s: Annotated[float, Field(ge=0)] = 1.0
    """The pause after a block that yielded no key, doubled from one such block to the next."""
    backoff_longest_s: Annotated[float, Field(ge=0)] = 600.0
    """The longest such pause."""
    reserve_lasts_s: Annotated[float, Field(gt=0)] | None = None
    """If given, these pauses are not doubled, but grow just fast enough for what pays for tags to last so long.

    For a link that is attacked on purpose: its pauses are short at first. They never grow faster than by doubling.
    """
    frame_pulses: Annotated[int, Field(ge=1, le=2**24)] = 2**20
    """Pulses per frame of light, one byte each."""
    frames_in_flight: Annotated[int, Field(ge=1, le=64)] = 8
    """Frames sent and not yet receipted."""
    clock_hz: Annotated[float, Field(gt=0, le=1e12)] | None = None
    """Pulses per second of the source that is emulated; left out, light leaves as fast as it can be made.

    Dead time is counted in gates of `parameters.detector.clock_hz`, which this does not change.
    """
    light_patience_s: Annotated[float, Field(gt=0, le=3600)] = 20.0
    """How long a frame's receipt is waited for."""

    @property
    def backoff(self) -> Backoff:
        """The pauses after blocks that yielded no key."""
        return Backoff(self.backoff_first_s, self.backoff_longest_s, self.reserve_lasts_s)

    @property
    def most_blocks(self) -> int:
        """As many as she may come to want."""
        return self.blocks_in_flight or MOST_BLOCKS

    @model_validator(mode="after")
    def _has_few_enough_frames(self) -> Self:
        pulses = self.parameters.block_pulses
        frames = frame_count(pulses, frame_length(self.frame_pulses, self.clock_hz))
        if frames > MOST_FRAMES:
            clock = "" if self.clock_hz is None else f" at clock_hz = {self.clock_hz:g}"
            raise ValueError(
                f"block_pulses = {pulses} and frame_pulses = {self.frame_pulses}{clock} make {frames} frames of light,"
                f" and a block has at most {MOST_FRAMES}: choose fewer pulses per block, more per frame, or a faster"
                " clock (a frame is at most half a second long)"
            )
        return self
