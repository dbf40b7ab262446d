"""Frames of light as bytes: a clear header that says where a frame belongs, then the sealed pulses.

    offset  bytes  field
    0       4      magic "QKDL"
    4       1      version (1)
    5       1      length of the link's name, n
    6       n      the link's name, ASCII
    6+n     16     session
    22+n    8      block, big-endian
    30+n    4      sequence number of the frame in the block, from 0
    34+n    4      number of frames in the block
    38+n    8      number of the first pulse
    46+n    4      number of pulses in the frame
    50+n           sealed pulses (`qkdlink.common.optics.seal`); the header is their associated data

A receipt is the header's fields from `session` to `sequence`, nothing else.
"""

import struct
from dataclasses import dataclass
from enum import StrEnum

from qkdlink.common.optics.pulses import PulseTrain
from qkdlink.common.optics.seal import AlreadyOpened, ImpossibleLight, LightSeal, SealBroken, sealed_bytes

_MAGIC = b"QKDL"
_VERSION = 1
_PREFIX = struct.Struct(">4sBB")
_PLACE = struct.Struct(">16sQIIQI")
_RECEIPT = struct.Struct(">16sQI")


class FrameFault(StrEnum):
    """What can be wrong with a frame of light; none of these is attenuation."""

    LOST = "lost"
    REPEATED = "repeated"
    REORDERED = "reordered"
    TRUNCATED = "truncated"
    RETAINED = "retained"
    FOREIGN = "foreign"
    OVERSIZED = "oversized"
    """Longer than any frame can be: passed over as it came, and stored nowhere."""
    BROKEN_SEAL = "broken-seal"
    IMPOSSIBLE = "impossible"
    """Its seal is good, and what it holds, or says of itself, no light can be."""


class FrameRefused(Exception):  # noqa: N818 - it is a verdict on a frame, not on the program
    """A frame that is not taken, with the fault that it is refused for."""

    def __init__(self, fault: FrameFault, detail: str) -> None:
        super().__init__(f"{fault}: {detail}")
        self.fault = fault
        self.detail = detail


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """Where a frame of light belongs."""

    link: str
    session: str
    block: int
    sequence: int
    frames: int
    first_pulse: int
    pulses: int

    @property
    def end_pulse(self) -> int:
        """One past the last pulse."""
        return self.first_pulse + self.pulses

    def check_place(self, block_pulses: int) -> None:
        """Raise FrameRefused unless the frame leaves the block's other frames a pulse each, at least.

        What lies before the first frame, and behind the last, is nothing.
        """
        before, behind = self.first_pulse, block_pulses - self.end_pulse
        frames_behind = self.frames - self.sequence - 1
        if frames_behind < 0:
            raise FrameRefused(FrameFault.FOREIGN, f"frame {self.sequence} of {self.frames} cannot be")
        if self.pulses < 1 or not (_has_room(before, self.sequence) and _has_room(behind, frames_behind)):
            raise FrameRefused(
                FrameFault.FOREIGN,
                f"frame {self.sequence} of {self.frames} says that it holds {self.pulses} pulses from"
                f" {self.first_pulse} on, which do not belong there",
            )

    def encode(self) -> bytes:
        """Write the clear header."""
        name = self.link.encode("ascii")
        return (
            _PREFIX.pack(_MAGIC, _VERSION, len(name))
            + name
            + _PLACE.pack(
                bytes.fromhex(self.session),
                self.block,
                self.sequence,
                self.frames,
                self.first_pulse,
                self.pulses,
            )
        )

    @property
    def receipt(self) -> "Receipt":
        """What the receiver publishes once the frame is through his detectors."""
        return Receipt(self.session, self.block, self.sequence)


def _has_room(pulses: int, frames: int) -> bool:
    """Whether so many frames hold so many pulses: none in none, and one at least in each."""
    return pulses == 0 if frames == 0 else pulses >= frames


@dataclass(frozen=True, slots=True)
class Receipt:
    """Flow control for one frame; unauthenticated, and nothing is derived from it."""

    session: str
    block: int
    sequence: int

    def encode(self) -> bytes:
        """Write the receipt, 28 bytes."""
        return _RECEIPT.pack(bytes.fromhex(self.session), self.block, self.sequence)

    @classmethod
    def decode(cls, payload: bytes | memoryview) -> "Receipt | None":
        """Read a receipt; None if it is not one."""
        if len(payload) != _RECEIPT.size:
            return None
        session, block, sequence = _RECEIPT.unpack(payload)
        return cls(session.hex(), block, sequence)


def split(payload: bytes | memoryview) -> tuple[FrameHeader, bytes, memoryview]:
    """Split a frame into header, the header's bytes (associated data) and the sealed pulses, which are not copied.

    Raises FrameRefused: foreign if it does not begin as a frame of ours does, truncated if it is cut short.
    """
    frame = memoryview(payload)
    if frame[: len(_MAGIC)] != _MAGIC[: len(frame)] or not frame:
        raise FrameRefused(FrameFault.FOREIGN, "it is not a frame of light")
    if len(frame) < _PREFIX.size:
        raise FrameRefused(FrameFault.TRUNCATED, "it ends within its header")
    _, version, name_length = _PREFIX.unpack_from(frame)
    if version != _VERSION:
        raise FrameRefused(FrameFault.FOREIGN, f"its format is version {version}, not {_VERSION}")
    end = _PREFIX.size + name_length + _PLACE.size
    if len(frame) <= end:
        raise FrameRefused(FrameFault.TRUNCATED, "it ends within its header")
    name = bytes(frame[_PREFIX.size : _PREFIX.size + name_length]).decode("ascii", "replace")
    session, *place = _PLACE.unpack_from(frame, _PREFIX.size + name_length)
    return FrameHeader(name, session.hex(), *place), bytes(frame[:end]), frame[end:]


def open_light(seal: LightSeal, header: FrameHeader, associated: bytes, sealed: memoryview) -> PulseTrain:
    """Open the sealed pulses of a frame whose clear header says where they belong.

    Raises FrameRefused: truncated, repeated or with a broken seal; impossible if light cannot be so; foreign if the
    header speaks of other pulses. Nothing of a refused frame is kept but that it was opened.
    """
    if len(sealed) < sealed_bytes(header.pulses):
        raise FrameRefused(FrameFault.TRUNCATED, f"frame {header.sequence} ends within its light")
    try:
        train = seal.unseal(sealed, associated)
    except AlreadyOpened as again:
        raise FrameRefused(FrameFault.REPEATED, str(again)) from again
    except ImpossibleLight as impossible:
        raise FrameRefused(FrameFault.IMPOSSIBLE, str(impossible)) from impossible
    except SealBroken as broken:
        raise FrameRefused(FrameFault.BROKEN_SEAL, str(broken)) from broken
    if len(train) != header.pulses or train.first_pulse != header.first_pulse:
        raise FrameRefused(FrameFault.FOREIGN, f"frame {header.sequence} holds {len(train)} other pulses")
    return train
