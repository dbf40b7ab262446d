"""The outlet of a light sender: frames in a bounded window, each receipted by the receiver.

Receipts are flow control and nothing else: nobody derives anything from them, and a forged one can only make the
sender send what he would have sent anyway.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from qkdlink.common.errors import LinkError
from qkdlink.common.protocol.aborts import LightLost
from qkdlink.common.transport.inlet import Inlet
from qkdlink.common.transport.light_line import LightLine
from qkdlink.common.wire.pulse_frames import FrameHeader, Receipt


class LightOutlet:
    """Sends sealed frames of one topic, at most `window` of them unreceipted."""

    def __init__(self, line: LightLine, topic: str, receipts: Inlet, window: int, patience_s: float) -> None:
        self._line = line
        self._topic = topic
        self._receipts = receipts
        self._window = window
        self._patience_s = patience_s
        self._outstanding: dict[Receipt, FrameHeader] = {}
        self._room = asyncio.Condition()

    def select(self, topic: str) -> None:
        """Send on another topic from now on; the block whose light is under way is given up by whoever says so."""
        self._topic = topic

    async def ready(self) -> None:
        """Wait until the broker is there."""
        await self._line.ready()

    async def send(self, header: FrameHeader, *sealed: bytes) -> None:
        """Send a frame, sealed in parts, when the window has room; LightLost if receiver or broker do not respond."""
        await self._wait_until(lambda: len(self._outstanding) < self._window)
        self._outstanding[header.receipt] = header
        try:
            async with asyncio.timeout(self._patience_s):
                await self._line.publish(self._topic, header.encode(), *sealed)
        except LinkError as error:
            raise LightLost(
                f"frame {header.sequence} of {header.frames} could not be sent: {error}"
            ) from error
        except TimeoutError as error:
            raise LightLost(f"the broker did not take frame {header.sequence} of {header.frames}") from error

    async def drain(self) -> None:
        """Wait until every frame has been receipted; LightLost if one is not."""
        await self._wait_until(lambda: not self._outstanding)

    def clear(self) -> None:
        """Forget what is outstanding: the block is over."""
        self._outstanding.clear()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Take receipts while the context is open."""
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self._take_receipts(), name="receipts")
            try:
                yield
            finally:
                task.cancel()

    async def _take_receipts(self) -> None:
        while True:
            delivery = await self._receipts.get()
            receipt = None if delivery.retained else Receipt.decode(delivery.payload)
            if receipt is not None and self._outstanding.pop(receipt, None) is not None:
                async with self._room:
                    self._room.notify_all()

    async def _wait_until(self, ready: Callable[[], bool]) -> None:
        while not ready():
            try:
                async with asyncio.timeout(self._patience_s), self._room:
                    await self._room.wait()  # any receipt renews the patience
            except TimeoutError as error:
                if ready():  # the last receipt came together with the end of patience
                    return
                header = next(iter(self._outstanding.values()))
                raise LightLost(
                    f"frame {header.sequence} of {header.frames} was not receipted within {self._patience_s:g} s"
                    + (f": {self._line.suspicion}" if self._line.suspicion else "")
                ) from error
