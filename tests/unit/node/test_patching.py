"""A node's apparatus obeys the panel, refuses what it cannot obey, and believes no silent Eve."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest

from qkdlink.common.journal.event import Event
from qkdlink.common.journal.events import PatchChanged, PatchRefused
from qkdlink.common.node import patching
from qkdlink.common.node.patching import Patching
from qkdlink.common.transport.mqtt import Delivery, Subscription
from qkdlink.common.wire.patch import DIRECT, LONGEST_PATCH_BYTES, ROUTES, Patch, Route

THROUGH_EVE = Patch(light="eve", classical="eve")


@dataclass
class Apparatus:
    """A node's sockets, and what it has told of them."""

    patching: Patching
    told: list[Event] = field(default_factory=list)
    plugged: list[Patch] = field(default_factory=list)

    async def hears(self, payload: bytes) -> None:
        self.patching.messages.put(Delivery(payload, retained=True))
        await asyncio.sleep(0.01)


@asynccontextmanager
async def apparatus(
    *, light: Collection[Route] = ROUTES, classical: Collection[Route] = ROUTES
) -> AsyncIterator[Apparatus]:
    told: list[Event] = []
    made = Apparatus(Patching(Subscription("patch"), told.append, light, classical), told)
    made.patching.on_change(made.plugged.append)
    watching = asyncio.create_task(made.patching.watch())
    try:
        yield made
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


async def test_the_panel_is_obeyed_and_told_once_however_often_it_is_repeated():
    async with apparatus() as node:
        for _ in range(3):
            await node.hears(THROUGH_EVE.encode())
        assert node.plugged == [THROUGH_EVE]
        assert node.told == [PatchChanged(light="eve", classical="eve", reason="the panel says so")]


async def test_a_broker_that_has_forgotten_the_panel_means_direct():
    async with apparatus() as node:
        await node.hears(THROUGH_EVE.encode())
        await node.hears(b"")
        assert node.plugged == [THROUGH_EVE, DIRECT]


@pytest.mark.parametrize(
    ("light", "classical", "wanted", "sentence"),
    [
        (ROUTES, ("direct",), Patch(classical="eve"), "names eve for the classical line, and no setting"),
        (("direct",), ROUTES, Patch(light="eve"), "names eve for light, and no setting"),
        (("direct",), ("direct",), THROUGH_EVE, "names eve for the classical line, and no setting"),
    ],
)
async def test_a_way_that_no_setting_describes_is_refused_and_nothing_is_plugged(
    light: Collection[Route], classical: Collection[Route], wanted: Patch, sentence: str
):
    async with apparatus(light=light, classical=classical) as node:
        await node.hears(wanted.encode())
        assert node.plugged == []
        (refused,) = node.told
        assert isinstance(refused, PatchRefused)
        assert sentence in refused.reason


@pytest.mark.parametrize(
    "payload",
    [b"{", b"[]", b'{"light":"moon"}', b'{"light":"eve","trust":"eve"}', b'{"light":"eve","probe_photons":1e13}',
     b'{"probe_photons":3.0}',
     b'{"light":"eve","light":"direct"}',
     b"\xff",
     b" " * (LONGEST_PATCH_BYTES + 1)],
)  # fmt: skip
async def test_nonsense_is_refused_and_told_and_changes_nothing(payload: bytes):
    async with apparatus() as node:
        await node.hears(payload)
        assert node.plugged == []
        assert node.told == [PatchRefused(reason="it is not a patch panel's message")]


async def test_a_silent_eve_is_not_believed_for_long(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(patching, "SILENCE_S", 0.05)
    async with apparatus() as node:
        await node.hears(THROUGH_EVE.encode())
        await asyncio.sleep(0.15)
        assert node.plugged == [THROUGH_EVE, DIRECT]
        assert "nothing was heard of it" in str(node.told[-1])


async def test_a_light_that_shines_into_the_outlet_cuts_no_line():
    async with apparatus() as node:
        await node.hears(THROUGH_EVE.encode())
        shining = THROUGH_EVE.model_copy(update={"probe_photons": 1e6})
        await node.hears(shining.encode())
        assert node.patching.current == shining
        assert node.plugged == [THROUGH_EVE]
