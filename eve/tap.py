"""Eve on the light: every frame of Alice's passes through her hands, and so does every receipt of Bob's.

Without an attack she passes the sealed frame on as it is. With one she opens it, lets the chain of attacks act, and
sends what is left under the same header, sealed by the emulated optics in her own name.

An attack works in a thread of its own, which nobody waits for when she goes: it may be somebody's program, and stuck.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress

from qkdlink.common.errors import LinkError
from qkdlink.common.journal.light_faults import LightFaults
from qkdlink.common.optics.pulses import PulseTrain
from qkdlink.common.optics.seal import LightSeal
from qkdlink.common.transport.light_line import LightLine
from qkdlink.common.transport.mqtt import Subscription
from qkdlink.common.wire.pulse_frames import FrameFault, FrameHeader, FrameRefused, Receipt, open_light, split
from qkdlink.eve.guarded import AttackError

STALL_S = 20
"""For so long a frame may be in an attack's hand: a node waits no longer for light (`light_patience_s`)."""

_FAULTS_TOLD_EVERY_S = 10.0

type Treat = Callable[[FrameHeader, PulseTrain], PulseTrain]
"""What she does with a frame of light; runs beside the event loop."""


class LightTap:
    """Takes frames from Alice's leg of the way through her and puts them on Bob's; direct light is on neither.

    Each leg is a topic of its own, and Alice sends on one of her legs at a time.
    """

    def __init__(
        self, line: LightLine, topic: str, seal: LightSeal, frames: Subscription, faults: LightFaults
    ) -> None:
        """Take `frames` of Alice's leg, and send on `topic`, the leg to Bob; `faults` tells what does not go on."""
        self._faults = faults
        self._line = line
        self._topic = topic
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
        self.whose: Callable[[], str] = lambda: "an attack"
        """Says which attack has a frame in its hand."""
        self._begun = 0
        self._is_at_work = False

    async def run(self) -> None:
        """Pass light on for as long as she lives."""
        while True:
            delivery = await self._frames.get()
            for watch in self.watch:
                watch(delivery.payload)
            if not self.is_open:
                continue
            try:
                if delivery.retained:
                    raise FrameRefused(FrameFault.RETAINED, "the broker kept it; light is never kept")
                frame: tuple[bytes | memoryview, ...] = (delivery.payload,)
                if self.treat is not None:
                    frame = await self._in_a_thread(delivery.payload, self.treat)
                await self._line.publish(self._topic, *frame)
                self.passed += 1
            except FrameRefused as refused:
                self.lost += 1
                self._faults.note(refused.fault, refused.detail)
            except LinkError:
                self.lost += 1  # the broker is gone: Bob names the missing frame

    async def tell_faults(self) -> None:
        """Journal now and then how many frames have not gone on, beyond those that were named one by one."""
        while True:
            await asyncio.sleep(_FAULTS_TOLD_EVERY_S)
            self._faults.tell_the_rest()

    async def watch_the_work(self) -> None:
        """Raise AttackError once an attack has had one frame in its hand for `STALL_S`.

        Seconds are counted and not read off a clock: those in which Eve was stopped altogether are not the attack's.
        """
        frame, seconds = self._begun, 0
        while seconds < STALL_S:
            await asyncio.sleep(1)
            seconds = seconds + 1 if self._is_at_work and frame == self._begun else 0
            frame = self._begun
        raise AttackError(f"{self.whose()} has had a frame of light in its hand for {STALL_S} s: it is stuck")

    async def _in_a_thread(self, payload: bytes | memoryview, treat: Treat) -> tuple[bytes, ...]:
        self._begun += 1
        self._is_at_work = True
        loop = asyncio.get_running_loop()
        done: asyncio.Future[tuple[bytes, ...]] = loop.create_future()

        def work() -> None:
            try:
                treated = self._treated(payload, treat)
            except Exception as error:  # noqa: BLE001 - whoever waits for the frame raises it
                tell(done.set_exception, error)
            else:
                tell(done.set_result, treated)

        def tell[T](how: Callable[[T], None], outcome: T) -> None:
            with suppress(RuntimeError):  # she has gone in the meantime, and her loop with her
                loop.call_soon_threadsafe(lambda: None if done.done() else how(outcome))

        threading.Thread(target=work, name="attack on light", daemon=True).start()
        try:
            return await done
        finally:
            self._is_at_work = False

    def _treated(self, payload: bytes | memoryview, treat: Treat) -> tuple[bytes, ...]:
        header, associated, sealed = split(payload)
        train = treat(header, open_light(self._seal, header, associated, sealed))
        return (associated, *self._seal.seal_in_parts(train, associated))


class ReceiptTap:
    """Passes Bob's receipts on to Alice, who flows on whatever Eve tells her."""

    def __init__(self, line: LightLine, topic: str, receipts: Subscription) -> None:
        """Take `receipts` of Bob's leg, and send them on `topic`, to Alice."""
        self._line = line
        self._topic = topic
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
            if not self.is_open or Receipt.decode(receipt) is None:
                continue
            try:
                await self._line.publish(self._topic, receipt)
            except LinkError:
                continue
