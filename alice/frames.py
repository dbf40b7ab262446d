"""How the light of a block is cut into frames: as told, and shorter where the source's clock is slow."""

_LONGEST_FRAME_S = 0.5
"""Of a paced source: Bob takes light for a sign of life, so a slow clock makes frames short rather than rare."""


def frame_length(frame_pulses: int, clock_hz: float | None) -> int:
    """Pulses per frame, 1 or more: `frame_pulses`, or what a source of `clock_hz` emits in half a second."""
    return frame_pulses if clock_hz is None else min(frame_pulses, max(1, int(clock_hz * _LONGEST_FRAME_S)))


def frame_count(pulses: int, length: int) -> int:
    """How many frames of at most `length` pulses carry a block of `pulses`."""
    return -(-pulses // length)
