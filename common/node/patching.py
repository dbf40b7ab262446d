"""A node's apparatus at the patch panel: it does as the panel says, and goes back to direct if the panel is silent.

Whoever is plugged in repeats the panel's message. A broker that notices the end of that program publishes its last
will; if neither comes, because it was stopped and not ended, this watchdog gives the link back by itself.
"""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from qkdlink.common.journal.event import Event
from qkdlink.common.journal.events import PatchChanged, PatchRefused
from qkdlink.common.node.settings import NodeSettings
from qkdlink.common.transport.mqtt import Bus, Subscription
from qkdlink.common.wire.patch import DIRECT, Patch, Route
from qkdlink.common.wire.topics import Topics

SILENCE_S = 5.0
"""For so long a panel that names another way than the direct one is believed without hearing of it again."""

type OnPatch = Callable[[Patch], None]


@dataclass(slots=True)
class Patching:
    """What is plugged in at this node."""

    messages: Subscription
    tell: Callable[[Event], None]
    light: Collection[Route]
    """The ways of light that this node's settings describe; a panel that names another one is refused."""
    classical: Collection[Route]
    """The ways that words can go, likewise."""
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
            if delivery.too_long:
                self.tell(
                    PatchRefused(reason="it is far longer than a patch panel's message, and was passed over")
                )
            else:
                self._obey(Patch.decode(delivery.payload))

    def _obey(self, wanted: Patch | None) -> None:
        if wanted is None:
            self.tell(PatchRefused(reason="it is not a patch panel's message"))
        elif wanted.classical not in self.classical:
            self._refuse(wanted.classical, "the classical line")
        elif wanted.light not in self.light:
            self._refuse(wanted.light, "light")
        else:
            self._plug(wanted, "the panel says so")

    def _refuse(self, route: Route, what: str) -> None:
        self.tell(PatchRefused(reason=f"it names {route} for {what}, and no setting says where that is"))

    def _plug(self, wanted: Patch, reason: str) -> None:
        if wanted == self.current:
            return
        routes, self.current = self.current.routes, wanted
        if routes == wanted.routes:
            return  # only what shines into the outlet is new, which a node's apparatus sees with its watchdog
        self.tell(PatchChanged(light=wanted.light, classical=wanted.classical, reason=reason))
        for listener in self._listeners:
            listener(wanted)


async def open_patching(bus: Bus, settings: NodeSettings, tell: Callable[[Event], None]) -> Patching:
    """Subscribe to the panel."""
    messages = await bus.subscribe(Topics(settings.link).patch())
    return Patching(messages, tell, settings.light_legs.keys(), settings.classical_ways)
