"""One classical connection, shared by the conversations of a link.

It cuts the stream into frames and hands each to the conversation it names. It understands nothing else of what is
said; a frame that cannot be read, or that belongs to no open conversation, ends the connection.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from math import inf

from qkdlink.common.errors import LinkError, RemoteProtocolError
from qkdlink.common.wire.framing import LENGTHS, LINK_BLOCK, Received, body_length, decode

_QUEUED_MESSAGES = 8
"""Conversations alternate, so a correct peer is never more than a few messages ahead."""


class StreamLine:
    """The end of one conversation on a connection."""

    def __init__(self, channel: "ClassicalChannel", block: int) -> None:
        self._channel = channel
        self._block = block
        self._inbox: asyncio.Queue[Received | LinkError | RemoteProtocolError] = asyncio.Queue()
        self._spoken = asyncio.Event()
        self._said_at: float | None = None
        self._sent = 0
        self._heard = asyncio.Event()

    async def send(self, frame: bytes) -> None:
        """Write a frame to the connection."""
        self._said_at = asyncio.get_running_loop().time()
        self._sent += 1
        await self._channel.write(frame)

    async def receive(self) -> Received:
        """Wait for the next message; raises what ended the connection, or LinkError after too long a silence."""
        received = await self._channel.within_patience(self._inbox)
        if isinstance(received, Exception):
            raise received
        return received

    async def spoken_to(self) -> None:
        """Wait until there is something to receive, however long the peer is silent."""
        while self._inbox.empty():
            self._spoken.clear()
            await self._spoken.wait()

    def put(self, received: Received) -> None:
        """Take a message from the connection; RemoteProtocolError if the peer does not wait for its turn."""
        if self._inbox.qsize() >= _QUEUED_MESSAGES:
            raise RemoteProtocolError(f"The peer says too much at once in block {self._block}.")
        if self._said_at is not None:
            self._channel.answered_after(asyncio.get_running_loop().time() - self._said_at)
            self._said_at = None
        self._inbox.put_nowait(replace(received, after=self._sent))
        self._spoken.set()
        self._heard.set()

    def fail(self, error: LinkError | RemoteProtocolError) -> None:
        """Wake whoever waits: nothing more will come."""
        self._inbox.put_nowait(error)
        self._spoken.set()
        self._heard.set()

    async def heard(self) -> None:
        """Wait until the peer has said something in this conversation, or the connection has ended."""
        await self._heard.wait()


class ClassicalChannel:
    """A connection as the link sees it; `read` runs as a task for as long as the connection lives."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, largest_body: int, patience_s: float
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._largest_body = largest_body
        self._patience_s = patience_s
        self._lines: dict[int, StreamLine] = {}
        self._ended: LinkError | RemoteProtocolError | None = None
        self._over = asyncio.Event()
        self._last_sign_of_life = asyncio.get_running_loop().time()
        self._bytes = 0
        self.round_trip_s = inf
        """The shortest time from a word of ours to the peer's answer: what the line takes, and hardly any work."""

    def answered_after(self, seconds: float) -> None:
        """Take note of how long the peer took to answer."""
        self.round_trip_s = min(self.round_trip_s, seconds)

    @property
    def ended(self) -> LinkError | RemoteProtocolError | None:
        """What ended the connection; None while it lives."""
        return self._ended

    @property
    def bytes_exchanged(self) -> int:
        """Bytes of frames in both directions so far."""
        return self._bytes

    def line(self, block: int = LINK_BLOCK) -> StreamLine:
        """Return the line of one conversation, opening it at the first call."""
        if block not in self._lines:
            self._lines[block] = StreamLine(self, block)
            if self._ended is not None:
                self._lines[block].fail(self._ended)
        return self._lines[block]

    def close_line(self, block: int) -> None:
        """Forget a conversation that has ended."""
        line = self._lines.pop(block, None)
        if line is not None:
            line.fail(LinkError("This conversation has ended."))

    async def all_heard(self) -> None:
        """Wait until the peer has said something in every conversation that is open now."""
        for line in tuple(self._lines.values()):
            await line.heard()

    def sign_of_life(self) -> None:
        """Tell that the peer is there although it says nothing here (its light arrives, for instance)."""
        self._last_sign_of_life = asyncio.get_running_loop().time()

    async def lost(self) -> None:
        """Wait until the connection ends, however long that takes, and raise what ended it."""
        await self._over.wait()
        if self._ended is not None:
            raise self._ended

    async def write(self, frame: bytes) -> None:
        """Send a frame; LinkError if the connection is gone, or if the peer does not take it in time."""
        if self._ended is not None:
            raise self._ended
        try:
            self._writer.write(frame)
            if (
                self._writer.transport.get_write_buffer_size()
            ):  # a clock for each small message costs more than it
                async with asyncio.timeout(self._patience_s):
                    await self._writer.drain()
        except TimeoutError as error:
            sentence = f"The peer has not taken a message within {self._patience_s:g} s."
            raise self.end(LinkError(sentence)) from error
        except OSError as error:
            raise self.end(LinkError(f"The peer's connection was lost: {_text(error)}.")) from error
        self._bytes += len(frame)

    async def read(self, on_new_block: Callable[[Received], StreamLine | None]) -> None:
        """Hand frames to their lines until the connection ends; whoever waits is told why."""
        try:
            while True:
                received = decode(await self._next_frame())
                self.sign_of_life()
                line = self._lines.get(received.envelope.block) or on_new_block(received)
                if line is None:
                    raise RemoteProtocolError(
                        f"The peer speaks of block {received.envelope.block}, which is not open."
                    )
                line.put(received)
        except asyncio.IncompleteReadError:
            self.end(LinkError("The peer closed the connection."))
        except OSError as error:
            self.end(LinkError(f"The peer's connection was lost: {_text(error)}."))
        except RemoteProtocolError as error:
            self.end(error)

    async def within_patience(
        self, inbox: asyncio.Queue[Received | LinkError | RemoteProtocolError]
    ) -> Received | LinkError | RemoteProtocolError:
        """Wait for an inbox, but not beyond the patience with a peer that shows no sign of life."""
        if not inbox.empty():
            return inbox.get_nowait()
        loop = asyncio.get_running_loop()
        since = loop.time()
        while True:
            deadline = max(since, self._last_sign_of_life) + self._patience_s
            if loop.time() >= deadline:
                return self.end(LinkError(f"The peer has been silent for {self._patience_s:g} s."))
            try:
                async with asyncio.timeout_at(deadline):
                    return await inbox.get()
            except TimeoutError:
                continue  # a sign of life may have moved the deadline

    def close(self) -> None:
        """Close the connection at once."""
        self.end(LinkError("This node closed the connection."))
        self._writer.close()

    def end[E: LinkError | RemoteProtocolError](self, error: E) -> E:
        """Give the connection up: every conversation on it, and whoever asks later, is told this reason."""
        if self._ended is None:
            self._ended = error
            self._over.set()
            for line in self._lines.values():
                line.fail(error)
        return error

    async def _next_frame(self) -> bytes:
        lengths = await self._reader.readexactly(LENGTHS.size)
        body = await self._reader.readexactly(body_length(lengths, self._largest_body))
        self._bytes += len(lengths) + len(body)
        return lengths + body


def _text(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__
