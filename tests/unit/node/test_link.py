"""What becomes of a block when its line, its peer or its node ends; and the two greetings."""

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from qkdlink.alice.greeting import greet as greet_bob
from qkdlink.bob.greeting import greet as greet_alice
from qkdlink.common.authentication.scheme import Authentication
from qkdlink.common.distillation.stages import SecretKey
from qkdlink.common.errors import ConfigurationError, CredentialsError, LinkError, RemoteProtocolError
from qkdlink.common.journal.block_record import BlockRecord
from qkdlink.common.journal.event import Event
from qkdlink.common.journal.events import BlockEnded
from qkdlink.common.journal.key_levels import KeyLevels
from qkdlink.common.keys.identifiers import BlockId
from qkdlink.common.node.link import Link, LinkDeposit, Party
from qkdlink.common.node.meeting import Meeting
from qkdlink.common.node.station import Greeting
from qkdlink.common.node.vault import Vault
from qkdlink.common.protocol.aborts import Aborted, AbortReason
from qkdlink.common.protocol.block import Block
from qkdlink.common.protocol.economy import Economy
from qkdlink.common.protocol.greeting import Introduction, link_conversation
from qkdlink.common.protocol.parameters import LinkParameters
from qkdlink.common.protocol.pinning import Pinning
from qkdlink.common.protocol.roles import Role
from qkdlink.common.randomness import Randomness
from qkdlink.common.store.key_store import KeyStore
from qkdlink.common.store.owner import StoreOwner
from qkdlink.common.transport.channel import ClassicalChannel, StreamLine
from qkdlink.common.wire.framing import Received
from tests.support.processes import small_parameters
from tests.support.schemes import signature_schemes

PARAMETERS = small_parameters()


@dataclass
class Side:
    """One end: its party, its channel, and what it told."""

    party: Party
    channel: ClassicalChannel
    reading: asyncio.Task[None]
    told: list[Event]
    settled: list[tuple[BlockId, SecretKey | None]]

    @property
    def ended(self) -> BlockEnded:
        (ended,) = [event for event in self.told if isinstance(event, BlockEnded)]
        return ended


def party(
    role: Role,
    parameters: LinkParameters,
    told: list[Event],
    settled: list[tuple[BlockId, SecretKey | None]],
    folder: Path,
) -> Party:
    names = {Role.ALICE: "alice", Role.BOB: "bob"}
    return Party(
        role=role,
        link="link-1",
        node=names[role],
        peer=names[role.peer],
        parameters=parameters,
        randomness=Randomness(names[role]),
        tell=told.append,
        vault=Vault(
            KeyStore.open(folder, StoreOwner("link-1", names[role], reproducible=False)),
            "link-1",
            role,
            lambda block, key, **_: settled.append((block, key)),
        ),
        economy=Economy(),
        pinning=Pinning,
    )


def _nobody(_: Received) -> StreamLine | None:
    return None


@asynccontextmanager
async def both(bobs: LinkParameters = PARAMETERS) -> AsyncIterator[tuple[Side, Side]]:
    sides: list[Side] = []
    homes = ExitStack()
    for end, role in zip(socket.socketpair(), Role, strict=True):
        reader, writer = await asyncio.open_connection(sock=end)
        channel = ClassicalChannel(reader, writer, 1 << 20, 5.0)
        reading = asyncio.create_task(channel.read(_nobody))
        told: list[Event] = []
        settled: list[tuple[BlockId, SecretKey | None]] = []
        parameters = bobs if role is Role.BOB else PARAMETERS
        folder = Path(homes.enter_context(TemporaryDirectory()))
        sides.append(Side(party(role, parameters, told, settled, folder), channel, reading, told, settled))
    try:
        yield sides[0], sides[1]
    finally:
        for side in sides:
            side.channel.close()
            side.party.vault.store.close()
        homes.close()
        await asyncio.gather(*(side.reading for side in sides))


def greetings(alice: Side, bob: Side) -> tuple[Awaitable[Link], Awaitable[Link]]:
    ours, theirs = signature_schemes()
    return _meet(alice, greet_bob, ours), _meet(bob, greet_alice, theirs)


async def _trusted() -> None:
    """Trust for ever."""


async def _meet(side: Side, greet: Greeting, scheme: Authentication) -> Link:
    party = side.party
    conversation = link_conversation(party.role, party.link, side.channel.line())
    ours = Introduction(
        link=party.link,
        node=party.node,
        peer=party.peer,
        anchor="pki",
        scheme=party.vault.scheme,
        parameters=party.parameters,
        nonce=secrets.token_hex(16),
        most_blocks=8,
    )
    meeting = Meeting(party.vault)
    met = await greet(conversation, ours, meeting)
    return Link(party, side.channel, conversation, met, scheme, 0, meeting, _trusted)


async def greeted(alice: Side, bob: Side) -> tuple[Link, Link]:
    ours, theirs = await asyncio.gather(*greetings(alice, bob))
    return ours, theirs


async def test_two_greetings_make_one_session_on_both_sides_and_never_the_same_twice() -> None:
    sessions = set()
    for _ in range(2):
        async with both() as (alice, bob):
            ours, theirs = await greeted(alice, bob)
            assert ours.session == theirs.session
            sessions.add(ours.session)
    assert len(sessions) == 2


async def test_a_goodbye_ends_the_link_with_its_reason() -> None:
    async with both() as (alice, bob):
        ours, theirs = await greeted(alice, bob)
        await ours.say_goodbye("all blocks are done")
        assert await theirs.hear_goodbye() == "all blocks are done"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"block_pulses": 7}, "block_pulses is "),
        ({"fibre": replace(PARAMETERS.fibre, length_km=99.0)}, r"fibre\.length_km is "),
        ({"reproducible": True}, "reproducible is "),
        ({"eps_sec": 1e-6, "expected_qber": 0.5}, "eps_sec is .* expected_qber is "),
    ],
)
async def test_both_sides_are_told_which_parameters_differ(changes: dict[str, object], named: str) -> None:
    async with both(PARAMETERS.model_copy(update=changes)) as (alice, bob):
        for error in await asyncio.gather(*greetings(alice, bob), return_exceptions=True):
            assert isinstance(error, ConfigurationError)
            with pytest.raises(ConfigurationError, match=named):
                raise error


@pytest.mark.parametrize(("node", "link"), [("carol", "link-1"), ("alice", "link-2")])
async def test_a_peer_that_means_another_link_is_turned_away(node: str, link: str) -> None:
    async with both() as (alice, bob):
        alice.party = replace(alice.party, node=node, link=link)
        ours, theirs = await asyncio.gather(*greetings(alice, bob), return_exceptions=True)
        assert isinstance(theirs, ConfigurationError | RemoteProtocolError)
        assert isinstance(ours, ConfigurationError | LinkError | RemoteProtocolError)


async def _waits_for_ever(_: LinkDeposit, __: Block) -> SecretKey | Aborted:
    await asyncio.Event().wait()
    raise AssertionError


async def test_a_block_with_a_key_is_settled_and_told_with_its_length() -> None:
    key = SecretKey(material=bytes(range(40)), secret_bits=320)

    async def succeeds(deposit: LinkDeposit, block: Block) -> SecretKey | Aborted:
        block.account.pulses = key.secret_bits
        await deposit.hold(block.id, key, 100)
        await deposit.release(block.id)
        return key

    async with both() as (alice, bob):
        link, _ = await greeted(alice, bob)
        await link.run_block(1, succeeds)
        assert (alice.ended.secret_bits, alice.ended.aborted) == (320, None)
        ((record,), (levels,)) = (
            [event for event in alice.told if isinstance(event, kind)] for kind in (BlockRecord, KeyLevels)
        )
        assert (record.block_id, record.outcome.secret_bits) == (alice.ended.block_id, 320)
        assert record.began <= record.ended < record.began + alice.ended.seconds + 1
        assert (levels.produced_bits, levels.highest_block, levels.confirmed_blocks) == (320, 1, 1)
        assert sum(level.available_bits for level in levels.levels) == 320
        assert alice.settled == [(BlockId("link-1", link.session, 1), key)]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (LinkError("the line is cut"), AbortReason.CONNECTION_LOST),
        (RemoteProtocolError("they broke a rule"), AbortReason.PROTOCOL_BROKEN),
    ],
)
async def test_what_ends_one_block_ends_the_connection_and_is_the_reason_of_the_others(
    error: LinkError | RemoteProtocolError, reason: AbortReason
) -> None:
    async def fails(_: LinkDeposit, __: Block) -> SecretKey | Aborted:
        await asyncio.sleep(0.01)
        raise error

    async def both_blocks(link: Link) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(link.run_block(1, _waits_for_ever))
            group.create_task(link.run_block(2, fails))

    async with both() as (alice, bob):
        link, _ = await greeted(alice, bob)
        with pytest.raises(ExceptionGroup):
            await both_blocks(link)
        ended = [event for event in alice.told if isinstance(event, BlockEnded)]
        assert sorted(event.number for event in ended) == [1, 2]
        assert {(event.aborted, event.detail) for event in ended} == {(reason, str(error))}
        assert [key for _, key in alice.settled] == [None, None]
        assert alice.channel.ended is error


@pytest.mark.parametrize("concurrent", [False, True])
async def test_a_bootstrap_makes_three_keys_and_no_more_at_either_end(concurrent: bool) -> None:
    """Whoever opens block after block on one connection of the bootstrap, one by one or all at once, gets no fourth."""
    go = asyncio.Event()

    async def deposits(deposit: LinkDeposit, block: Block) -> SecretKey | Aborted:
        if concurrent:
            await go.wait()
        key = SecretKey(material=bytes(40), secret_bits=320)
        await deposit.hold(block.id, key, 100)
        await deposit.release(block.id)
        return key

    async with both() as sides:
        for side, link in zip(sides, await greeted(*sides), strict=True):
            tasks = []
            for number in range(1, 6):
                tasks.append(asyncio.create_task(link.run_block(number, deposits)))
                if not concurrent:
                    await asyncio.wait(tasks[-1:])
            await asyncio.sleep(0)
            go.set()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            refused = [each for each in outcomes if isinstance(each, RemoteProtocolError)]
            assert len(refused) == 2
            assert all("more than the 3 keys that a bootstrap authenticates" in str(each) for each in refused)
            assert len(side.party.vault.link_psks(live_too=True)) == 3
            assert isinstance(side.channel.ended, RemoteProtocolError)


async def test_keys_made_on_a_newer_connection_meanwhile_are_no_keys_of_the_bootstrap() -> None:
    """A block of the bootstrap may end last, when blocks of the first epoch have made their keys already."""
    key = SecretKey(material=bytes(40), secret_bits=320)

    async def deposits(deposit: LinkDeposit, block: Block) -> SecretKey | Aborted:
        block.account.pulses = key.secret_bits
        for number in range(2, 6):
            await alice.party.vault.hold(BlockId("link-1", "0e" * 16, number), key, 100)
        await deposit.hold(block.id, key, 100)
        await deposit.release(block.id)
        return key

    async with both() as (alice, bob):
        link, _ = await greeted(alice, bob)
        assert await link.run_block(1, deposits) is key
        assert alice.channel.ended is None


async def test_a_block_does_not_begin_once_the_anchor_would_not_open_the_line_any_more() -> None:
    revoked = False

    async def still_trusted() -> None:
        if revoked:
            raise CredentialsError("the peer's certificate was revoked")

    async def never(_: LinkDeposit, __: Block) -> SecretKey | Aborted:
        raise AssertionError

    async def ends(_: LinkDeposit, __: Block) -> SecretKey | Aborted:
        return Aborted(AbortReason.NO_SECRET_BITS, "", by_peer=False)

    async with both() as sides:
        for side, link in zip(sides, await greeted(*sides), strict=True):
            link._still_trusted = still_trusted
            revoked = False
            await link.run_block(1, ends)
            revoked = True
            with pytest.raises(LinkError, match="Block 2 does not begin: the peer's certificate was revoked"):
                await link.run_block(2, never)
            assert isinstance(side.channel.ended, LinkError)
            assert [event.number for event in side.told if isinstance(event, BlockEnded)] == [1]


async def test_a_block_of_a_node_that_is_stopped_says_that() -> None:
    async with both() as (alice, bob):
        link, _ = await greeted(alice, bob)
        task = asyncio.create_task(link.run_block(1, _waits_for_ever))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (alice.ended.aborted, alice.ended.detail) == (AbortReason.STOPPED, "the node was stopped")


async def test_a_fault_of_ours_leaves_an_account_too() -> None:
    async def breaks(_: LinkDeposit, __: Block) -> SecretKey | Aborted:
        raise ZeroDivisionError

    async with both() as (alice, bob):
        link, _ = await greeted(alice, bob)
        with pytest.raises(ZeroDivisionError):
            await link.run_block(1, breaks)
        assert alice.ended.secret_bits == 0
        assert alice.settled[0][1] is None
