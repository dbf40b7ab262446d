"""Sources, detectors and stores without a broker or a disk."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from qkdlink.common.distillation.stages import SecretKey
from qkdlink.common.keys.identifiers import BlockId
from qkdlink.common.optics.detector import Receiver
from qkdlink.common.optics.pulses import PulseTrain
from qkdlink.common.optics.records import DetectionRecord, PreparationRecord
from qkdlink.common.optics.source import PulseSource
from qkdlink.common.optics.states import Basis
from qkdlink.common.protocol.aborts import LightLost
from qkdlink.common.protocol.block import Block
from qkdlink.common.randomness import Choice, Nature


class MemoryDeposit:
    """Keys of one party: pending, then available; a block has one key, and it is released once."""

    def __init__(self) -> None:
        self.pending: dict[BlockId, bytes] = {}
        self.available: dict[BlockId, bytes] = {}
        self.leaked_bits: dict[BlockId, int] = {}

    async def hold(self, block: BlockId, key: SecretKey, leaked_bits: int) -> None:
        """Keep a key as pending."""
        assert block not in self.pending | self.available
        self.pending[block] = key.material
        self.leaked_bits[block] = leaked_bits

    async def release(self, block: BlockId) -> None:
        """Make a pending key available."""
        self.available[block] = self.pending.pop(block)


class MemoryTransmitter:
    """Alice's source, whose frames of light go to `launch`."""

    def __init__(self, launch: Callable[[PulseTrain], None], frame_pulses: int, *, fault: str = "") -> None:
        self._launch = launch
        self._frame_pulses = frame_pulses
        self._fault = fault

    def frames(self, pulses: int) -> int:
        """How many frames carry so many pulses."""
        return -(-pulses // self._frame_pulses)

    async def transmit(self, block: Block) -> PreparationRecord:
        """Send the light of a block."""
        parameters = block.parameters
        source = PulseSource(
            parameters.source,
            block.choices(Choice.PULSES),
            block.randomness.nature(Nature.SOURCE, block.id.number),
        )
        record = PreparationRecord(parameters.block_pulses, parameters.class_count)
        for first in range(0, parameters.block_pulses, self._frame_pulses):
            if self._fault:
                raise LightLost(self._fault)
            count = min(self._frame_pulses, parameters.block_pulses - first)
            prepared, train = source.emit(first, count, parameters.fibre)
            record.append(prepared)
            self._launch(train)
        return record


class MemoryReceiver:
    """Bob's detectors, in perfect order unless told otherwise."""

    def __init__(self, *, dark: bool, fault: str, misread_key_bits: float) -> None:
        self._dark = dark
        self._fault = fault
        self._misread_key_bits = misread_key_bits
        self._detectors: Receiver | None = None
        self._frames = 0
        self._records: list[DetectionRecord] = []

    async def open(self, block: Block, frames: int) -> None:
        """Turn the detectors on."""
        self._frames = frames
        self._detectors = Receiver(
            block.parameters.detector,
            block.parameters.key_basis_probability,
            block.choices(Choice.MEASUREMENTS),
            block.randomness.nature(Nature.DETECTORS, block.id.number),
        )

    def take(self, train: PulseTrain) -> None:
        """Measure a frame."""
        if self._detectors is None:
            return  # it came before the detectors were on
        record = self._detectors.detect(train)
        if self._dark:
            record = DetectionRecord(record.gates[:0], record.bases[:0], record.bits[:0], 0)
        self._records.append(record)

    async def finish(self, block: Block) -> DetectionRecord:
        """Return what was detected."""
        del block
        if self._fault:
            raise LightLost(self._fault)
        if len(self._records) != self._frames:
            raise LightLost(f"frame {len(self._records)} of {self._frames} was lost")
        record = DetectionRecord.joined(self._records)
        misread = np.random.default_rng(1).random(len(record)) < self._misread_key_bits * (
            record.bases == Basis.KEY
        )
        return replace(record, bits=record.bits ^ misread)
