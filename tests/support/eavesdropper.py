"""Somebody with an account that may read everything: hears all topics of a broker, and may write any."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiomqtt

from qkdlink.deployment.brokers.broker import RunningBroker
from tests.support.processes import ADMIN


@dataclass
class Eavesdropper:
    """What was heard, and a voice."""

    client: aiomqtt.Client
    heard: list[tuple[str, bytes]] = field(default_factory=list)

    def topics(self) -> set[str]:
        """All topics on which anything was heard."""
        return {topic for topic, _ in self.heard}

    def on(self, topic: str) -> list[bytes]:
        """What was heard on one topic."""
        return [payload for heard_on, payload in self.heard if heard_on == topic]

    async def listen(self) -> None:
        """Listen until cancelled."""
        async for message in self.client.messages:
            self.heard.append((message.topic.value, bytes(message.payload)))


@asynccontextmanager
async def eavesdropping(broker: RunningBroker, topic: str = "#") -> AsyncIterator[Eavesdropper]:
    """Hear a broker's topics while the context is open."""
    name, password = (ADMIN.name, ADMIN.password) if broker.has_access_list else (None, None)
    client = aiomqtt.Client(broker.address.host, broker.address.port, username=name, password=password)
    async with client:
        eavesdropper = Eavesdropper(client)
        await client.subscribe(topic, qos=1)
        task = asyncio.create_task(eavesdropper.listen())
        try:
            yield eavesdropper
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
