"""Bob lives as many blocks at a time as he lets be open: one more waits for a place, and too many end the line."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from qkdlink.bob.session import Session
from qkdlink.bob.unproven import FREE_BLOCKS, UnprovenBlocks
from qkdlink.common.authentication.scheme import SchemeName
from qkdlink.common.errors import OutdatedStoreError, RemoteProtocolError
from qkdlink.common.keys.identifiers import HIGHEST_BLOCK, BlockId
from qkdlink.common.protocol.high_water import FURTHEST_JUMP, Marks
from qkdlink.common.transport.channel import ClassicalChannel
from qkdlink.common.wire.framing import Envelope, encode
from qkdlink.common.wire.messages import OpenBlock
from tests.support.patience import HANGS_S
from tests.support.processes import until


@dataclass
class Blocks:
    """A link whose blocks last until they are told to end."""

    most_blocks: int
    pays_for_tags = False
    living: dict[int, asyncio.Event] = field(default_factory=dict)
    begun: list[int] = field(default_factory=list)
    are_over: bool = False

    async def run_block(self, number: int, _: object) -> None:
        if self.are_over:
            return
        self.begun.append(number)
        self.living[number] = asyncio.Event()
        await self.living[number].wait()
        del self.living[number]


@dataclass
class Open:
    """Bob's session, and what Alice does to it."""

    channel: ClassicalChannel
    alice: asyncio.StreamWriter
    blocks: Blocks
    session: Session
    said: int = 0

    async def opens(self, *numbers: int) -> None:
        for number in numbers:
            opening = OpenBlock(pulses=8, frames=1, verification_key=b"")
            frame = encode(Envelope("0" * 32, number, 0, opening))
            self.alice.write(frame)
            self.said += len(frame)
        await until(
            lambda: self.channel.ended is not None or self.channel.bytes_exchanged == self.said, "her words"
        )
        for _ in range(10):  # whoever may begin a block by now has a turn
            await asyncio.sleep(0)


@asynccontextmanager
async def session(
    most: int,
    *,
    allowed: int | None = None,
    seen: int = 0,
    highest: int = 0,
    unproven: int = 0,
    keyed: bool = False,
    met: bool = True,
) -> AsyncIterator[Open]:
    """Meet an Alice with whom `most` blocks at a time are agreed, of the `allowed` that Bob's settings name."""
    ends = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ends[0])
    _, alice = await asyncio.open_connection(sock=ends[1])
    blocks, channel = Blocks(most), ClassicalChannel(reader, writer, 1 << 20, 5.0)

    async def meet(*_: object) -> Blocks:
        return blocks

    station = SimpleNamespace(
        settings=SimpleNamespace(
            most_blocks_in_flight=allowed or most,
            node="bob",
            peer="alice",
            authentication=SimpleNamespace(scheme=SchemeName.WEGMAN_CARTER),
        ),
        channel=lambda _: channel,
        meet=meet,
        vault=SimpleNamespace(
            marks=lambda: Marks(highest or seen, seen, 0, 0),
            unproven_blocks=lambda: unproven,
            blocks_payable=lambda: 100,
        ),
    )
    key = BlockId("link", "0" * 32, 1) if keyed else None
    async with asyncio.timeout(HANGS_S), asyncio.TaskGroup() as group:
        bobs = Session(
            cast("Any", station), cast("Any", None), cast("Any", None), group, UnprovenBlocks(600.0), key
        )
        if met:
            await bobs.meet()
        try:
            yield Open(channel, alice, blocks, bobs)
        finally:
            bobs.close()
            alice.close()
            blocks.are_over = True
            for each in blocks.living.values():
                each.set()


@pytest.mark.parametrize("most", [1, 2, 8])
async def test_a_block_that_finds_every_place_taken_begins_when_one_that_has_ended_for_alice_is_closed(
    most: int,
) -> None:
    async with session(most) as bob:
        await bob.opens(*range(1, most + 2))
        assert bob.blocks.begun == list(range(1, most + 1))
        bob.blocks.living[1].set()
        await until(lambda: most + 1 in bob.blocks.living, "the next block")
        assert bob.channel.ended is None
        assert len(bob.blocks.living) == most


@pytest.mark.parametrize("most", [1, 2, 8])
async def test_whoever_opens_more_blocks_than_agreed_is_cut_off_with_a_sentence_that_says_so(
    most: int,
) -> None:
    async with session(most, allowed=8) as bob:
        await bob.opens(*range(1, 2 * most + 1))
        assert bob.channel.ended is None
        await bob.opens(2 * most + 1)
        assert isinstance(bob.channel.ended, RemoteProtocolError)
        assert f"opens block {2 * most + 1}, and with it more at a time than the agreed {most}" in str(
            bob.channel.ended
        )
        assert bob.blocks.begun == list(range(1, most + 1))


async def test_a_number_that_was_used_before_or_passed_over_opens_no_block() -> None:
    async with session(1) as bob:
        await bob.opens(2, 1)
        assert "opens block 1 after block 2: numbers only grow" in str(bob.channel.ended)


async def test_on_the_connection_of_an_older_epoch_blocks_go_on_and_none_begins() -> None:
    async with session(2) as bob:
        await bob.opens(1)
        bob.session.retire()
        assert (bob.channel.ended, bob.blocks.begun) == (None, [1])
        await bob.opens(2)
        assert "block 2 on the connection of an older epoch" in str(bob.channel.ended)
        assert bob.blocks.begun == [1]


@pytest.mark.parametrize("number", [1, 50])
async def test_a_number_that_was_seen_before_the_meeting_is_of_a_store_that_was_put_back(number: int) -> None:
    async with session(1, seen=50) as bob:
        await bob.opens(number)
        assert isinstance(bob.channel.ended, OutdatedStoreError)
        assert "key store of alice is older than what bob has seen" in str(bob.channel.ended)
        assert not bob.blocks.begun


@pytest.mark.parametrize(
    ("highest", "number", "is_block"),
    [
        (50, 51, True),
        (50, FURTHEST_JUMP, True),
        (50, FURTHEST_JUMP + 1, False),
        (FURTHEST_JUMP, FURTHEST_JUMP + 2**20, True),
        (FURTHEST_JUMP, FURTHEST_JUMP + 2**20 + 1, False),
        (HIGHEST_BLOCK, HIGHEST_BLOCK, True),
        (HIGHEST_BLOCK, HIGHEST_BLOCK + 1, False),
    ],
)
async def test_numbers_go_on_above_what_was_seen_and_end_somewhere(
    highest: int, number: int, is_block: bool
) -> None:
    """At a bootstrap: a lying Alice leaves Bob with no number that the true one would refuse at the next."""
    async with session(1, seen=50, highest=highest) as bob:
        await bob.opens(number)
        assert bob.blocks.begun == ([number] if is_block else [])


@pytest.mark.parametrize("met", [True, False])
@pytest.mark.parametrize(("number", "is_block"), [(50 + 2**20, True), (51 + 2**20, False)])
async def test_no_untagged_word_uses_numbers_up(number: int, is_block: bool, met: bool) -> None:
    """Whoever holds one link PSK could else name the last number there is, and no block of Alice's had one."""
    async with session(1, seen=50, keyed=True, met=met) as bob:
        await bob.opens(number)
        assert (bob.channel.ended is None) == is_block
        if not is_block:
            assert "the last one that it has proven is 50" in str(bob.channel.ended)


@pytest.mark.parametrize(
    ("unproven", "keyed", "met", "taken"),
    [
        (FREE_BLOCKS - 3, True, True, 2),
        (FREE_BLOCKS - 1, True, True, 2),
        (FREE_BLOCKS, True, True, 1),
        (FREE_BLOCKS, True, False, 0),
        (FREE_BLOCKS, False, True, 2),
    ],
)
async def test_a_peer_that_proves_nothing_is_given_few_blocks_and_then_one_each_pause(
    unproven: int, keyed: bool, met: bool, taken: int
) -> None:
    async with session(8, unproven=unproven, keyed=keyed, met=met) as bob:
        await bob.opens(1, 2)
        assert len(bob.blocks.begun) == taken
        if taken < 2:
            assert "without having shown a right tag in the last" in str(bob.channel.ended)
            assert "the next is taken in 600 s" in str(bob.channel.ended)


def test_the_pause_lets_one_block_through_and_begins_again() -> None:
    pace = UnprovenBlocks(600.0)
    assert [pace.take(FREE_BLOCKS, now) for now in (0.0, 1.0, 600.0, 900.0)] == [0.0, 599.0, 0.0, 300.0]
    assert pace.take(0, 901.0) == 0.0
