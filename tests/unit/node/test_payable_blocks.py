"""Alice opens no block that cannot be paid for; while one is under way that may pay for it, she waits."""

import asyncio
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any, cast

import pytest

from qkdlink.alice.line import OpenLine
from qkdlink.alice.station import Alice
from qkdlink.common.errors import StarvationError
from tests.support.idle_alice import idle_settings, idle_vault
from tests.support.patience import HANGS_S


class Waiting(Alice):
    """Alice with a line that never changes."""

    def __init__(self, payable: int) -> None:
        settings = idle_settings()
        self.reserve = idle_vault(payable)
        station: Any = SimpleNamespace(settings=settings, vault=self.reserve, tell=lambda _: None)
        super().__init__(station, SimpleNamespace(), SimpleNamespace())  # type: ignore[arg-type]

    async def _usable(self, line: OpenLine | None) -> OpenLine:
        assert line is not None
        return line

    def begin(self, block: Coroutine[Any, Any, bool]) -> asyncio.Task[bool]:
        task: asyncio.Task[bool] = asyncio.create_task(block)
        self._living.add(task)
        task.add_done_callback(self._living.discard)
        return task


def line(*, pays: bool = True) -> OpenLine:
    return cast("OpenLine", SimpleNamespace(link=SimpleNamespace(pays_for_tags=pays)))


async def test_a_block_that_is_paid_for_is_begun_at_once_beside_those_under_way() -> None:
    alice, on = Waiting(payable=3), line()
    blocks = [alice.begin(asyncio.sleep(60, result=True)) for _ in range(2)]
    assert await asyncio.wait_for(alice._payable(on), HANGS_S) is on
    for block in blocks:
        block.cancel()


async def test_a_block_under_way_is_counted_as_if_it_had_not_taken_anything_yet() -> None:
    alice, ended = Waiting(payable=1), asyncio.Event()
    alice.begin(ended.wait())
    payable = asyncio.create_task(alice._payable(line()))
    await asyncio.sleep(0.01)
    assert not payable.done()
    ended.set()
    await asyncio.wait_for(payable, HANGS_S)


async def test_she_waits_for_a_block_whose_key_may_pay_for_the_next() -> None:
    alice = Waiting(payable=0)

    async def makes_a_key() -> bool:
        await asyncio.sleep(0.01)
        alice.reserve.payable = 2
        return True

    alice.begin(makes_a_key())
    on = line()
    assert await asyncio.wait_for(alice._payable(on), HANGS_S) is on


async def test_if_that_block_made_no_key_the_link_stops() -> None:
    alice = Waiting(payable=0)
    alice.begin(asyncio.sleep(0.01, result=False))
    with pytest.raises(StarvationError):
        await asyncio.wait_for(alice._payable(line()), HANGS_S)


async def test_with_nothing_under_way_and_nothing_to_pay_with_the_link_stops_at_once() -> None:
    with pytest.raises(StarvationError, match="stops"):
        await Waiting(payable=0)._payable(line())


async def test_where_tags_cost_nothing_nothing_is_waited_for() -> None:
    on = line(pays=False)
    assert await Waiting(payable=0)._payable(on) is on
