"""Two engines in memory, under every illegal message in every phase: refused, and nothing has changed."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial

import pytest

from qkdlink.common.authentication.scheme import Tag
from qkdlink.common.authentication.transcript import Transcript
from qkdlink.common.errors import LocalProtocolError, RemoteProtocolError
from qkdlink.common.protocol.aborts import REASON_PHASES, AbortReason, BlockRefused
from qkdlink.common.protocol.conversation import MOST_CHECKPOINTS, BlockConversation, Conversation, Place
from qkdlink.common.protocol.phases import (
    ABORTABLE,
    BLOCK_TABLE,
    FINAL_PHASES,
    LINK_TABLE,
    BlockPhase,
    LinkPhase,
    Move,
    Phase,
    Table,
    speaker_in,
)
from qkdlink.common.protocol.roles import Role
from qkdlink.common.wire.framing import Envelope, decode, encode
from qkdlink.common.wire.messages import (
    MESSAGE_TYPES,
    Abort,
    BlockAccepted,
    Checkpoint,
    Goodbye,
    Hello,
    Holdings,
    LightEnded,
    Message,
    OpenBlock,
)
from tests.support.lines import MemoryLine, Room
from tests.support.samples import SAMPLES
from tests.support.schemes import signature_schemes

PLACE = Place("link", "5e" * 16, 7)


class Engines:
    """Two ends of one conversation; frames can be forged on the way to either."""

    def __init__(self, table: Table = BLOCK_TABLE) -> None:
        room = Room(["alice", "bob"])
        self.sent: list[bytes] = []
        self.lines = {role: MemoryLine(room, role.word, partial(self._carry, role)) for role in Role}
        schemes = signature_schemes()
        self.ends: dict[Role, Conversation] = {
            role: BlockConversation(role, PLACE, self.lines[role], schemes[role])
            if table is BLOCK_TABLE
            else Conversation(role, table, LinkPhase.CONNECTED, PLACE, self.lines[role])
            for role in Role
        }

    def _carry(self, role: Role, frame: bytes) -> None:
        self.sent.append(frame)
        self.lines[role.peer].deliver(frame)

    async def go(self, course: tuple[Move, ...]) -> None:
        """Follow a legal course, both saying and hearing each message."""
        for move in course:
            speaker, listener = self.ends[move.speaker], self.ends[move.speaker.peer]
            if move.message is Checkpoint:
                assert isinstance(speaker, BlockConversation)
                await speaker.say_checkpoint()
            else:
                await speaker.say(SAMPLES[move.message])
            if move.message is Abort:  # heard alone, without the settlement that follows by itself
                await Conversation.hear(listener, Abort)
            else:
                await listener.hear(move.message)

    async def forge(self, speaker: Role, message: Message, **changes: object) -> None:
        """Let a message arrive that was never said, in the place that is due; the listener hears it."""
        due = Envelope(PLACE.session, PLACE.block, self.ends[speaker]._said[speaker], message)
        self.lines[speaker.peer].deliver(encode(replace(due, **changes)))  # type: ignore[arg-type]
        await self.ends[speaker.peer].hear(*MESSAGE_TYPES)

    @property
    def state(self) -> list[object]:
        """Everything that a refusal must not change."""
        return [
            (
                end.phase,
                end.transcript.sha256(),
                len(end.transcript),
                dict(end._said),
                getattr(end, "checkpoints", 0),
                end.ended,
            )
            for end in self.ends.values()
        ]


@lru_cache
def course(start: Phase, *goals: Phase) -> tuple[Move, ...]:
    """The shortest legal course from one phase to any of the goals."""
    table = BLOCK_TABLE if isinstance(start, BlockPhase) else LINK_TABLE
    waiting: deque[tuple[Phase, tuple[Move, ...]]] = deque([(start, ())])
    seen = {start}
    while waiting:
        phase, so_far = waiting.popleft()
        if phase in goals:
            return so_far
        for (row, move), following in table.items():
            if row is phase and following not in seen:
                seen.add(following)
                waiting.append((following, (*so_far, move)))
    raise AssertionError(f"there is no way from {start} to {goals}")


def illegal_in(phase: Phase, table: Table) -> Iterator[Move]:
    for speaker in Role:
        for kind in MESSAGE_TYPES:
            if (phase, Move(speaker, kind)) not in table:
                yield Move(speaker, kind)


PHASES = [(phase, BLOCK_TABLE, BlockPhase.NEW) for phase in BlockPhase] + [
    (phase, LINK_TABLE, LinkPhase.CONNECTED) for phase in LinkPhase
]


@pytest.mark.parametrize(("phase", "table", "first"), PHASES, ids=lambda value: str(value)[:24])
async def test_every_illegal_message_of_either_is_refused_on_both_sides_and_changes_nothing(
    phase: Phase, table: Table, first: Phase
):
    engines = Engines(table)
    await engines.go(course(first, phase))
    before, sent = engines.state, len(engines.sent)
    for move in illegal_in(phase, table):
        with pytest.raises(LocalProtocolError, match="may not say"):
            await engines.ends[move.speaker].say(SAMPLES[move.message])
        with pytest.raises(RemoteProtocolError, match="may not say"):
            await engines.forge(move.speaker, SAMPLES[move.message])
        assert engines.state == before
        assert len(engines.sent) == sent
    await engines.go(course(phase, *FINAL_PHASES))
    assert all(end.ended for end in engines.ends.values())
    assert len({end.transcript.sha256() for end in engines.ends.values()}) == 1


def test_only_final_phases_leave_nothing_to_say():
    for phase, table, _ in PHASES:
        count = len(list(illegal_in(phase, table)))
        assert (count == 2 * len(MESSAGE_TYPES)) == (phase in FINAL_PHASES)


@pytest.mark.parametrize("phase", [phase for phase in BlockPhase if phase not in FINAL_PHASES])
@pytest.mark.parametrize(
    "changes",
    [
        {"session": "77" * 16},
        {"block": 8},
        {"block": 0},
        {"sequence": 99},
    ],
    ids=lambda changes: "another " + "".join(changes),
)
async def test_a_legal_message_of_another_place_is_refused_in_every_phase_and_changes_nothing(
    phase: BlockPhase, changes: dict[str, object]
):
    engines = Engines()
    await engines.go(course(BlockPhase.NEW, phase))
    before = engines.state
    for row, move in BLOCK_TABLE:
        if row is phase:
            with pytest.raises(RemoteProtocolError, match=r"another session or block|was due"):
                await engines.forge(move.speaker, SAMPLES[move.message], **changes)
            assert engines.state == before
    await engines.go(course(phase, *FINAL_PHASES))


@dataclass(frozen=True, slots=True)
class Forgery:
    """A checkpoint that differs from the right one in one respect."""

    position: int = 0
    scheme: str = "certificate-signature"
    speaker: Role = Role.BOB
    place: Place = PLACE
    more_said: bool = False
    pad: str = ""

    async def message(self, engines: Engines, tag_of: Role = Role.BOB) -> Checkpoint:
        transcript = Transcript(self.place.heading)
        for role, frame in said_before_the_first_checkpoint(engines):
            transcript.append(role, frame)
        if self.more_said:
            transcript.append(Role.BOB, b"")
        tag = await signature_schemes()[tag_of].tag(self.speaker, self.position, transcript)
        return Checkpoint(position=self.position, scheme=self.scheme, pad=self.pad, tag=tag.value)


def said_before_the_first_checkpoint(engines: Engines) -> Iterator[tuple[Role, bytes]]:
    for move, frame in zip(
        course(BlockPhase.NEW, BlockPhase.DETECTIONS_ANNOUNCED), engines.sent, strict=True
    ):
        yield move.speaker, frame


FORGERIES = {
    "of another position": Forgery(position=1),
    "of another scheme": Forgery(scheme="hmac-sha-256"),
    "of the other direction": Forgery(speaker=Role.ALICE),
    "of another link": Forgery(place=replace(PLACE, link="other")),
    "of another session": Forgery(place=replace(PLACE, session="77" * 16)),
    "of another block": Forgery(place=replace(PLACE, block=8)),
    "over another transcript": Forgery(more_said=True),
    "with a pad that the scheme has not": Forgery(pad="5e/1/tags-bob-to-alice/0"),
}

WHY = {
    "of another position": "tags checkpoint 1 where 0 is due",
    "of another scheme": "authenticates with hmac-sha-256",
    "with a pad that the scheme has not": '0" for a tag, and certificate-signature uses none',
}


async def announced() -> Engines:
    engines = Engines()
    await engines.go(course(BlockPhase.NEW, BlockPhase.DETECTIONS_ANNOUNCED))
    return engines


@pytest.mark.parametrize("name", FORGERIES)
async def test_a_tag_is_refused_and_changes_nothing(name: str):
    engines = await announced()
    before = engines.state
    with pytest.raises(RemoteProtocolError, match=WHY.get(name, "is wrong")):
        await engines.forge(Role.BOB, await FORGERIES[name].message(engines))
    assert engines.state == before
    await engines.go(course(BlockPhase.DETECTIONS_ANNOUNCED, *FINAL_PHASES))


async def test_the_same_tag_without_a_difference_is_taken():
    engines = await announced()
    await engines.forge(Role.BOB, await Forgery().message(engines))
    assert engines.ends[Role.ALICE].phase is BlockPhase.DETECTIONS_SEALED


async def test_a_tag_made_with_our_own_key_is_not_the_peers():
    engines = await announced()
    with pytest.raises(RemoteProtocolError, match="is wrong"):
        await engines.forge(Role.BOB, await Forgery().message(engines, tag_of=Role.ALICE))


async def test_a_tag_is_verified_whichever_way_a_checkpoint_is_heard():
    engines = await announced()
    alice = engines.ends[Role.ALICE]
    engines.lines[Role.ALICE].deliver(encode(Envelope(PLACE.session, PLACE.block, 1, SAMPLES[Checkpoint])))
    with pytest.raises(RemoteProtocolError):
        await alice.expect(Checkpoint)
    assert alice.phase is BlockPhase.DETECTIONS_ANNOUNCED


async def test_a_legal_message_that_is_not_the_awaited_one_is_refused_and_changes_nothing():
    engines = Engines()
    alice, bob = engines.ends[Role.ALICE], engines.ends[Role.BOB]
    await alice.say(SAMPLES[OpenBlock])
    before = engines.state
    with pytest.raises(RemoteProtocolError, match="said open-block where light-ended or abort was due"):
        await bob.expect(LightEnded)
    assert engines.state == before
    engines.lines[Role.BOB].deliver(engines.sent[0])
    with pytest.raises(RemoteProtocolError, match="where light-ended or block-accepted or abort was due"):
        await bob.expect_either(LightEnded, BlockAccepted)
    assert engines.state == before
    engines.lines[Role.BOB].deliver(engines.sent[0])
    assert await bob.expect_either(LightEnded, OpenBlock) == SAMPLES[OpenBlock]


async def test_a_malformed_frame_changes_nothing():
    engines = Engines()
    before = engines.state
    engines.lines[Role.BOB].deliver(b"\0" * 9)
    with pytest.raises(RemoteProtocolError, match="malformed"):
        await engines.ends[Role.BOB].expect(OpenBlock)
    assert engines.state == before


async def test_a_checkpoint_that_may_not_be_said_is_not_even_tagged():
    class Jealous:
        name = "jealous"

        async def tag(self, *_: object) -> Tag:
            raise AssertionError("a tag was spent")

        async def verify(self, *_: object) -> bool:
            raise AssertionError

    line = Engines().lines[Role.ALICE]
    alice = BlockConversation(Role.ALICE, PLACE, line, Jealous())
    with pytest.raises(LocalProtocolError, match="may not say checkpoint in phase new"):
        await alice.say_checkpoint()


async def test_a_ninth_checkpoint_is_not_said():
    engines = await announced()
    bob = engines.ends[Role.BOB]
    assert isinstance(bob, BlockConversation)
    bob.checkpoints = MOST_CHECKPOINTS
    before = engines.state
    with pytest.raises(LocalProtocolError, match="at most 8 checkpoints"):
        await bob.say_checkpoint()
    assert engines.state == before


async def test_an_abort_out_of_turn_is_refused_before_anything_is_sent():
    engines = Engines()
    alice = engines.ends[Role.ALICE]
    assert isinstance(alice, BlockConversation)
    with pytest.raises(LocalProtocolError, match="may not say abort in phase new"):
        await alice.abort(AbortReason.STOPPED, "not begun")
    assert engines.sent == []


UNSPOKEN = ("connection-lost", "protocol-broken", "starved", "pending", "fault", "stopped")
FOUND = ("light-lost", "verification-failed", "no-secret-bits", "outlet-watchdog", "gain")


@pytest.mark.parametrize("reason", [*UNSPOKEN, *FOUND])
@pytest.mark.parametrize("phase", ABORTABLE)
async def test_a_reason_to_abort_is_taken_only_where_it_can_be_found(phase: BlockPhase, reason: str):
    engines = Engines()
    await engines.go(course(BlockPhase.NEW, phase))
    before, speaker = engines.state, speaker_in(phase, BLOCK_TABLE)
    assert speaker is not None
    abort = Abort(reason=reason, detail="")
    if phase in REASON_PHASES[reason]:
        assert reason in FOUND
        await engines.ends[speaker].say(abort)
        assert await Conversation.hear(engines.ends[speaker.peer], Abort) == abort
        return
    with pytest.raises(RemoteProtocolError, match=f"the reason {reason}, which is not said in phase {phase}"):
        await engines.forge(speaker, abort)
    assert engines.state == before


async def test_a_message_that_was_said_before_its_turn_is_refused_although_it_is_legal_by_now():
    engines = Engines()
    alice, bob = engines.ends[Role.ALICE], engines.ends[Role.BOB]
    await engines.go(course(BlockPhase.NEW, BlockPhase.OPENED))
    early = encode(Envelope(PLACE.session, PLACE.block, 1, SAMPLES[LightEnded]))
    engines.lines[Role.BOB].deliver(early)
    await bob.say(SAMPLES[BlockAccepted])
    await alice.hear(BlockAccepted)
    before = engines.state
    with pytest.raises(RemoteProtocolError, match="Alice said light-ended before its turn"):
        await bob.hear(LightEnded)
    assert engines.state == before
    engines.lines[Role.BOB].deliver(early)
    assert await bob.hear(LightEnded) == SAMPLES[LightEnded]


async def test_an_abort_with_a_wrong_tag_is_not_agreed_to():
    engines = Engines()
    await engines.go(course(BlockPhase.NEW, BlockPhase.OPENED))
    alice = engines.ends[Role.ALICE]
    for sequence, message in enumerate((SAMPLES[Abort], SAMPLES[Checkpoint])):
        engines.lines[Role.ALICE].deliver(encode(Envelope(PLACE.session, PLACE.block, sequence, message)))
    with pytest.raises(RemoteProtocolError, match="tag of checkpoint 0 is wrong"):
        await alice.expect(BlockAccepted)
    assert len(engines.sent) == 1, "nothing but the opening"


async def test_a_settled_abort_leaves_by_its_own_way_out():
    engines = Engines()
    await engines.go(course(BlockPhase.NEW, BlockPhase.OPENED))
    alice, bob = engines.ends[Role.ALICE], engines.ends[Role.BOB]
    assert isinstance(bob, BlockConversation)
    await bob.say(SAMPLES[Abort])
    await bob.say_checkpoint()
    with pytest.raises(BlockRefused) as refused:
        await alice.expect(BlockAccepted)
    assert (refused.value.aborted.reason, refused.value.aborted.by_peer) == ("of-a-later-version", True)
    assert [decode(frame).envelope.sequence for frame in engines.sent] == [0, 0, 1, 1, 2]


def test_greetings_and_goodbyes_belong_to_the_link_alone():
    assert {move.message for _, move in LINK_TABLE} == {Hello, Holdings, Goodbye}
