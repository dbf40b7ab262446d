"""Eve on the light: every frame of Alice's passes through her hands, and so does every receipt of Bob's.

Without an attack she passes the sealed frame on as it is. With one she opens it, lets the chain of attacks act, and
sends what is left under the same header, sealed by the emulated optics in her own name.
"""

import asyncio
from collections.abc import Callable

from common.errors import LinkError
from common.optics.pulses import PulseTrain
from common.optics.seal import LightSeal, SealBroken
from common.transport.light_line import LightLine
from common.transport.mqtt import Subscription
from common.wire.pulse_frames import FrameHeader, FrameRefused, split
from common.wire.topics import EVE, Topics

type Treat = Callable[[FrameHeader, PulseTrain], PulseTrain]
"""What she does with a frame of light; runs beside the event loop."""


class LightTap:
    """Takes frames from Alice's topic and puts them on her own."""

    def __init__(self, line: LightLine, topics: Topics, seal: LightSeal, frames: Subscription) -> None:
        self._line = line
        self._topic = topics.light(EVE)
        self._seal = seal
        self._frames = frames
        self.treat: Treat | None = None
        """None while she is transparent."""
        self.is_open = True
        """Whether light goes on from here; false while a half-link of hers takes it."""
        self.watch: list[Callable[[bytes | memoryview], None]] = []
        """Each sees every sealed frame as it came, where it lies."""
        self.passed = self.lost = 0
        """Frames so far."""

    async def run(self) -> None:
        """Pass light on for as long as she lives."""
        while True:
            delivery = await self._frames.get()
            for watch in self.watch:
                watch(delivery.payload)
            if not self.is_open:
                continue
            try:
                frame: tuple[bytes | memoryview, ...] = (delivery.payload,)
                if self.treat is not None and not delivery.retained:
                    frame = await asyncio.to_thread(self._treated, delivery.payload, self.treat)
                await self._line.publish(self._topic, *frame)
                self.passed += 1
            except (LinkError, FrameRefused, SealBroken):
                self.lost += 1  # Bob names a missing frame; to her it is just lost light

    def _treated(self, payload: bytes | memoryview, treat: Treat) -> tuple[bytes, ...]:
        header, associated, sealed = split(payload)
        train = treat(header, self._seal.unseal(sealed, associated))
        return (associated, *self._seal.seal_in_parts(train, associated))


class ReceiptTap:
    """Passes Bob's receipts on to Alice, who flows on whatever Eve tells her."""

    def __init__(self, line: LightLine, topics: Topics, receipts: Subscription) -> None:
        self._line = line
        self._topic = topics.receipts(EVE)
        self._receipts = receipts
        self.watch: list[Callable[[bytes], None]] = []
        """Each sees every receipt."""
        self.is_open = True
        """Whether receipts go on from here; false while a half-link of hers takes them."""

    async def run(self) -> None:
        """Pass receipts on for as long as she lives."""
        while True:
            receipt = bytes((await self._receipts.get()).payload)
            for watch in self.watch:
                watch(receipt)
            if not self.is_open:
                continue
            try:
                await self._line.publish(self._topic, receipt)
            except LinkError:
                continue
