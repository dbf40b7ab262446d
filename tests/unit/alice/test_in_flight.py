"""How many blocks are under way: as many as a long line takes, and no more because a machine is busy."""

import asyncio

import pytest

from qkdlink.alice.in_flight import LEAST_BLOCKS, MOST_BLOCKS, BlocksInFlight, blocks_needed


@pytest.mark.parametrize(
    ("exchanges", "round_trip_s", "light_s", "needed"),
    [
        (400, 0.0002, 0.01, 2),  # two processes on one machine
        (400, 0.001, 0.01, 2),  # a busy one
        (400, 0.002, 1.0, 3),
        (400, 0.010, 2.0, 4),
        (400, 0.010, 0.1, 6),
        (400, 0.010, 0.0, 6),
        (0, 0.010, 1.0, 2),
    ],
)
def test_light_of_others_fills_the_round_trips_of_a_block(
    exchanges: int, round_trip_s: float, light_s: float, needed: int
) -> None:
    assert blocks_needed(exchanges, round_trip_s, light_s) == needed
    assert LEAST_BLOCKS <= needed <= MOST_BLOCKS


async def test_no_more_blocks_begin_than_are_needed_and_one_that_ends_makes_room() -> None:
    in_flight = BlocksInFlight(None)
    for _ in range(LEAST_BLOCKS):
        await in_flight.enter()
    third = asyncio.create_task(in_flight.enter())
    await asyncio.sleep(0)
    assert not third.done()
    in_flight.leave()
    await asyncio.wait_for(third, 1.0)


async def test_a_long_line_makes_room_at_once_and_a_short_one_takes_it_back() -> None:
    in_flight = BlocksInFlight(None)
    for _ in range(LEAST_BLOCKS):
        await in_flight.enter()
    third = asyncio.create_task(in_flight.enter())
    await asyncio.sleep(0)
    in_flight.learn(400, 0.010, 2.0)
    await asyncio.wait_for(third, 1.0)
    in_flight.learn(400, 0.0002, 2.0)
    in_flight.leave()
    fourth = asyncio.create_task(in_flight.enter())
    await asyncio.sleep(0.01)
    assert not fourth.done()
    fourth.cancel()


async def test_a_number_that_was_told_stays() -> None:
    in_flight = BlocksInFlight(1)
    in_flight.learn(400, 0.010, 0.1)
    assert in_flight.most == 1


@pytest.mark.parametrize("fixed", [None, 8])
async def test_no_more_blocks_begin_than_bob_allows_however_many_are_wanted(fixed: int | None) -> None:
    in_flight = BlocksInFlight(fixed)
    await in_flight.enter()  # he is met only now
    in_flight.allow(1)
    in_flight.learn(400, 0.010, 0.1)
    second = asyncio.create_task(in_flight.enter())
    await asyncio.sleep(0)
    assert not second.done()
    in_flight.leave()
    await asyncio.wait_for(second, 1.0)


async def test_a_line_on_which_more_is_allowed_makes_room_at_once_but_no_more_than_is_wanted() -> None:
    in_flight = BlocksInFlight(3)
    in_flight.allow(1)
    await in_flight.enter()
    others = [asyncio.create_task(in_flight.enter()) for _ in range(3)]
    await asyncio.sleep(0)
    in_flight.allow(8)
    await asyncio.sleep(0.01)
    assert [each.done() for each in others] == [True, True, False]
    others[-1].cancel()
