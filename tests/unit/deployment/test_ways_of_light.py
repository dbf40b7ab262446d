"""Light goes one way at a time: the access list knows each leg's one writer and one reader, and the broker obeys it."""

import asyncio
from contextlib import AsyncExitStack, nullcontext
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest

from qkdlink.common.errors import LinkError
from qkdlink.common.protocol.roles import Role
from qkdlink.common.transport.light_line import connect_light
from qkdlink.common.transport.mqtt import BrokerAccess
from qkdlink.common.wire.topics import Topics
from qkdlink.deployment.brokers.broker import find_mosquitto, run_broker
from qkdlink.deployment.homes.access import broker_users
from qkdlink.deployment.homes.names import ALICE, BOB
from qkdlink.deployment.homes.sites import DEFAULT_SITES
from qkdlink.eve.topics import EVE

TOPICS = Topics("link-1")
LEGS = {(ALICE, BOB), (ALICE, EVE), (EVE, BOB)}
"""All that light goes, from user to user; receipts go back."""
SITES = {ALICE: DEFAULT_SITES[Role.ALICE], BOB: DEFAULT_SITES[Role.BOB], EVE: EVE}
"""After which each user's topics are named."""


def leg(one: str, two: str) -> tuple[str, str]:
    """Return the topics of the light from one user to another, and of its receipts."""
    return TOPICS.light(SITES[one], SITES[two]), TOPICS.receipts(SITES[two], SITES[one])


def users_who(what: str, topic: str) -> list[str]:
    return [user.name for user in broker_users(TOPICS.link, DEFAULT_SITES) if topic in getattr(user, what)]


@pytest.mark.parametrize(("sender", "receiver"), list(permutations((ALICE, BOB, EVE), 2)))
def test_each_leg_has_one_writer_and_one_reader_and_no_light_goes_elsewhere(sender: str, receiver: str):
    light, receipts = leg(sender, receiver)
    there = (sender, receiver) in LEGS
    assert (users_who("writes", light), users_who("reads", light)) == (
        ([sender], [receiver]) if there else ([], [])
    )
    assert (users_who("writes", receipts), users_who("reads", receipts)) == (
        ([receiver], [sender]) if there else ([], [])
    )


def test_no_user_may_read_by_a_wildcard():
    assert not [
        t
        for user in broker_users(TOPICS.link, DEFAULT_SITES)
        for t in (*user.reads, *user.writes)
        if set(t) & set("#+")
    ]


@pytest.mark.skipif(find_mosquitto() is None, reason="amqtt has no access list")
async def test_mosquitto_gives_eve_nothing_of_direct_light_and_takes_nothing_of_hers_for_it(tmp_path: Path):
    users = {
        user.name: replace(user, password=user.name) for user in broker_users(TOPICS.link, DEFAULT_SITES)
    }
    topics = [topic for one, two in LEGS for topic in leg(one, two)]
    heard: dict[str, list[str]] = {name: [] for name in (ALICE, BOB, EVE)}
    async with run_broker(tmp_path, users.values()) as broker, AsyncExitStack() as stack:
        lines = {}
        for name, of_hers in heard.items():
            access = BrokerAccess(broker.address, f"test-{name}", name, name)
            lines[name] = await stack.enter_async_context(connect_light(access))
            lines[name].on_stray = of_hers.append  # the topic of whatever a wildcard has let through
            await lines[name].subscribe("#")
        # what it may not write first: were it let through, it would come first
        for name, line in lines.items():
            for topic in sorted(topics, key=lambda topic: topic in users[name].writes):
                refused = (
                    nullcontext()
                    if topic in users[name].writes
                    else pytest.raises(LinkError, match="may not write")
                )
                with refused:
                    await line.publish(topic, b"light")
        expected = {name: sorted(set(topics) & set(users[name].reads)) for name in heard}
        async with asyncio.timeout(10):
            while any(len(heard[name]) < len(expected[name]) for name in heard):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
        assert {name: sorted(each) for name, each in heard.items()} == expected
        assert leg(ALICE, BOB)[0] not in heard[EVE]
