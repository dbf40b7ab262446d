"""A link of real processes that is hit again and again: each time it says what was lost, and makes equal keys again.

The tests share one link, in order. Light is held in Alice's fibre while somebody is killed, so that it happens in the
middle of a block.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
import pytest_asyncio

from qkdlink.common.journal.events import BlockOpened, EpochBegan, LineLost, PeerRefused
from qkdlink.common.protocol.aborts import AbortReason
from qkdlink.common.wire.pulse_frames import FrameHeader
from qkdlink.deployment.homes.names import ALICE, BOB
from tests.support.light_proxy import LightProxy
from tests.support.processes import Bench, SpawnedNode, bench, small_parameters, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

PULSES = 100_000
GRACE_S = 10.0
"""What `docker stop` leaves a process; less would measure how busy the machine is."""


@dataclass
class Shutter:
    """Lets light through, or holds it at the second frame of a block."""

    open: asyncio.Event = field(default_factory=asyncio.Event)
    holding: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.open.set()

    async def treat(self, header: FrameHeader, frame: bytes) -> list[bytes]:
        if header.sequence == 1 and not self.open.is_set():
            self.holding.set()
            await self.open.wait()
        return [frame]

    async def hold(self) -> None:
        """Close, and wait until a block is stuck in the fibre."""
        self.holding.clear()
        self.open.clear()
        async with asyncio.timeout(20):
            await self.holding.wait()


@dataclass
class Link:
    """The link under attack."""

    bench: Bench
    shutter: Shutter
    alice: SpawnedNode
    bob: SpawnedNode

    def open_block(self) -> str:
        """The block whose light is on."""
        ended = self.bench.journal(ALICE).blocks
        opened = [event.block_id for event in self.bench.journal(ALICE).of(BlockOpened)]
        assert opened[-1] not in ended
        return opened[-1]

    async def makes_keys_again(self) -> None:
        """Wait for a new block with a key that both have; whatever both have is of the same length."""
        before = set(self.both)
        await until(lambda: bool(set(self.both) - before), "a new key on both sides")
        alice, bob = self.bench.journal(ALICE).keys, self.bench.journal(BOB).keys
        assert {block: alice[block] for block in self.both} == {block: bob[block] for block in self.both}

    @property
    def both(self) -> list[str]:
        """Blocks with a key on both sides."""
        bob = self.bench.journal(BOB).keys
        return [block for block in self.bench.journal(ALICE).keys if block in bob]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def link(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Link]:
    """Alice, who was started first, behind a shutter; and Bob."""
    shutter = Shutter()
    folder = tmp_path_factory.mktemp("robust") / "home"
    async with (
        bench(
            folder,
            small_parameters(pulses=PULSES),
            blocks=0,
            blocks_in_flight=1,
            frame_pulses=PULSES // 4,
            light_patience_s=1.5,
        ) as made,
        LightProxy(made.broker.address).open() as proxy,
    ):
        proxy.treat = shutter.treat
        made.change(ALICE, {"broker": {"address": str(proxy.address)}})
        alice = made.spawn(ALICE)
        await asyncio.sleep(0.2)
        yield Link(made, shutter, alice, made.spawn(BOB))


async def test_bob_may_be_started_after_alice(link: Link) -> None:
    await link.makes_keys_again()


async def test_garbage_and_stalled_connections_at_bobs_port_disturb_nothing(link: Link) -> None:
    await link.makes_keys_again()
    address = link.bench.classical
    before = set(link.both)
    # never a blocking call here: Alice's light passes through this very process
    stalled = [await asyncio.open_connection(address.host, address.port) for _ in range(30)]
    try:
        for i in range(300):
            _, stranger = await asyncio.open_connection(address.host, address.port)
            stranger.write((b"GET / HTTP/1.0\r\n\r\n", os.urandom(400), b"\x16\x03\x01\xff\xff")[i % 3])
            stranger.close()
        await link.makes_keys_again()
    finally:
        for _, connection in stalled:
            connection.close()
    new = [ended for block, ended in link.bench.journal(ALICE).blocks.items() if block not in before]
    assert not [ended for ended in new if ended.aborted]
    assert not link.bench.journal(ALICE).of(LineLost)
    assert link.bench.journal(BOB).of(PeerRefused)


async def test_alice_killed_in_mid_block_costs_bob_that_block_and_a_new_alice_is_welcome(link: Link) -> None:
    await link.shutter.hold()
    lost = link.open_block()
    link.alice.process.kill()
    await until(lambda: lost in link.bench.journal(BOB).blocks, "Bob's end of the block")
    assert link.bench.journal(BOB).blocks[lost].aborted == AbortReason.CONNECTION_LOST
    link.shutter.open.set()
    link.alice = link.bench.spawn(ALICE)
    await link.makes_keys_again()


async def test_bob_killed_in_mid_block_costs_alice_that_block_and_a_new_bob_is_found(link: Link) -> None:
    await link.shutter.hold()
    lost = link.open_block()
    link.bob.process.kill()
    await until(lambda: lost in link.bench.journal(ALICE).blocks, "Alice's end of the block")
    assert link.bench.journal(ALICE).blocks[lost].aborted == AbortReason.CONNECTION_LOST
    link.shutter.open.set()
    link.bob = link.bench.spawn(BOB)
    await link.makes_keys_again()


async def test_a_broker_killed_in_mid_block_costs_that_block_and_is_waited_for(link: Link) -> None:
    await link.shutter.hold()
    lost = link.open_block()
    epochs = len(link.bench.journal(ALICE).of(EpochBegan))
    command = link.bench.kill_broker()
    link.shutter.open.set()
    await until(lambda: lost in link.bench.journal(BOB).blocks, "Bob's end of the block")
    await asyncio.sleep(1.0)
    for name in (ALICE, BOB):
        assert link.bench.journal(name).blocks[lost].aborted == AbortReason.LIGHT_LOST
    assert list(link.bench.journal(ALICE).blocks)[-1] == lost, "no block is begun without a broker"
    link.bench.start(command)
    await link.makes_keys_again()
    assert len(link.bench.journal(ALICE).of(EpochBegan)) == epochs, "the classical line was not concerned"


async def test_a_node_told_to_end_does_so_before_it_would_be_killed_with_status_0(link: Link) -> None:
    for node in (link.alice, link.bob):
        node.process.send_signal(signal.SIGTERM)
        assert await node.ended(GRACE_S) == 0
        assert "Traceback" not in "".join(node.words)
