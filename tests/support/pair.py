"""Two engines in memory: Alice's column against Bob's, with every frame on record and nothing else between them.

No socket, no broker, no clock. Light goes from source to detectors as it is; what one party says is handed to the
other, or to whoever sits in between. When everybody who is left waits, nobody will ever speak again: that is a lost
connection, noticed at once instead of after a minute.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

import qkdlink.alice.steps
import qkdlink.bob.steps
from qkdlink.common.authentication.scheme import Authentication, CheckpointScheme
from qkdlink.common.distillation.stages import SecretKey
from qkdlink.common.errors import LinkError, RemoteProtocolError
from qkdlink.common.journal.event import Event
from qkdlink.common.keys.identifiers import BlockId
from qkdlink.common.optics.presets import preset
from qkdlink.common.optics.pulses import PulseTrain
from qkdlink.common.protocol.aborts import Aborted
from qkdlink.common.protocol.account import Account
from qkdlink.common.protocol.block import Block
from qkdlink.common.protocol.conversation import BlockConversation, Line, Place
from qkdlink.common.protocol.economy import Economy
from qkdlink.common.protocol.parameters import LinkParameters, ProtocolName
from qkdlink.common.protocol.pinning import Pinning
from qkdlink.common.protocol.roles import Role
from qkdlink.common.protocol.variants.one_decoy import ONE_DECOY
from qkdlink.common.protocol.variants.single_photon import SINGLE_PHOTON
from qkdlink.common.protocol.variants.two_decoy import TWO_DECOY
from qkdlink.common.randomness import Randomness
from qkdlink.common.wire.framing import decode
from qkdlink.common.wire.messages import Message
from qkdlink.deployment.planning.planner import plan, task_for
from tests.support.apparatus import MemoryDeposit, MemoryReceiver, MemoryTransmitter
from tests.support.lines import MemoryLine, Room
from tests.support.schemes import signature_schemes

LINK = "link"
SESSION = "5e" * 16

SMALL_BLOCKS = {
    SINGLE_PHOTON.name: 16_000,
    ONE_DECOY.name: 400_000,
    TWO_DECOY.name: 500_000,
}
"""Pulses that are enough for some hundred secret bits over no distance."""


@lru_cache
def small_block(protocol: ProtocolName = SINGLE_PHOTON.name) -> LinkParameters:
    """Plan the smallest comfortable block of a protocol."""
    task = task_for(preset("metropolitan"), SMALL_BLOCKS[protocol], protocol, distance_km=0.0)
    return plan(task).link_parameters(reproducible=True)


@dataclass(frozen=True, slots=True)
class Said:
    """One frame as its speaker sent it."""

    speaker: Role
    frame: bytes

    @property
    def message(self) -> Message:
        """What it says."""
        return decode(self.frame).envelope.message

    @property
    def kind(self) -> type[Message]:
        """The type of what it says."""
        return type(self.message)


type Delivery = tuple[Role, bytes]
type Relay = Callable[[int, Said], Sequence[Delivery]]
"""What arrives where instead of the frame with this number in the block."""


def faithfully(index: int, said: Said) -> Sequence[Delivery]:
    """Deliver what was said to whom it was meant for."""
    del index
    return [(said.speaker.peer, said.frame)]


type Outcome = SecretKey | Aborted | LinkError | RemoteProtocolError


@dataclass(slots=True)
class Party:
    """One party of a block and what became of it."""

    block: Block
    deposit: MemoryDeposit
    events: list[Event]
    outcome: Outcome | None = None

    @property
    def key(self) -> bytes:
        """The secret key it ended with."""
        assert isinstance(self.outcome, SecretKey), self.outcome
        return self.outcome.material

    @property
    def abort(self) -> Aborted:
        """The abort it ended with."""
        assert isinstance(self.outcome, Aborted), self.outcome
        return self.outcome

    @property
    def available(self) -> bytes | None:
        """The key it may use, if any."""
        return self.deposit.available.get(self.block.id)

    @property
    def pending(self) -> bytes | None:
        """The key it has stored and not yet released, if any."""
        return self.deposit.pending.get(self.block.id)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a block ended on both sides, and everything that was said in it."""

    alice: Party
    bob: Party
    said: list[Said]

    def said_by(self, role: Role) -> list[type[Message]]:
        """Types of what one party said, in order."""
        return [one.kind for one in self.said if one.speaker is role]


type Conversations = Callable[[Role, Place, Line, CheckpointScheme], BlockConversation]
type MiddlePerson = Callable[[Line, Line, Callable[[PulseTrain], None]], Coroutine[Any, Any, None]]
"""Somebody in between: her line to Alice, her line to Bob, and Bob's end of the fibre."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A block to be played, honest unless told otherwise; with no seed all choices are the operating system's."""

    parameters: LinkParameters = field(default_factory=small_block)
    number: int = 1
    session: str = ""
    """Another one than `SESSION`."""
    seed: int | None = 1
    frame_pulses: int = 2**20
    relay: Relay = faithfully
    schemes: tuple[Authentication, Authentication] = field(default_factory=signature_schemes)
    conversations: Conversations = BlockConversation
    randomness: Callable[[str, int | None], Randomness] = Randomness
    economies: tuple[Economy, Economy] = (Economy(), Economy())
    pinnings: tuple[Callable[[], Pinning], Callable[[], Pinning]] = (Pinning, Pinning)
    deposit: Callable[[], MemoryDeposit] = MemoryDeposit
    alice_loses_light: str = ""
    """What is the matter if she cannot send her light."""
    bob_loses_light: str = ""
    """What is the matter if not all of it comes through."""
    bob_is_in_the_dark: bool = False
    bob_misreads_key_bits: float = 0.0
    """Share of his bits in the key basis that Bob reads wrongly."""

    async def play(self) -> Ending:
        """Live the block on both sides until it has ended on both."""
        said: list[Said] = []
        room = Room(["alice", "bob"])

        def carry(speaker: Role, frame: bytes) -> None:
            said.append(Said(speaker, frame))
            for to, arriving in self.relay(len(said) - 1, said[-1]):
                lines[to].deliver(arriving)

        lines = {role: MemoryLine(room, role.word, partial(carry, role)) for role in Role}
        parties = self._party(Role.ALICE, lines[Role.ALICE]), self._party(Role.BOB, lines[Role.BOB])
        receiver = self._receiver()
        await asyncio.gather(*self._columns(room, parties, receiver, receiver.take))
        return Ending(*parties, said)

    async def play_with(self, middle: MiddlePerson, store: Callable[[PulseTrain], None]) -> Ending:
        """Live the block with somebody in between: the words pass through her, and she gets the light (`store`)."""
        said: list[Said] = []
        room = Room(["alice", "bob", "eve"])

        def line_to_eve(role: Role) -> tuple[MemoryLine, MemoryLine]:
            def carry(frame: bytes) -> None:
                said.append(Said(role, frame))
                eves_end.deliver(frame)

            own_end = MemoryLine(room, role.word, carry)
            eves_end = MemoryLine(room, "eve", own_end.deliver)
            return own_end, eves_end

        (alices_line, to_alice), (bobs_line, to_bob) = line_to_eve(Role.ALICE), line_to_eve(Role.BOB)
        parties = self._party(Role.ALICE, alices_line), self._party(Role.BOB, bobs_line)
        receiver = self._receiver()
        await asyncio.gather(
            *self._columns(room, parties, receiver, store),
            live(room, "eve", None, middle(to_alice, to_bob, receiver.take)),
        )
        return Ending(*parties, said)

    def _columns(
        self,
        room: Room,
        parties: tuple[Party, Party],
        receiver: MemoryReceiver,
        launch: Callable[[PulseTrain], None],
    ) -> list[Coroutine[Any, Any, None]]:
        a, b = parties
        transmitter = MemoryTransmitter(launch, self.frame_pulses, fault=self.alice_loses_light)
        return [
            live(room, "alice", a, qkdlink.alice.steps.distil(transmitter, a.deposit, a.block)),
            live(room, "bob", b, qkdlink.bob.steps.distil(receiver, b.deposit, b.block)),
        ]

    def _party(self, role: Role, line: Line) -> Party:
        """Build one party's block."""
        events: list[Event] = []
        session = self.session or SESSION
        place = Place(LINK, session, self.number)
        block = Block(
            id=BlockId(LINK, session, self.number),
            parameters=self.parameters,
            conversation=self.conversations(role, place, line, self.schemes[role].of_block(self.number)),
            randomness=self.randomness(role.word, self.seed),
            compute=at_once,
            tell=events.append,
            account=Account(),
            economy=self.economies[role],
            pinning=self.pinnings[role](),
        )
        return Party(block, self.deposit(), events)

    def _receiver(self) -> MemoryReceiver:
        """Build Bob's apparatus."""
        return MemoryReceiver(
            dark=self.bob_is_in_the_dark,
            fault=self.bob_loses_light,
            misread_key_bits=self.bob_misreads_key_bits,
        )


async def live(
    room: Room, who: str, party: Party | None, work: Awaitable[SecretKey | Aborted | None]
) -> None:
    """Let a party live to its end; what the outside world can do to it is an outcome, anything else a failure."""
    outcome: Outcome | None
    try:
        outcome = await work
    except (LinkError, RemoteProtocolError) as error:
        outcome = error
    finally:
        room.leave(who)
    if party is not None:
        party.outcome = outcome


async def at_once[**P, R](function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Compute right here."""
    return function(*args, **kwargs)
