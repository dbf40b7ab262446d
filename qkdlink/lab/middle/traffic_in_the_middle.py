"""Eve on the user traffic: what opens under her key she reads, seals anew under her other one, and sends on."""

import asyncio
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field

from qkdlink.common.errors import LinkError
from qkdlink.common.transport.addresses import Address
from qkdlink.lab.traffic.user_traffic import Direction, TrafficKey, answering, receive, send


@dataclass(slots=True)
class Interceptor:
    """Between two applications, with the key that she believes to share with each; None where she has none."""

    onward: Address
    with_sender: TrafficKey | None
    with_receiver: TrafficKey | None
    read: list[bytes] = field(default_factory=list, repr=False)
    """What she has read, on the way there."""

    def listening(self) -> AbstractAsyncContextManager[Address]:
        """Take the sender's calls while the context is open; yields where."""
        return answering(self._arrived)

    async def _arrived(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self.onward.host, self.onward.port)
        number = 0
        with suppress(LinkError, OSError):
            while True:
                said = await receive(reader)
                text = _opened(self.with_sender, Direction.THERE, number, said)
                await send(back, _closed(self.with_receiver, Direction.THERE, number, text) or said)
                if text is not None:
                    self.read.append(text)
                answered = await receive(there)
                answer = _opened(self.with_receiver, Direction.BACK, number, answered)
                await send(writer, _closed(self.with_sender, Direction.BACK, number, answer) or answered)
                number += 1
        back.transport.abort()
        writer.transport.abort()


def _opened(key: TrafficKey | None, direction: Direction, number: int, sealed: bytes) -> bytes | None:
    if key is None:
        return None
    try:
        return key.unseal(direction, number, sealed)
    except LinkError:
        return None


def _closed(key: TrafficKey | None, direction: Direction, number: int, text: bytes | None) -> bytes | None:
    return None if key is None or text is None else key.seal(direction, number, text)
