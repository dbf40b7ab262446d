"""After a fault the link recovers: the journal names it, the next contact settles it, the next block makes a key.

Real stores, real vaults, real greetings, real channels; in between somebody who touches one frame.
"""

import asyncio
import secrets
import shutil
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field, replace
from functools import partial

import pytest

import qkdlink.alice.steps
import qkdlink.bob.steps
from qkdlink.alice.greeting import greet as greet_bob
from qkdlink.bob.greeting import greet as greet_alice
from qkdlink.common.authentication import ed25519, ml_dsa_65
from qkdlink.common.authentication.scheme import SchemeName
from qkdlink.common.distillation.stages import SecretKey
from qkdlink.common.errors import LinkError, RemoteProtocolError
from qkdlink.common.journal.event import Event
from qkdlink.common.journal.events import BlockEnded
from qkdlink.common.keys.allotment import Purpose
from qkdlink.common.keys.identifiers import BlockId
from qkdlink.common.node.authentication import keyed_authentication
from qkdlink.common.node.link import Distil, Link, LinkDeposit, Party
from qkdlink.common.node.meeting import Meeting
from qkdlink.common.node.vault import Vault
from qkdlink.common.optics.fibre import Fibre
from qkdlink.common.protocol.aborts import Aborted, AbortReason
from qkdlink.common.protocol.block import Block
from qkdlink.common.protocol.economy import Economy
from qkdlink.common.protocol.greeting import Introduction, link_conversation
from qkdlink.common.protocol.parameters import LinkParameters
from qkdlink.common.protocol.pinning import Pinning
from qkdlink.common.protocol.roles import Role
from qkdlink.common.randomness import Randomness
from qkdlink.common.store.schema import State
from qkdlink.common.transport.channel import ClassicalChannel, StreamLine
from qkdlink.common.wire.framing import Received, decode
from qkdlink.common.wire.messages import (
    BasisAnnouncement,
    Checkpoint,
    Confirmation,
    DetectionAnnouncement,
    Message,
)
from tests.support.apparatus import MemoryReceiver, MemoryTransmitter
from tests.support.pair import small_block
from tests.support.stores import ALICE_OWNER, LINK, block, fast_folder, open_store, secret

NAMES = {Role.ALICE: "alice", Role.BOB: "bob"}
GREET = {Role.ALICE: greet_bob, Role.BOB: greet_alice}
SIGNING = {SchemeName.ED25519: ed25519, SchemeName.ML_DSA_65: ml_dsa_65}
PATIENCE_S, LONG_PATIENCE_S = 0.3, 10.0
"""Where a message may be withheld, and where none is."""


def small_quiet_block() -> LinkParameters:
    return small_block().model_copy(update={"fibre": Fibre(0.0, 0.2, 0.0), "block_pulses": 14_000})


@dataclass
class Node:
    """A store with one key in it, from which tags can be paid, and in which the peer's key is pinned."""

    role: Role
    vault: Vault
    told: list[Event] = field(default_factory=list)

    @property
    def party(self) -> Party:
        return Party(
            role=self.role,
            link=LINK,
            node=NAMES[self.role],
            peer=NAMES[self.role.peer],
            parameters=small_quiet_block(),
            randomness=Randomness(NAMES[self.role], seed=1),
            vault=self.vault,
            tell=self.told.append,
            economy=Economy(),
            pinning=Pinning,
        )

    @property
    def ended(self) -> BlockEnded:
        return [event for event in self.told if isinstance(event, BlockEnded)][-1]

    def states(self) -> dict[BlockId, State]:
        found = self.vault.store._database.connection.execute(
            "SELECT session, number, state FROM blocks"
        ).fetchall()
        return {BlockId(LINK, session, number): State(state) for session, number, state in found}

    def material(self, one: BlockId) -> list[bytes | None]:
        return [self.vault.store.material(one, purpose) for purpose in Purpose]


@dataclass(frozen=True)
class Fault:
    """What happens to the first frame of a kind that one party says, or to the n-th."""

    speaker: Role
    kind: type[Message]
    does: Callable[[bytes], list[bytes]]
    nth: int = 1


def flipped(frame: bytes) -> list[bytes]:
    return [frame[:-1] + bytes([frame[-1] ^ 1])]


def withheld(_: bytes) -> list[bytes]:
    return []


def repeated(frame: bytes) -> list[bytes]:
    return [frame, frame]


FAULTS = {
    "a bit of Bob's announcement flips": Fault(Role.BOB, DetectionAnnouncement, flipped),
    "a bit of Alice's first tag flips": Fault(Role.ALICE, Checkpoint, flipped),
    "Alice's bases are withheld": Fault(Role.ALICE, BasisAnnouncement, withheld),
    "Bob's confirmation is repeated": Fault(Role.BOB, Confirmation, repeated),
    "a bit of Alice's last tag flips": Fault(Role.ALICE, Checkpoint, flipped, nth=3),
}


class Touched(ClassicalChannel):
    """A channel whose frames somebody touches on their way out."""

    touch: Callable[[bytes], list[bytes]]

    async def write(self, frame: bytes) -> None:
        for each in self.touch(frame):
            await super().write(each)


def toucher(role: Role, fault: Fault | None) -> Callable[[bytes], list[bytes]]:
    seen = 0

    def touch(frame: bytes) -> list[bytes]:
        nonlocal seen
        if fault is None or role is not fault.speaker:
            return [frame]
        seen += isinstance(decode(frame).envelope.message, fault.kind)
        is_it = seen == fault.nth and isinstance(decode(frame).envelope.message, fault.kind)
        return fault.does(frame) if is_it else [frame]

    return touch


@pytest.fixture(params=[name for name in SchemeName if name is not SchemeName.NONE])
def scheme(request: pytest.FixtureRequest) -> SchemeName:
    return SchemeName(request.param)


@pytest.fixture
def nodes(scheme: SchemeName) -> Iterator[dict[Role, Node]]:
    folder = fast_folder()
    stores = {role: open_store(folder / NAMES[role], replace(ALICE_OWNER, node=NAMES[role])) for role in Role}
    module = SIGNING.get(scheme)
    shown = {
        role: b"" if module is None else module.public_key(store.own_key(scheme, module.new_private_key))
        for role, store in stores.items()
    }
    for role, store in stores.items():
        key = replace(secret(1, 8_000), reserve_bits=6_000)
        store.hold(block(1), key, 100, tags=scheme.cuts_tags, peer_key=shown[role.peer])
        store.release(block(1))
    with closing(stores[Role.ALICE]), closing(stores[Role.BOB]):
        yield {
            role: Node(role, Vault(store, LINK, role, lambda *_, **__: None, scheme))
            for role, store in stores.items()
        }
    shutil.rmtree(folder)


@asynccontextmanager
async def connected(nodes: dict[Role, Node], fault: Fault | None = None) -> AsyncIterator[dict[Role, Link]]:
    """A connection on which both have met."""
    channels: dict[Role, Touched] = {}
    readings: list[asyncio.Task[None]] = []
    for end, role in zip(socket.socketpair(), Role, strict=True):
        reader, writer = await asyncio.open_connection(sock=end)
        channels[role] = Touched(reader, writer, 1 << 20, LONG_PATIENCE_S if fault is None else PATIENCE_S)
        channels[role].touch = toucher(role, fault)
        readings.append(asyncio.create_task(channels[role].read(partial(opened, channels[role]))))
    try:
        links = await asyncio.gather(*(meet(nodes[role], channels[role]) for role in Role))
        yield dict(zip(Role, links, strict=True))
    finally:
        for channel in channels.values():
            channel.close()
        await asyncio.gather(*readings)


def opened(channel: ClassicalChannel, received: Received) -> StreamLine:
    return channel.line(received.envelope.block)


async def meet(node: Node, channel: ClassicalChannel) -> Link:
    party = node.party
    conversation = link_conversation(node.role, LINK, channel.line())
    ours = Introduction(
        link=LINK,
        node=party.node,
        peer=party.peer,
        anchor="pki",
        scheme=node.vault.scheme,
        parameters=party.parameters,
        nonce=secrets.token_hex(16),
        most_blocks=8,
    )
    meeting = Meeting(node.vault)
    met = await GREET[node.role](conversation, ours, meeting)
    material = node.vault.link_psk_material(block(1))
    assert material is not None
    authentication = keyed_authentication(node.vault.scheme, node.vault, material, met.session, node.vault)
    return Link(party, channel, conversation, met, authentication, 1, meeting)


type Outcome = SecretKey | Aborted | BaseException


async def played(links: dict[Role, Link], number: int) -> tuple[Outcome, Outcome]:
    """Live one block on both sides; Alice writes its number down first, as her node does."""
    await links[Role.ALICE].party.vault.use_number(number)
    receiver = MemoryReceiver(dark=False, fault="", misread_key_bits=0.0)
    transmitter = MemoryTransmitter(receiver.take, 2**20)

    async def alices(deposit: LinkDeposit, one: Block) -> SecretKey | Aborted:
        return await qkdlink.alice.steps.distil(transmitter, deposit, one)

    async def bobs(deposit: LinkDeposit, one: Block) -> SecretKey | Aborted:
        return await qkdlink.bob.steps.distil(receiver, deposit, one)

    return await asyncio.gather(
        lived(links[Role.ALICE], number, alices),
        lived(links[Role.BOB], number, bobs),
        return_exceptions=True,
    )


async def lived(link: Link, number: int, distil: Distil) -> SecretKey | Aborted:
    """Live a block as stations do: what ends it ends the connection."""
    try:
        return await link.run_block(number, distil)
    except (LinkError, RemoteProtocolError):
        link._channel.close()
        raise


@pytest.mark.parametrize("name", FAULTS)
async def test_the_fault_is_named_and_the_next_block_makes_a_key(
    nodes: dict[Role, Node], name: str, scheme: SchemeName
) -> None:
    async with connected(nodes, FAULTS[name]) as links:
        outcomes = await played(links, 2)
        assert any(isinstance(outcome, LinkError | RemoteProtocolError) for outcome in outcomes)
        damaged = BlockId(LINK, links[Role.ALICE].session, 2)
    reasons = {node.ended.aborted for node in nodes.values() if node.ended.aborted}
    assert reasons <= {AbortReason.PROTOCOL_BROKEN, AbortReason.CONNECTION_LOST, AbortReason.PENDING}
    assert all(node.ended.detail for node in nodes.values() if node.ended.aborted)
    async with connected(nodes) as links:
        mine, theirs = (node.states().get(damaged) for node in nodes.values())
        assert (mine, theirs) in {(None, None), (None, State.PENDING), 2 * (State.AVAILABLE,)}
        keys = await played(links, 3)
        assert all(isinstance(key, SecretKey) for key in keys), keys
        made = BlockId(LINK, links[Role.ALICE].session, 3)
    if theirs is State.PENDING:
        # "never" is believed under a tag that the link PSK alone does not make
        expected = State.PENDING if scheme in (SchemeName.HMAC_SHA256, SchemeName.GMAC) else State.DISCARDED
        assert nodes[Role.BOB].vault.store.state(damaged) is expected
    for one in (made, damaged):
        alices, bobs = (node.vault.store.state(one) is State.AVAILABLE for node in nodes.values())
        assert alices == bobs
        if alices:
            assert nodes[Role.ALICE].material(one) == nodes[Role.BOB].material(one)
    assert nodes[Role.ALICE].ended.authenticated_by == nodes[Role.ALICE].vault.scheme
