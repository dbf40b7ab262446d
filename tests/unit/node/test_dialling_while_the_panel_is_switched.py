"""A line that was dialled before the patch panel was switched leads the wrong way, and is given up at once."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from qkdlink.alice.line import OpenLine
from qkdlink.alice.station import Alice
from qkdlink.common.errors import LinkError
from qkdlink.common.wire.patch import DIRECT, Patch
from tests.support.idle_alice import idle_settings, idle_vault
from tests.support.patience import HANGS_S

EVE = Patch(light="eve", classical="eve")
AS_BRIGHT = EVE.model_copy(update={"probe_photons": 3.0})


class Line:
    """What Alice does with a line here."""

    def __init__(self) -> None:
        self.lost: LinkError | None = None
        self.is_closed = False
        self.link = SimpleNamespace(most_blocks=8, epoch=0, peers_highest_block=0)

    async def close(self) -> None:
        """Close it."""
        self.is_closed = True

    def cut(self, why: LinkError) -> None:
        """Give it up."""
        self.lost = why


def alice(current: Patch) -> tuple[Alice, SimpleNamespace]:
    patching = SimpleNamespace(current=current)
    settings = idle_settings()
    station = SimpleNamespace(settings=settings, vault=idle_vault(), patching=patching, tell=lambda _: None)
    return Alice(cast("Any", station), cast("Any", None), cast("Any", None)), patching


@pytest.mark.parametrize("during_meeting", [False, True], ids=["while dialling", "while meeting"])
@pytest.mark.parametrize(
    ("before", "after", "is_given_up"),
    [(DIRECT, EVE, True), (EVE, DIRECT, True), (DIRECT, DIRECT, False), (EVE, AS_BRIGHT, False)],
)
async def test_a_line_is_given_up_if_light_or_words_go_another_way_than_when_it_was_dialled(
    before: Patch, after: Patch, is_given_up: bool, during_meeting: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    who, patching = alice(before)

    async def dial() -> str:
        await asyncio.sleep(0)
        if not during_meeting:
            patching.current = after
        return "connection"

    async def meet(*_: object) -> Line:
        await asyncio.sleep(0)
        patching.current = after
        return Line()

    monkeypatch.setattr(OpenLine, "open", meet)
    line = await who._open(cast("Any", dial()), None)
    assert (line.lost is not None) == is_given_up
    assert line in who._lines, "whatever is switched later cuts it too"


@pytest.mark.parametrize("during_meeting", [False, True], ids=["while dialling", "while meeting"])
async def test_what_is_under_way_when_the_panel_is_switched_is_given_up_at_once(
    during_meeting: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stopped Eve answers nothing and closes nothing, and a timeout would last for up to a minute."""
    who, _ = alice(EVE)
    is_under_way = asyncio.Event()

    async def wait_for_eve(*_: object) -> Line:
        is_under_way.set()
        await asyncio.Event().wait()
        return Line()

    async def dial() -> str:
        return "connection"

    monkeypatch.setattr(OpenLine, "open", wait_for_eve)
    dialling = dial() if during_meeting else wait_for_eve()
    opening = asyncio.create_task(who._open(cast("Any", dialling), None))
    await is_under_way.wait()
    who.repatched(DIRECT)
    with pytest.raises(LinkError, match="the patch panel was switched"):
        async with asyncio.timeout(HANGS_S):
            await opening


@pytest.mark.parametrize(
    ("epoch", "theirs", "following"), [(0, 500, 501), (0, 0, 1), (3, 0, 1), (3, 1, 1), (3, 2**39, 1)]
)
async def test_blocks_are_numbered_above_what_bob_has_seen_after_a_loss_and_by_no_untagged_word(
    epoch: int, theirs: int, following: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    who, _ = alice(DIRECT)
    line = Line()
    line.link = SimpleNamespace(most_blocks=8, epoch=epoch, peers_highest_block=theirs)

    async def opened(*_: object) -> Line:
        return line

    async def dial() -> str:
        return "connection"

    monkeypatch.setattr(OpenLine, "open", opened)
    await who._open(cast("Any", dial()), None)
    assert who._next_number == following
