"""The broker of last resort, while many come at once."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from amqtt.adapters import BufferWriter, StreamReaderAdapter

from qkdlink.common.transport.addresses import Address
from qkdlink.common.transport.light_line import connect_light
from qkdlink.common.transport.mqtt import BrokerAccess, connect
from qkdlink.common.wire.mqtt_packets import KEEPALIVE_S, V311
from qkdlink.common.wire.mqtt_packets import connect as login
from qkdlink.deployment.brokers.broker import run_broker
from qkdlink.deployment.brokers.embedded_broker import _CONFIGURATION, _Broker
from qkdlink.deployment.brokers.ports import LOOPBACK
from tests.support.processes import without_mosquitto

VISITORS, ROUNDS = 12, 12


@pytest.fixture(autouse=True)
def _amqtt() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        without_mosquitto(patch)
        yield


async def test_nobody_who_subscribes_while_others_do_is_left_without_an_answer(tmp_path: Path) -> None:
    async def visit(address: Address, name: str, after_s: float) -> bytes:
        await asyncio.sleep(after_s)
        async with connect_light(BrokerAccess(address, name, None, None)) as line:
            subscription = await line.subscribe(name)
            await line.publish(name, name.encode())
            while (heard := bytes((await subscription.get()).payload)) == b"kept":
                pass
            return heard

    async with (
        run_broker(tmp_path, ()) as broker,
        connect(BrokerAccess(broker.address, "keeper", None, None)) as bus,
    ):
        for round_number in range(ROUNDS):
            names = [f"visitor-{round_number}-{number}" for number in range(VISITORS)]
            for name in names:  # amqtt waits at each of these that somebody reads, whenever a visitor comes
                await bus.publish(name, b"kept", retain=True)
            async with asyncio.timeout(9):  # a line that is never answered gives up after ten
                answers = await asyncio.gather(
                    *(visit(broker.address, name, 0.003 * number) for number, name in enumerate(names))
                )
            assert answers == [name.encode() for name in names]


async def test_a_client_may_be_silent_for_one_and_a_half_times_its_keep_alive() -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(login("visitor", None, None, V311))
    broker = _Broker({**_CONFIGURATION, "listeners": {"default": {"type": "tcp", "bind": "127.0.0.1:0"}}})
    _, session = await broker._initialize_client_session(
        StreamReaderAdapter(reader), BufferWriter(), LOOPBACK, 1
    )

    assert 1.5 * KEEPALIVE_S - 1 < session.keep_alive < 2 * KEEPALIVE_S
