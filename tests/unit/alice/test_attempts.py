"""Attempts to reach Bob end as soon as the patch panel is switched."""

import asyncio

import pytest

from qkdlink.alice.attempts import Attempts
from qkdlink.common.errors import LinkError


async def test_an_attempt_is_given_up_at_once_and_a_later_one_is_not() -> None:
    attempts = Attempts()
    asyncio.get_running_loop().call_soon(attempts.give_up)
    with pytest.raises(LinkError, match="switched"):
        async with asyncio.timeout(5), attempts.unless_given_up("switched"):
            await asyncio.Event().wait()
    attempts.give_up()
    async with attempts.unless_given_up("switched"):
        await asyncio.sleep(0)


async def test_a_timeout_of_the_attempt_itself_stays_one() -> None:
    with pytest.raises(TimeoutError):
        async with Attempts().unless_given_up("switched"), asyncio.timeout(0):
            await asyncio.Event().wait()
