"""One classical connection over a real socket pair: patience, floods, huge announcements, strangers' blocks."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from math import inf

import pytest

from qkdlink.common.errors import LinkError, RemoteProtocolError
from qkdlink.common.transport.channel import ClassicalChannel, StreamLine
from qkdlink.common.wire.framing import LENGTHS, LINK_BLOCK, Envelope, Received, encode
from qkdlink.common.wire.messages import AmplificationSeed, Goodbye, LightEnded
from tests.support.patience import HANGS_S

SESSION = "ab" * 16
LIMIT = 1 << 20


def said(block: int, sequence: int = 0) -> bytes:
    return encode(Envelope(SESSION, block, sequence, LightEnded()))


@dataclass
class Ends:
    """Our channel, and the peer's bare socket."""

    channel: ClassicalChannel
    peer_reader: asyncio.StreamReader
    peer: asyncio.StreamWriter
    reading: asyncio.Task[None]


def nobody(_: Received) -> StreamLine | None:
    return None


@asynccontextmanager
async def ends(patience_s: float = 5.0) -> AsyncIterator[Ends]:
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)
    peer_reader, peer = await asyncio.open_connection(sock=theirs)
    channel = ClassicalChannel(reader, writer, LIMIT, patience_s)
    reading = asyncio.create_task(channel.read(nobody))
    try:
        yield Ends(channel, peer_reader, peer, reading)
    finally:
        channel.close()
        peer.close()
        reading.cancel()
        with suppress(asyncio.CancelledError):
            await reading


async def test_frames_reach_the_conversation_that_they_name_in_order() -> None:
    async with ends() as both:
        lines = {block: both.channel.line(block) for block in (LINK_BLOCK, 1, 2)}
        both.peer.write(said(2) + said(1) + said(2, 1) + said(0))
        for block, sequence in ((0, 0), (1, 0), (2, 0), (2, 1)):
            envelope = (await lines[block].receive()).envelope
            assert (envelope.block, envelope.sequence) == (block, sequence)


async def test_a_frame_that_comes_byte_by_byte_is_one_frame() -> None:
    async with ends() as both:
        line = both.channel.line(1)
        for byte in said(1):
            both.peer.write(bytes([byte]))
            await both.peer.drain()
        assert (await line.receive()).frame == said(1)


async def test_a_silent_peer_is_waited_for_only_so_long() -> None:
    async with ends(patience_s=0.1) as both:
        with pytest.raises(LinkError, match=r"silent for 0\.1 s"):
            await both.channel.line(1).receive()
        assert isinstance(both.channel.ended, LinkError)


async def test_a_sign_of_life_renews_the_patience() -> None:
    async with ends(patience_s=0.3) as both:
        waiting = asyncio.create_task(both.channel.line(1).receive())
        for _ in range(6):
            await asyncio.sleep(0.1)
            both.channel.sign_of_life()
        assert not waiting.done(), "twice the patience has passed"
        both.peer.write(said(1))
        assert (await waiting).frame == said(1)


async def test_a_peer_that_takes_nothing_does_not_hold_us_for_ever() -> None:
    async with ends(patience_s=0.2) as both:
        with pytest.raises(LinkError, match=r"has not taken a message within 0\.2 s"):
            async with asyncio.timeout(HANGS_S):
                await both.channel.line(1).send(bytes(64 << 20))


async def test_a_peer_that_floods_a_conversation_is_cut_off() -> None:
    async with ends() as both:
        line = both.channel.line(1)
        both.peer.write(b"".join(said(1, n) for n in range(100)))
        await both.reading
        assert isinstance(both.channel.ended, RemoteProtocolError)
        assert "too much at once" in str(both.channel.ended)
        for _ in range(8):
            await line.receive()
        with pytest.raises(RemoteProtocolError, match="too much at once"):
            await line.receive()


@pytest.mark.parametrize("lengths", [(2**32 - 1, 0), (100, 2**32 - 1), (100, LIMIT + 1), (64 * 1024 + 1, 0)])
async def test_a_huge_announcement_ends_the_connection_before_a_byte_of_it_is_read(
    lengths: tuple[int, int],
) -> None:
    async with ends() as both:
        both.peer.write(LENGTHS.pack(*lengths))
        async with asyncio.timeout(HANGS_S):
            await both.reading
        assert isinstance(both.channel.ended, RemoteProtocolError)
        assert "more than this block can need" in str(both.channel.ended)


async def test_the_largest_message_that_a_block_needs_is_let_through() -> None:
    async with ends() as both:
        line = both.channel.line(1)
        seed = AmplificationSeed(secret_bits=1, reserve_bits=0, seed=bytes(LIMIT))
        both.peer.write(encode(Envelope(SESSION, 1, 0, seed)))
        assert (await line.receive()).envelope.message == seed


async def test_a_peer_that_speaks_of_an_unknown_block_ends_the_connection_for_all() -> None:
    async with ends() as both:
        line = both.channel.line(1)
        both.peer.write(said(7))
        with pytest.raises(RemoteProtocolError, match="block 7, which is not open"):
            await line.receive()
        with pytest.raises(RemoteProtocolError, match="block 7, which is not open"):
            await both.channel.line(2).receive()


async def test_a_peer_that_speaks_of_a_block_that_has_ended_ends_the_connection() -> None:
    async with ends() as both:
        both.channel.line(1)
        both.channel.close_line(1)
        both.peer.write(said(1))
        await both.reading
        assert isinstance(both.channel.ended, RemoteProtocolError)


@pytest.mark.parametrize(
    "garbage", [b"\x00" * 8, b"\x00\x00\x00\x02\x00\x00\x00\x00{}", b"GET / HTTP/1.1\r\n\r\n"]
)
async def test_garbage_ends_the_connection_with_a_sentence(garbage: bytes) -> None:
    async with ends() as both:
        both.peer.write(garbage)
        await both.reading
        assert isinstance(both.channel.ended, RemoteProtocolError)


async def test_a_peer_that_closes_in_mid_frame_has_closed_the_connection() -> None:
    async with ends() as both:
        line = both.channel.line(1)
        both.peer.write(said(1)[:20])
        both.peer.close()
        with pytest.raises(LinkError, match="The peer closed the connection"):
            await line.receive()
        with pytest.raises(LinkError, match="The peer closed the connection"):
            await line.send(said(1))


async def test_what_came_before_the_end_can_still_be_received() -> None:
    async with ends() as both:
        line = both.channel.line(LINK_BLOCK)
        goodbye = Goodbye(reason="done")
        both.peer.write(encode(Envelope(SESSION, LINK_BLOCK, 0, goodbye)))
        both.peer.close()
        await both.reading
        assert (await line.receive()).envelope.message == goodbye
        with pytest.raises(LinkError):
            await line.receive()


async def test_a_goodbye_may_be_waited_for_beyond_all_patience() -> None:
    async with ends(patience_s=0.05) as both:
        line = both.channel.line()
        waiting = asyncio.create_task(line.spoken_to())
        await asyncio.sleep(0.15)
        assert not waiting.done()
        assert both.channel.ended is None
        both.peer.write(said(LINK_BLOCK))
        await asyncio.wait_for(waiting, HANGS_S)
        assert (await line.receive()).frame == said(LINK_BLOCK)
        waiting = asyncio.create_task(line.spoken_to())  # what was received is not waited for again
        await asyncio.sleep(0.01)
        assert not waiting.done()
        both.peer.close()
        await asyncio.wait_for(waiting, HANGS_S)
        with pytest.raises(LinkError, match="closed the connection"):
            await line.receive()


async def test_whoever_waits_for_the_loss_of_a_line_is_told_what_it_was() -> None:
    async with ends(patience_s=0.05) as both:
        waiting = asyncio.create_task(both.channel.lost())
        await asyncio.sleep(0.2)
        assert not waiting.done(), "silence alone loses no line that nobody listens on"
        both.peer.close()
        with pytest.raises(LinkError, match="The peer closed the connection"):
            await waiting


async def test_the_first_reason_of_an_end_is_the_one_that_counts() -> None:
    async with ends() as both:
        both.channel.end(LinkError("the first"))
        both.channel.end(RemoteProtocolError("the second"))
        both.channel.close()
        assert str(both.channel.ended) == "the first"


async def test_an_unknown_block_may_be_opened_by_whoever_listens() -> None:
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)
    _, peer = await asyncio.open_connection(sock=theirs)
    channel = ClassicalChannel(reader, writer, LIMIT, 5.0)
    asked: Iterator[int] = iter((3,))

    def opens(received: Received) -> StreamLine | None:
        return channel.line(next(asked)) if received.envelope.block == 3 else None

    reading = asyncio.create_task(channel.read(opens))
    peer.write(said(3) + said(3, 1))
    line = channel.line(3)
    assert [(await line.receive()).envelope.sequence for _ in range(2)] == [0, 1]
    peer.close()
    await reading
    channel.close()


async def test_the_round_trip_is_the_shortest_time_from_a_word_of_ours_to_the_peers_answer() -> None:
    now, taken = asyncio.get_running_loop().time, []
    async with ends() as both:
        line = both.channel.line(3)
        assert both.channel.round_trip_s == inf
        for sequence, pause_s in enumerate((0.05, 0.01, 0.05)):
            began = now()
            await line.send(said(3, sequence))
            await asyncio.sleep(pause_s)
            both.peer.write(said(3, sequence))
            await line.receive()
            taken.append(now() - began)
        assert 0.01 <= both.channel.round_trip_s <= min(taken)
