"""A node's apparatus at the patch panel: it does as the panel says, and goes back to direct if Eve is silent.

Eve repeats the panel's message while she lives. A broker that notices her death publishes her last will; if neither
comes, because she was stopped and not ended, this watchdog gives the link back by itself.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from common.journal.events import Event, PatchChanged, PatchRefused
from common.transport.mqtt import Bus, Subscription
from common.wire.patch import DIRECT, Patch

SILENCE_S = 5.0
"""For so long a panel that points to Eve is believed without hearing of it again."""

type OnPatch = Callable[[Patch], None]


@dataclass(slots=True)
class Patching:
    """What is plugged in at this node."""

    messages: Subscription
    tell: Callable[[Event], None]
    knows_eve: bool
    """Whether this node's settings say where she listens: else a panel that names her for words is refused."""
    current: Patch = DIRECT
    _listeners: list[OnPatch] = field(default_factory=list)

    def on_change(self, listener: OnPatch) -> None:
        """Tell somebody of every change; who begins after a change is told at once."""
        self._listeners.append(listener)
        if self.current != DIRECT:
            listener(self.current)

    async def watch(self) -> None:
        """Obey the panel for as long as the node lives."""
        while True:
            try:
                async with asyncio.timeout(None if self.current == DIRECT else SILENCE_S):
                    delivery = await self.messages.get()
            except TimeoutError:
                self._plug(DIRECT, f"nothing was heard of it for {SILENCE_S:g} s")
                continue
            self._obey(Patch.decode(delivery.payload))

    def _obey(self, wanted: Patch | None) -> None:
        if wanted is None:
            self.tell(PatchRefused(reason="it is not a patch panel's message"))
        elif wanted.classical == "eve" and not self.knows_eve:
            self.tell(
                PatchRefused(reason="it names eve for the classical line, and no setting says where she is")
            )
        else:
            self._plug(wanted, "the panel says so")

    def _plug(self, wanted: Patch, reason: str) -> None:
        if wanted == self.current:
            return
        routes, self.current = self.current.routes, wanted
        if routes == wanted.routes:
            return  # only what shines into the outlet is new, which a node's apparatus sees with its watchdog
        self.tell(PatchChanged(light=wanted.light, classical=wanted.classical, reason=reason))
        for listener in self._listeners:
            listener(wanted)


async def open_patching(bus: Bus, topic: str, tell: Callable[[Event], None], *, knows_eve: bool) -> Patching:
    """Subscribe to the panel."""
    return Patching(await bus.subscribe(topic), tell, knows_eve)
