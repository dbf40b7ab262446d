"""The one mechanism that enforces order: every message, ours and theirs, is held against the table.

A conversation knows no cryptography (the scheme does), no physics and no socket: it numbers and checks what is said,
keeps the transcript, and moves from phase to phase. An illegal message changes nothing: ours is a
LocalProtocolError before a byte is sent, theirs a RemoteProtocolError.
"""

from dataclasses import dataclass
from typing import NoReturn, Protocol, cast

from qkdlink.common.authentication.scheme import CheckpointScheme, Tag, uses_units
from qkdlink.common.authentication.transcript import Transcript
from qkdlink.common.distillation.monitors import Monitor
from qkdlink.common.errors import LocalProtocolError, RemoteProtocolError
from qkdlink.common.printable import printable
from qkdlink.common.protocol.aborts import REASON_PHASES, Aborted, AbortReason, BlockRefused
from qkdlink.common.protocol.phases import (
    ABORTABLE,
    BLOCK_TABLE,
    FINAL_PHASES,
    BlockPhase,
    Move,
    Phase,
    Table,
)
from qkdlink.common.protocol.roles import Role
from qkdlink.common.wire.framing import Envelope, Received, encode
from qkdlink.common.wire.messages import LONGEST_SENTENCE, Abort, Checkpoint, Message

MOST_CHECKPOINTS = 8
"""Tags cost key bits, so a block has few: six on its straight course, never more than eight."""


class Line(Protocol):
    """What carries the frames of one conversation, in order, in both directions."""

    async def send(self, frame: bytes) -> None:
        """Hand a frame over to the peer's side of this conversation."""

    async def receive(self) -> Received:
        """Wait for the peer's next message of this conversation; RemoteProtocolError if it is malformed."""


@dataclass(frozen=True, slots=True)
class Place:
    """Which conversation this is: the session, and the block or `LINK_BLOCK`."""

    link: str
    session: str
    block: int
    holdings: bytes = b""
    """Of a block: the entries of the three `holdings` of its connection, which its checkpoints cover too."""

    @property
    def heading(self) -> bytes:
        """What every tag of this conversation is bound to."""
        return f"qkdlink transcript v1|{self.link}|{self.session}|{self.block}".encode() + self.holdings


class Conversation:
    """One party's end of one conversation."""

    def __init__(self, role: Role, table: Table, first_phase: Phase, place: Place, line: Line) -> None:
        self.role = role
        self.phase = first_phase
        self.place = place
        self.transcript = Transcript(place.heading)
        self._table = table
        self._line = line
        self._said = {Role.ALICE: 0, Role.BOB: 0}

    @property
    def bytes_said(self) -> int:
        """How many bytes both sides have said here, with nine of the transcript for each message."""
        return len(self.transcript) - len(self.place.heading)

    @property
    def ended(self) -> bool:
        """Whether nothing more may be said."""
        return self.phase in FINAL_PHASES

    async def say(self, message: Message) -> None:
        """Send a message, if the table lets us say it now; LocalProtocolError otherwise."""
        following = self._after_saying(type(message))
        frame = encode(Envelope(self.place.session, self.place.block, self._said[self.role], message))
        self._record(self.role, frame, following)
        await self._line.send(frame)

    async def hear(self, *kinds: type[Message]) -> Message:
        """Wait for the peer's next message; RemoteProtocolError, and no change, unless it is one of these and legal."""
        received = await self._line.receive()
        message = received.envelope.message
        following = self._judge(received.envelope)
        if not isinstance(message, kinds):
            due = " or ".join(_name(kind) for kind in kinds)
            raise RemoteProtocolError(
                f"{self.role.peer.label} said {_name(type(message))} where {due} was due."
            )
        if received.after != self._said[self.role]:  # legal now, but it was said before we had spoken
            raise RemoteProtocolError(f"{self.role.peer.label} said {_name(type(message))} before its turn.")
        await self._verify(message)
        self._record(self.role.peer, received.frame, following)
        return message

    async def expect[M: Message](self, kind: type[M]) -> M:
        """Wait for a message of one type; RemoteProtocolError if the peer says anything else, legal or not."""
        return cast("M", await self.hear(kind))

    async def expect_either[M: Message, N: Message](self, one: type[M], other: type[N]) -> M | N:
        """Wait for a message of either type."""
        return cast("M | N", await self.hear(one, other))

    def _after_saying(self, kind: type[Message]) -> Phase:
        following = self._table.get((self.phase, Move(self.role, kind)))
        if following is None:
            raise LocalProtocolError(f"{self.role.label} may not say {_name(kind)} in phase {self.phase}.")
        return following

    def _judge(self, envelope: Envelope) -> Phase:
        speaker = self.role.peer
        if (envelope.session, envelope.block) != (self.place.session, self.place.block):
            raise RemoteProtocolError(
                f"{speaker.label} sent a message of another session or block (block {envelope.block})."
            )
        if envelope.sequence != self._said[speaker]:
            raise RemoteProtocolError(
                f"{speaker.label} sent message {envelope.sequence} where {self._said[speaker]} was due:"
                " one was lost, repeated or reordered."
            )
        following = self._table.get((self.phase, Move(speaker, type(envelope.message))))
        if following is None:
            raise RemoteProtocolError(
                f"{speaker.label} may not say {_name(type(envelope.message))} in phase {self.phase}."
            )
        return following

    async def _verify(self, message: Message) -> None:
        """Check what only this kind of conversation can check; RemoteProtocolError, and no change, if it is wrong."""

    def _record(self, speaker: Role, frame: bytes, following: Phase) -> None:
        self.transcript.append(speaker, frame)
        self._said[speaker] += 1
        self.phase = following


_PEER_ABORTS = frozenset({BlockPhase.ALICE_ABORTS, BlockPhase.BOB_ABORTS})


class BlockConversation(Conversation):
    """A block's conversation: checkpoints over its transcript, and aborts that both sides settle."""

    def __init__(self, role: Role, place: Place, line: Line, scheme: CheckpointScheme) -> None:
        super().__init__(role, BLOCK_TABLE, BlockPhase.NEW, place, line)
        self._scheme = scheme
        self.checkpoints = 0
        self.checkpoint_bytes = 0
        self._units: dict[Role, set[str]] = {Role.ALICE: set(), Role.BOB: set()}

    async def hear(self, *kinds: type[Message]) -> Message:
        """Wait for the peer's next message; where an abort is legal it is settled, and leaves by BlockRefused."""
        heard_before = len(self.transcript)
        message = await super().hear(*kinds, Abort)
        if isinstance(message, Checkpoint):
            self._count(self.role.peer, message, len(self.transcript) - heard_before)
        if isinstance(message, Abort) and self.phase in _PEER_ABORTS:
            await self._agree_to(message)
        return message

    async def say_checkpoint(self) -> None:
        """Tag everything said so far and send the tag; nothing is tagged unless a checkpoint is legal now."""
        self._after_saying(Checkpoint)
        if self.checkpoints == MOST_CHECKPOINTS:
            raise LocalProtocolError(f"A block has at most {MOST_CHECKPOINTS} checkpoints.")
        said_before = len(self.transcript)
        tag = await self._scheme.tag(self.role, self.checkpoints, self.transcript)
        checkpoint = Checkpoint(
            position=self.checkpoints, scheme=self._scheme.name, pad=tag.pad, tag=tag.value
        )
        await self.say(checkpoint)
        self._count(self.role, checkpoint, len(self.transcript) - said_before)

    def units_of(self, role: Role) -> int:
        """How many units of key one side's tags have named so far."""
        return len(self._units[role])

    def _count(self, speaker: Role, checkpoint: Checkpoint, checkpoint_bytes: int) -> None:
        self.checkpoints += 1
        self.checkpoint_bytes += checkpoint_bytes
        if checkpoint.pad:
            self._units[speaker].add(checkpoint.pad)

    async def expect_checkpoint(self) -> None:
        """Wait for the peer's tag over everything said so far; RemoteProtocolError unless it is right."""
        await self.expect(Checkpoint)

    async def abort(self, reason: AbortReason | Monitor, detail: str) -> NoReturn:
        """End the block without a key, settle it with the peer, and leave by BlockRefused."""
        detail = printable(detail, LONGEST_SENTENCE)
        await self.say(Abort(reason=reason, detail=detail))
        await self.say_checkpoint()
        answered = await self.expect(Abort)
        if answered.reason != reason:
            raise RemoteProtocolError(f"{self.role.peer.label} agrees to an abort for another reason.")
        await self.expect_checkpoint()
        raise BlockRefused(Aborted(reason, detail, by_peer=False))

    async def _agree_to(self, abort: Abort) -> NoReturn:
        await self.expect_checkpoint()
        await self.say(Abort(reason=abort.reason, detail=abort.detail))
        await self.say_checkpoint()
        raise BlockRefused(Aborted(abort.reason, abort.detail, by_peer=True))

    async def _verify(self, message: Message) -> None:
        """Check the peer's tag wherever one arrives: no step can forget to."""
        if isinstance(message, Abort) and self.phase in ABORTABLE:
            self._check_reason(message)
        if not isinstance(message, Checkpoint):
            return
        speaker = self.role.peer
        if message.scheme != self._scheme.name:
            raise RemoteProtocolError(
                f"{speaker.label} authenticates with {message.scheme}, this node with {self._scheme.name}."
            )
        if message.position != self.checkpoints:
            raise RemoteProtocolError(
                f"{speaker.label} tags checkpoint {message.position} where {self.checkpoints} is due."
            )
        if message.pad and not uses_units(message.scheme):
            raise RemoteProtocolError(
                f'{speaker.label} names the unit "{message.pad}" for a tag, and {message.scheme} uses none.'
            )
        tag = Tag(message.tag, message.pad)
        if not await self._scheme.verify(speaker, message.position, self.transcript, tag):
            raise RemoteProtocolError(
                f"The tag of checkpoint {self.checkpoints} is wrong: {speaker.label} did not say or hear"
                " what arrived here."
            )

    def _check_reason(self, abort: Abort) -> None:
        """Refuse a reason that nobody says, or that cannot be found in this phase; one of another version passes."""
        phases = REASON_PHASES.get(abort.reason)
        if phases is not None and self.phase not in phases:
            raise RemoteProtocolError(
                f"{self.role.peer.label} aborts for the reason {abort.reason}, which is not said in phase {self.phase}."
            )


def _name(kind: type[Message]) -> str:
    return cast("str", kind.model_fields["type"].default)
