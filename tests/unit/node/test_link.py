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

from alice.greeting import greet as greet_bob
from bob.greeting import greet as greet_alice
from common.authentication.scheme import Authentication
from common.distillation.stages import SecretKey
from common.errors import ConfigurationError, LinkError, RemoteProtocolError
from common.journal.events import BlockEnded, Event
from common.keys.identifiers import BlockId
from common.node.link import Link, LinkDeposit, Party
from common.node.meeting import Meeting
from common.node.station import Greeting
from common.node.vault import Vault
from common.protocol.aborts import Aborted, AbortReason
from common.protocol.block import Block
from common.protocol.economy import Economy
from common.protocol.greeting import Introduction, link_conversation
from common.protocol.parameters import LinkParameters
from common.protocol.pinning import Pinning
from common.protocol.roles import Role
from common.randomness import Randomness
from common.store.key_store import KeyStore
from common.store.owner import StoreOwner
from common.transport.channel import ClassicalChannel, StreamLine
from common.wire.framing import Received
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
        begin=lambda _: None,
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
    return Link(party, side.channel, conversation, met, scheme, 0, meeting)


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
        await deposit.hold(block.id, key, 100)
        await deposit.release(block.id)
        return key

    async with both() as (alice, bob):
        link, _ = await greeted(alice, bob)
        await link.run_block(1, succeeds)
        assert (alice.ended.secret_bits, alice.ended.aborted) == (320, None)
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
