"""Alice's apparatus: the source, the seal and the outlet; light leaves here and does not come back."""

import asyncio
from collections.abc import Callable
from functools import partial

from qkdlink.alice.frames import frame_count, frame_length
from qkdlink.alice.pace import SourceClock
from qkdlink.common.journal.events import LightProgress, SourceBehind
from qkdlink.common.optics.fibre import Fibre
from qkdlink.common.optics.loops import lane_keys
from qkdlink.common.optics.outlet import Outlet
from qkdlink.common.optics.pulses import PulseTrain
from qkdlink.common.optics.records import PreparationRecord
from qkdlink.common.optics.seal import LightSeal
from qkdlink.common.optics.source import PulseSource
from qkdlink.common.protocol.block import Block
from qkdlink.common.randomness import Choice, Nature
from qkdlink.common.transport.light import LightOutlet
from qkdlink.common.wire.pulse_frames import FrameHeader

_OUTLET = Outlet()
_TOLD_EVERY_S = 0.1
"""Telling costs as much as thousands of pulses: progress is told often enough to be watched."""


class MqttTransmitter:
    """Sends the light of one block at a time through the broker, in frames of `frame_pulses`."""

    def __init__(
        self,
        outlet: LightOutlet,
        seal: LightSeal,
        frame_pulses: int,
        *,
        clock_hz: float | None = None,
        probe_photons: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """`probe_photons` tells how bright somebody shines into the outlet now: mean photon number per pulse."""
        self._outlet = outlet
        self._probe_photons = probe_photons
        self._seal = seal
        self._frame_pulses = frame_length(frame_pulses, clock_hz)
        self._clock = SourceClock(clock_hz)
        self._shutter = asyncio.Lock()
        self.light_s = 0.0
        """How long the light of the last block took."""

    async def ready(self) -> None:
        """Wait until light can leave."""
        await self._outlet.ready()

    def frames(self, pulses: int) -> int:
        """How many frames carry a block of so many pulses."""
        return frame_count(pulses, self._frame_pulses)

    async def transmit(self, block: Block) -> PreparationRecord:
        """Send a block; LightLost if a frame does not get through."""
        async with self._shutter:
            began = _now()
            try:
                prepared = await self._emit(block)
                await self._outlet.drain()
            finally:
                self._outlet.clear()
            self.light_s = _now() - began
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
        lane = lane_keys(block.randomness.nature(Nature.REFLECTIONS, number), 1)[0]
        let_out = partial(_OUTLET.emit, lane=lane)
        told = _now()
        self._clock.begin(told)
        for sequence in range(frames):
            first = sequence * self._frame_pulses
            count = min(self._frame_pulses, parameters.block_pulses - first)
            header = FrameHeader(block.id.link, block.id.session, number, sequence, frames, first, count)
            sealed = await block.compute(self._prepare, source, record, header, parameters.fibre, let_out)
            await asyncio.sleep(self._clock.wait_s(first + count, _now()))
            await self._outlet.send(header, *sealed)
            if _now() - told >= _TOLD_EVERY_S or sequence + 1 == frames:
                told = _now()
                block.tell(LightProgress(block_id=str(block.id), number=number, pulses=first + count))
        self._clock.end(parameters.block_pulses)
        self._tell_if_behind(block)
        return record

    def _tell_if_behind(self, block: Block) -> None:
        now, clock_hz = _now(), self._clock.clock_hz
        if clock_hz is None or not self._clock.falls_behind(now):
            return
        block.tell(
            SourceBehind(
                block_id=str(block.id),
                number=block.id.number,
                clock_hz=clock_hz,
                pulses_per_second=self._clock.pulses_per_second(now),
                behind_s=self._clock.behind_s(now),
            )
        )

    def _prepare(
        self,
        source: PulseSource,
        record: PreparationRecord,
        header: FrameHeader,
        fibre: Fibre,
        let_out: Callable[[PulseTrain, float], PulseTrain],
    ) -> tuple[bytes, ...]:
        """Emit, remember and seal one frame, at one go: every change of threads costs as much as many pulses."""
        room = record.room(header.pulses)
        prepared, train = source.emit(header.first_pulse, header.pulses, fibre, room)
        record.append(prepared)
        if probe := self._probe_photons():
            record.probe_photons = max(record.probe_photons, probe)
            train = let_out(train, probe)
        return self._seal.seal_in_parts(train, header.encode())


def _now() -> float:
    return asyncio.get_running_loop().time()
