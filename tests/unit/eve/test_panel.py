"""Eve at the patch panel: before she ends the broker has acknowledged that everything goes directly."""

import asyncio
from dataclasses import dataclass, field
from typing import cast

import pytest

from qkdlink.common.errors import LinkError
from qkdlink.common.transport.mqtt import Bus
from qkdlink.common.wire.patch import DIRECT, Patch
from qkdlink.common.wire.topics import Topics
from qkdlink.eve import panel
from qkdlink.eve.panel import Panel

EVERYTHING = Patch(light="eve", classical="eve")


@dataclass
class LosingBus:
    """Takes messages, but loses the connection on each of the next `losses`."""

    losses: int = 0
    connected: asyncio.Event = field(default_factory=asyncio.Event)
    taken: list[bytes] = field(default_factory=list)

    async def ready(self) -> None:
        await self.connected.wait()

    async def publish(self, _topic: str, payload: bytes, *, retain: bool) -> None:
        assert retain
        if not self.connected.is_set() or self.losses:
            self.losses -= self.connected.is_set()
            raise LinkError("lost")
        self.taken.append(payload)


async def unplugged(bus: LosingBus) -> None:
    async with Panel(cast("Bus", bus), Topics("link")).plugged(EVERYTHING):
        bus.losses, bus.connected = 2, asyncio.Event()
        asyncio.get_running_loop().call_later(0.05, bus.connected.set)


async def test_eve_unplugs_herself_on_a_later_connection_if_the_broker_is_away_when_she_ends() -> None:
    bus = LosingBus()
    bus.connected.set()
    await unplugged(bus)
    assert bus.taken == [EVERYTHING.encode(), DIRECT.encode()]


async def test_a_broker_that_stays_away_does_not_keep_eve_from_ending(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(panel, "_LAST_WORD_S", 0.0)
    bus = LosingBus()
    bus.connected.set()
    await unplugged(bus)
    assert bus.taken == [EVERYTHING.encode()]
