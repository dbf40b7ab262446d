"""Alice's apparatus: the source, the seal and the outlet; light leaves here and does not come back."""

import asyncio

from common.journal.events import LightProgress
from common.optics.fibre import Fibre
from common.optics.records import PreparationRecord
from common.optics.seal import LightSeal
from common.optics.source import PulseSource
from common.protocol.block import Block
from common.randomness import Choice, Nature
from common.transport.light import LightOutlet
from common.wire.pulse_frames import FrameHeader


class MqttTransmitter:
    """Sends the light of one block at a time through the broker, in frames of `frame_pulses`."""

    def __init__(self, outlet: LightOutlet, seal: LightSeal, frame_pulses: int) -> None:
        self._outlet = outlet
        self._seal = seal
        self._frame_pulses = frame_pulses
        self._shutter = asyncio.Lock()

    async def ready(self) -> None:
        """Wait until light can leave."""
        await self._outlet.ready()

    def frames(self, pulses: int) -> int:
        """How many frames carry a block of so many pulses."""
        return -(-pulses // self._frame_pulses)

    async def transmit(self, block: Block) -> PreparationRecord:
        """Send a block; LightLost if a frame does not get through."""
        async with self._shutter:
            try:
                prepared = await self._emit(block)
                await self._outlet.drain()
            finally:
                self._outlet.clear()
            return prepared

    async def _emit(self, block: Block) -> PreparationRecord:
        parameters, number = block.parameters, block.id.number
        source = PulseSource(
            parameters.source,
            block.choices(Choice.PULSES),
            block.randomness.nature(Nature.SOURCE, number),
        )
        record = PreparationRecord(parameters.block_pulses, parameters.class_count)
        frames = self.frames(parameters.block_pulses)
        for sequence in range(frames):
            first = sequence * self._frame_pulses
            count = min(self._frame_pulses, parameters.block_pulses - first)
            header = FrameHeader(block.id.link, block.id.session, number, sequence, frames, first, count)
            sealed = await block.compute(self._prepare, source, record, header, parameters.fibre)
            await self._outlet.send(header, *sealed)
            block.tell(LightProgress(block_id=str(block.id), number=number, pulses=first + count))
        return record

    def _prepare(
        self, source: PulseSource, record: PreparationRecord, header: FrameHeader, fibre: Fibre
    ) -> tuple[bytes, ...]:
        """Emit, remember and seal one frame, at one go: every change of threads costs as much as many pulses."""
        prepared, train = source.emit(header.first_pulse, header.pulses, fibre)
        record.append(prepared)
        return self._seal.seal_in_parts(train, header.encode())
