"""Bob's apparatus: the inlet and the detectors. Frames go in, detections come out, and the light is gone.

A frame is taken once and in its place. Whatever is wrong with one has a name (`FrameFault`), is journalled, and is
never counted as attenuation: a frame that does not belong here is refused and changes nothing, a frame that is missing
voids its block.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from qkdlink.common.errors import LinkError
from qkdlink.common.journal.event import Event
from qkdlink.common.journal.events import LightProgress
from qkdlink.common.journal.light_faults import LightFaults
from qkdlink.common.optics.records import DetectionLog, DetectionRecord
from qkdlink.common.optics.seal import LightSeal
from qkdlink.common.optics.watchful_receiver import DetectorFlaws, WatchfulReceiver
from qkdlink.common.protocol.aborts import LightLost
from qkdlink.common.protocol.block import Block
from qkdlink.common.randomness import Choice, Nature
from qkdlink.common.transport.inlet import Inlet
from qkdlink.common.transport.light_line import LightLine
from qkdlink.common.transport.mqtt import Delivery
from qkdlink.common.wire.pulse_frames import FrameFault, FrameHeader, FrameRefused, open_light, split

_TOLD_EVERY_S = 0.1
"""Telling costs as much as thousands of pulses: progress is told often enough to be watched."""


@dataclass(slots=True)
class _Reception:
    """The light of one block, while it arrives."""

    block: Block
    frames: int
    detectors: WatchfulReceiver
    log: DetectionLog
    told: float = 0.0
    next_frame: int = 0
    pulses: int = 0
    missing: set[int] = field(default_factory=set)
    first_missing: int | None = None
    out_of_order: bool = False
    complete: asyncio.Event = field(default_factory=asyncio.Event)

    def check_place(self, header: FrameHeader) -> None:
        """Raise FrameRefused unless a frame can stand in the block, behind what has come.

        The next frame begins where the last one ended.
        """
        header.check_place(self.block.parameters.block_pulses)
        is_next = self.first_missing is None and header.sequence == self.next_frame
        if not (header.first_pulse == self.pulses if is_next else header.first_pulse > self.pulses):
            raise FrameRefused(
                FrameFault.FOREIGN,
                f"frame {header.sequence} of {self.frames} begins at pulse {header.first_pulse},"
                f" where pulse {self.pulses} is the next",
            )


class MqttReceiver:
    """Takes sealed frames from the broker and measures them; `listen` runs as a task."""

    def __init__(
        self,
        *,
        line: LightLine,
        light: Inlet,
        receipts_topic: str,
        seal: LightSeal,
        tell: Callable[[Event], None],
        patience_s: float,
    ) -> None:
        self._line = line
        self._light = light
        self._receipts_topic = receipts_topic
        self._seal = seal
        self._patience_s = patience_s
        self._receptions: dict[tuple[str, int], _Reception] = {}
        self._faults = LightFaults(tell)
        self.on_light: Callable[[], None] = lambda: None
        """Called for every good frame: the peer is alive although it says nothing on the classical line."""

    async def open(self, block: Block, frames: int) -> None:
        """Turn the detectors on for a block."""
        detectors = WatchfulReceiver(
            block.parameters.detector,
            block.parameters.key_basis_probability,
            block.choices(Choice.MEASUREMENTS),
            block.randomness.nature(Nature.DETECTORS, block.id.number),
            DetectorFlaws(),
            block.parameters.switched_off_probability,
        )
        log = DetectionLog(block.parameters.block_pulses)
        self._receptions[block.id.session, block.id.number] = _Reception(block, frames, detectors, log)

    async def finish(self, block: Block) -> DetectionRecord:
        """Return what was detected; LightLost unless every frame of the block came, once and in its place."""
        reception = self._receptions[block.id.session, block.id.number]
        try:
            async with asyncio.timeout(self._patience_s):
                await reception.complete.wait()
        except TimeoutError:
            self._miss(reception, reception.frames)
        finally:
            self.close(block)
        if reception.first_missing is not None:
            raise LightLost(_missing_sentence(reception))
        return reception.log.record()

    def close(self, block: Block) -> None:
        """Turn the detectors off: light of this block is foreign from now on."""
        self._receptions.pop((block.id.session, block.id.number), None)
        self._faults.tell_the_rest()

    def select(self, receipts_topic: str) -> None:
        """Send receipts on another topic from now on: light comes another way."""
        self._receipts_topic = receipts_topic

    def stray(self, topic: str) -> None:
        """Name a frame that came by a way that has been left: whatever it is, it is not of a block under way."""
        self._faults.note(FrameFault.FOREIGN, f"it came on {topic}, a way of light that is not plugged in")

    async def listen(self) -> None:
        """Take frames for as long as the node lives."""
        while True:
            delivery = await self._light.get()
            try:
                await self._take(delivery)
            except FrameRefused as refused:
                self._faults.note(refused.fault, refused.detail)

    async def _take(self, delivery: Delivery) -> None:
        if delivery.retained:
            raise FrameRefused(FrameFault.RETAINED, "the broker kept it; light is never kept")
        header, associated, sealed = split(delivery.payload)
        reception = self._receptions.get((header.session, header.block))
        if reception is None or header.link != reception.block.id.link:
            raise FrameRefused(
                FrameFault.FOREIGN, f"it names block {header.block}, for which no light is expected"
            )
        if header.frames != reception.frames:
            raise FrameRefused(
                FrameFault.FOREIGN,
                f"it says that block {header.block} has {header.frames} frames, and {reception.frames} are announced",
            )
        self._check_place(header, reception)
        await self._measure(header, associated, sealed, reception)
        self.on_light()
        await self._receipt(header)

    def _check_place(self, header: FrameHeader, reception: _Reception) -> None:
        if header.sequence in reception.missing:
            reception.missing.discard(header.sequence)
            reception.out_of_order = True
            raise FrameRefused(FrameFault.REORDERED, f"frame {header.sequence} came after a later one")
        if header.sequence < reception.next_frame:
            raise FrameRefused(FrameFault.REPEATED, f"frame {header.sequence} was here before")
        if header.sequence >= reception.frames:
            raise FrameRefused(FrameFault.FOREIGN, f"frame {header.sequence} of {reception.frames} cannot be")

    async def _measure(
        self, header: FrameHeader, associated: bytes, sealed: memoryview, reception: _Reception
    ) -> None:
        """Open the seal and let the light fall on the detectors; only a frame of ours can void the block."""
        block = reception.block
        await block.compute(self._detect, header, associated, sealed, reception)
        if header.sequence > reception.next_frame:
            self._miss(reception, header.sequence)
        reception.next_frame = header.sequence + 1
        reception.pulses += header.pulses
        self._tell_progress(reception)
        if reception.next_frame == reception.frames:
            reception.complete.set()

    def _detect(
        self, header: FrameHeader, associated: bytes, sealed: memoryview, reception: _Reception
    ) -> None:
        """Open and detect at one go, in a thread: every change of threads costs as much as many pulses."""
        train = open_light(self._seal, header, associated, sealed)
        reception.check_place(header)
        if reception.first_missing is None and header.sequence == reception.next_frame:
            reception.detectors.detect_into(reception.log, train)

    def _tell_progress(self, reception: _Reception) -> None:
        now = asyncio.get_running_loop().time()
        if now - reception.told < _TOLD_EVERY_S and reception.next_frame < reception.frames:
            return
        reception.told, block = now, reception.block
        block.tell(LightProgress(block_id=str(block.id), number=block.id.number, pulses=reception.pulses))

    def _miss(self, reception: _Reception, upto: int) -> None:
        """Note the frames before `upto` as missing: this block's light is void."""
        gap = range(reception.next_frame, upto)
        if gap and reception.first_missing is None:
            reception.first_missing = gap.start
        reception.missing.update(gap)
        reception.next_frame = max(reception.next_frame, upto)
        for frame in gap:
            self._faults.note(FrameFault.LOST, f"frame {frame} of {reception.frames} did not come")

    async def _receipt(self, header: FrameHeader) -> None:
        try:
            await self._line.publish(self._receipts_topic, header.receipt.encode())
        except LinkError:
            return  # the sender will notice by himself that the broker is gone


def _missing_sentence(reception: _Reception) -> str:
    if reception.out_of_order:
        return f"frame {reception.first_missing} of {reception.frames} came out of order"
    return f"frame {reception.first_missing} of {reception.frames} was lost"
