"""Alice's apparatus: the source, the seal and the outlet; light leaves here and does not come back."""

import asyncio
from collections.abc import Callable

from common.journal.events import LightProgress
from common.optics.outlet import Outlet
from common.optics.records import PreparationRecord
from common.optics.seal import LightSeal
from common.optics.source import PulseSource
from common.protocol.block import Block
from common.randomness import Choice, Nature
from common.transport.light import LightOutlet
from common.wire.pulse_frames import FrameHeader

_OUTLET = Outlet()


class MqttTransmitter:
    """Sends the light of one block at a time through the broker, in frames of `frame_pulses`."""

    def __init__(
        self,
        outlet: LightOutlet,
        seal: LightSeal,
        frame_pulses: int,
        probe_photons: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """`probe_photons` tells how bright somebody shines into the outlet now: mean photon number per pulse."""
        self._outlet = outlet
        self._probe_photons = probe_photons
        self._seal = seal
        self._frame_pulses = frame_pulses
        self._shutter = asyncio.Lock()

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
        frames, reflections = (
            self.frames(parameters.block_pulses),
            block.randomness.nature(Nature.REFLECTIONS, number),
        )
        for sequence in range(frames):
            first = sequence * self._frame_pulses
            count = min(self._frame_pulses, parameters.block_pulses - first)
            header = FrameHeader(block.id.link, block.id.session, number, sequence, frames, first, count)
            prepared, train = await block.compute(source.emit, first, count, parameters.fibre)
            record.append(prepared)
            if probe := self._probe_photons():
                record.probe_photons = max(record.probe_photons, probe)
                train = await block.compute(_OUTLET.emit, train, probe, reflections)
            await self._outlet.send(header, await block.compute(self._seal.seal, train, header.encode()))
            block.tell(LightProgress(block_id=str(block.id), number=number, pulses=first + count))
        return record
