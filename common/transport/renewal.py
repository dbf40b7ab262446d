"""Keep one connection to the broker: dial again when it is lost, with pauses that grow, and report what goes wrong."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from qkdlink.common.errors import CredentialsError, LinkError
from qkdlink.common.growing_pause import GrowingPause
from qkdlink.common.transport.broker_trouble import BrokerTrouble

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 5.0


class Renewable[C](Protocol):
    """What is connected again and again."""

    trouble: BrokerTrouble

    async def open(self) -> C:
        """Connect once; LinkError or CredentialsError if the broker is not there or refuses."""

    async def serve(self, connection: C) -> None:
        """Work until the connection is lost; LinkError then."""


async def stay_connected[C](
    renewable: Renewable[C], name: str, first: C, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> None:
    """Serve `first`, and then one new connection after the other, until cancelled.

    `name` tells the connections of one process apart. The pause starts anew only after a connection has lasted: a
    broker that lets a node in and closes at once is not dialled without a pause.
    """
    loop, pause, connection = asyncio.get_running_loop(), GrowingPause(FIRST_PAUSE_S, LONGEST_PAUSE_S), first
    while True:
        since = loop.time()
        try:
            renewable.trouble.back(name)
            await renewable.serve(connection)
        except LinkError:
            if loop.time() - since > LONGEST_PAUSE_S:
                pause.reset()
        while True:
            await sleep(pause.take())
            try:
                connection = await renewable.open()
                break
            except (LinkError, CredentialsError) as error:
                renewable.trouble.lost(name, error)
