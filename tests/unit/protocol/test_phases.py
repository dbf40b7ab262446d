from collections import deque

import pytest

from qkdlink.common.protocol.conversation import MOST_CHECKPOINTS
from qkdlink.common.protocol.phases import (
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
from qkdlink.common.wire.messages import (
    MESSAGE_TYPES,
    Abort,
    AmplificationSeed,
    BasisAnnouncement,
    Checkpoint,
    Message,
    TestBits,
    VerificationHash,
)

TABLES: dict[str, tuple[Table, Phase]] = {
    "link": (LINK_TABLE, LinkPhase.CONNECTED),
    "block": (BLOCK_TABLE, BlockPhase.NEW),
}


def moves_from(phase: Phase, table: Table) -> dict[Move, Phase]:
    return {move: following for (row, move), following in table.items() if row is phase}


def reachable(table: Table, first: Phase) -> set[Phase]:
    found, waiting = {first}, deque([first])
    while waiting:
        for following in moves_from(waiting.popleft(), table).values():
            if following not in found:
                found.add(following)
                waiting.append(following)
    return found


@pytest.mark.parametrize("name", TABLES)
def test_every_phase_can_be_reached_and_none_but_the_final_ones_is_a_dead_end(name: str):
    table, first = TABLES[name]
    phases = reachable(table, first)
    assert phases == set(LinkPhase if name == "link" else BlockPhase)
    assert {phase for phase in phases if not moves_from(phase, table)} == FINAL_PHASES & phases


@pytest.mark.parametrize("phase", [phase for phase in BlockPhase if phase not in FINAL_PHASES])
def test_exactly_one_party_has_the_word_in_every_phase_of_a_block(phase: BlockPhase):
    assert {move.speaker for move in moves_from(phase, BLOCK_TABLE)} == {speaker_in(phase, BLOCK_TABLE)}


def test_either_may_end_a_link_and_nobody_has_the_word_when_it_has_ended():
    assert speaker_in(LinkPhase.CONNECTED, LINK_TABLE) is Role.ALICE
    assert speaker_in(LinkPhase.ESTABLISHED, LINK_TABLE) is None
    assert speaker_in(LinkPhase.ENDED, LINK_TABLE) is None
    assert speaker_in(BlockPhase.CONFIRMED, BLOCK_TABLE) is None


def test_every_type_of_message_has_a_place_in_one_table_only():
    link, block = ({move.message for _, move in table} for table in (LINK_TABLE, BLOCK_TABLE))
    assert link | block == set(MESSAGE_TYPES)
    assert not link & block


def test_a_block_can_be_aborted_by_whoever_has_the_word_until_a_key_may_be_in_a_store():
    straight = list(BlockPhase)
    stored = straight[straight.index(BlockPhase.BOB_STORED) : straight.index(BlockPhase.CONFIRMED) + 1]
    for phase in straight[: straight.index(BlockPhase.ALICE_ABORTS)]:
        aborts = [move for move in moves_from(phase, BLOCK_TABLE) if move.message is Abort]
        expected = [] if phase in {BlockPhase.NEW, *stored} else [Move(speaker(phase), Abort)]
        assert aborts == expected


@pytest.mark.parametrize("role", Role)
def test_an_abort_is_settled_by_two_messages_of_each(role: Role):
    phase = BlockPhase.ALICE_ABORTS if role is Role.ALICE else BlockPhase.BOB_ABORTS
    settlement = []
    while phase is not BlockPhase.ABORTED:
        ((move, phase),) = moves_from(phase, BLOCK_TABLE).items()  # type: ignore[assignment]
        settlement.append(move)
    assert settlement == [Move(role, Checkpoint), Move(role.peer, Abort), Move(role.peer, Checkpoint)]


def test_no_course_of_a_block_has_more_than_eight_checkpoints():
    assert max(most_checkpoints(BlockPhase.NEW, set())) == 6 <= MOST_CHECKPOINTS


def test_no_course_reaches_a_release_without_the_checkpoint_before_it():
    releases: dict[type[Message], BlockPhase] = {
        BasisAnnouncement: BlockPhase.DETECTIONS_SEALED,
        TestBits: BlockPhase.SIFTED,
        VerificationHash: BlockPhase.RECONCILED,
        AmplificationSeed: BlockPhase.RECONCILED,
    }
    for kind, sealed in releases.items():
        without = {
            row: following for row, following in BLOCK_TABLE.items() if sealed not in {row[0], following}
        }
        said_without = {
            move.message
            for phase in reachable(without, BlockPhase.NEW)
            for move in moves_from(phase, without)
        }
        assert kind not in said_without


def speaker(phase: BlockPhase) -> Role:
    found = speaker_in(phase, BLOCK_TABLE)
    assert found is not None
    return found


def most_checkpoints(phase: Phase, seen: set[Phase]) -> list[int]:
    """Checkpoints of every course from here; the only circle, reconciliation, holds none."""
    courses = [
        (move.message is Checkpoint) + count
        for move, following in moves_from(phase, BLOCK_TABLE).items()
        if following not in seen
        for count in most_checkpoints(following, {*seen, phase})
    ]
    return courses or [0]
