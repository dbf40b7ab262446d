"""Alice under an attack that spoils every block: she goes on as long as she says, and says why she waits."""

import asyncio
from collections.abc import Collection
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import pytest

from qkdlink.alice.line import OpenLine
from qkdlink.alice.station import Alice
from qkdlink.common.errors import StarvationError
from qkdlink.common.journal.event import Event
from qkdlink.common.journal.events import BlockPostponed, ReserveCounted, ReserveLow
from qkdlink.common.keys.allotment import RESERVE_BLOCKS
from tests.support.idle_alice import idle_settings, idle_vault
from tests.support.simulated_time import run_simulated

BLOCK_S = 2.0
"""From light to refusal."""
NINETY_MINUTES_S = 5_400.0


class Attacked(Alice):
    """Alice with a line on which every block fails, but for those of `keys`, each at a time after the start."""

    def __init__(
        self,
        payable: int,
        *,
        pays: bool = True,
        failures: int = 0,
        keys: Collection[int] = (),
        slower: Collection[int] = (),
    ) -> None:
        self.told: list[tuple[float, Event]] = []
        self.vault = idle_vault(payable)
        self.vault.store.units.blocks_since_a_key = lambda: failures
        self.vault.use_number = self._use_number
        self._costs, self._keys, self._slower = int(pays), keys, slower
        station: Any = SimpleNamespace(
            settings=idle_settings(attacked=True), vault=self.vault, tell=self._note
        )
        transmitter: Any = SimpleNamespace(ready=self._at_once)
        super().__init__(station, transmitter, cast("Any", None))
        link = SimpleNamespace(pays_for_tags=pays)
        self._attacked = SimpleNamespace(link=link, begin=self._begin, close=self._at_once)
        self.began: list[float] = []

    def _note(self, event: Event) -> None:
        self.told.append((asyncio.get_running_loop().time(), event))

    def of[E: Event](self, kind: type[E]) -> list[E]:
        return [event for _, event in self.told if isinstance(event, kind)]

    async def _at_once(self) -> None:
        return None

    async def _use_number(self, number: int) -> None:
        del number

    async def _usable(self, line: OpenLine | None) -> OpenLine:
        del line
        return cast("OpenLine", self._attacked)

    def _begin(self, number: int, *_: object) -> asyncio.Task[bool]:
        self.began.append(asyncio.get_running_loop().time())
        return asyncio.create_task(self._fail(number))

    async def _fail(self, number: int) -> bool:
        self.vault.payable -= self._costs
        await asyncio.sleep(BLOCK_S * (1 + (number in self._slower)))
        return number in self._keys

    async def starve(self) -> float:
        """Work until nothing is left to pay with, and return when that was."""
        with pytest.raises(StarvationError):
            await self.work()
        return asyncio.get_running_loop().time()


def test_from_a_full_reserve_she_survives_ninety_minutes_of_attack_and_says_so_all_the_time() -> None:
    alice = Attacked(RESERVE_BLOCKS)
    lasted_s = run_simulated(alice.starve())
    assert NINETY_MINUTES_S <= lasted_s <= NINETY_MINUTES_S + (RESERVE_BLOCKS + 1) * BLOCK_S
    assert len(alice.began) == RESERVE_BLOCKS
    assert sum(at < NINETY_MINUTES_S / 9 for at in alice.began) > RESERVE_BLOCKS / 2
    counted = [(at, event) for at, event in alice.told if isinstance(event, ReserveCounted)]
    left = [event.blocks_payable for _, event in counted]
    assert left == sorted(left, reverse=True)
    assert (left[0], left[-1]) == (RESERVE_BLOCKS, 0)
    for at, event in counted:
        by_blocks_s = lasted_s - at - event.seconds_to_starvation
        assert -1 <= by_blocks_s <= (event.blocks_payable + 1) * BLOCK_S
    assert [low.blocks_payable for low in alice.of(ReserveLow)] == [80, 40, 20, 10, 5, 2, 1, 0]
    last = alice.of(BlockPostponed)[-1].reason
    assert last == "each of the last 159 blocks made no key, and cost tags from the reserve"


def test_the_next_block_begins_when_she_said_it_would() -> None:
    alice = Attacked(20)
    run_simulated(alice.starve())
    said = {event.number: at + event.pause_s for at, event in alice.told if isinstance(event, BlockPostponed)}
    assert set(said) == set(range(3, 21))
    for number, at in said.items():
        assert alice.began[number - 1] == pytest.approx(at)


def test_where_tags_cost_nothing_she_tries_every_second_and_tells_of_no_reserve() -> None:
    alice = Attacked(0, pays=False)

    async def for_a_while() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1_000):
                await alice.work()

    run_simulated(for_a_while())
    assert max(later - sooner for sooner, later in pairwise(alice.began)) == 1.0 + BLOCK_S
    assert alice.of(BlockPostponed)[0].reason == "each of the last 2 blocks made no key"
    assert not alice.of(ReserveCounted)


def test_a_key_of_a_block_that_was_under_way_ends_the_pause() -> None:
    """The first block fails, the second, begun a moment later, makes a key."""
    alice = Attacked(40, failures=39, keys={2}, slower={2})
    run_simulated(alice.starve())
    paused = alice.of(BlockPostponed)[0]
    assert (paused.number, paused.pause_s > 10) == (3, True)
    assert alice.began[2] == 2 * BLOCK_S


def test_a_node_that_is_started_again_goes_on_with_the_pauses_after_its_first_blocks() -> None:
    alice = Attacked(80, failures=80)
    lasted_s = run_simulated(alice.starve())
    assert alice.began[:2] == [0.0, 0.0]
    first_half_s = Attacked(RESERVE_BLOCKS)._settings.backoff.seconds_to_starvation(80, 80)
    assert first_half_s < lasted_s < first_half_s + 82 * BLOCK_S
