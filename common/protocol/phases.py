"""The table: in each phase, who may say what, and which phase follows. Nothing else is legal.

It is role-free: both parties police their own words and the peer's against the same rows. Exactly one party has the
word in every phase, so both see the messages of a block in the same order, which is what makes one transcript of two
directions possible. The pictures in `docs/protocol.md` are drawn from these rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from qkdlink.common.protocol.roles import Role
from qkdlink.common.wire import messages as say
from qkdlink.common.wire.messages import Message


class LinkPhase(StrEnum):
    """Phases of a connection."""

    CONNECTED = "connected"
    GREETED = "greeted"
    MET = "met"
    ALICE_CLAIMED = "alice-claimed"
    BOB_ANSWERED = "bob-answered"
    ESTABLISHED = "established"
    ENDED = "ended"


class BlockPhase(StrEnum):
    """Phases of a block, in order; each name says what has happened so far."""

    NEW = "new"
    OPENED = "opened"
    LIGHT_ON = "light-on"
    LIGHT_OFF = "light-off"
    DETECTIONS_ANNOUNCED = "detections-announced"
    DETECTIONS_SEALED = "detections-sealed"
    BASES_ANNOUNCED = "bases-announced"
    SIFTED = "sifted"
    BOB_SHOWED_TEST_BITS = "bob-showed-test-bits"
    ESTIMATED = "estimated"
    RECONCILING = "reconciling"
    PARITIES_ASKED = "parities-asked"
    CORRECTED = "corrected"
    RECONCILED = "reconciled"
    HASH_SHOWN = "hash-shown"
    VERIFIED = "verified"
    SEED_SHOWN = "seed-shown"
    AMPLIFIED = "amplified"
    BOB_STORED = "bob-stored"
    BOB_CONFIRMED = "bob-confirmed"
    ALICE_STORED = "alice-stored"
    CONFIRMED = "confirmed"
    ALICE_ABORTS = "alice-aborts"
    ALICE_ABORTED = "alice-aborted"
    BOB_AGREES = "bob-agrees"
    BOB_ABORTS = "bob-aborts"
    BOB_ABORTED = "bob-aborted"
    ALICE_AGREES = "alice-agrees"
    ABORTED = "aborted"


type Phase = LinkPhase | BlockPhase


@dataclass(frozen=True, slots=True)
class Move:
    """One legal thing to say."""

    speaker: Role
    message: type[Message]


type Table = Mapping[tuple[Phase, Move], Phase]

_A, _B = Role.ALICE, Role.BOB
_P = BlockPhase

LINK_TABLE: Table = {
    (LinkPhase.CONNECTED, Move(_A, say.Hello)): LinkPhase.GREETED,
    (LinkPhase.GREETED, Move(_B, say.Hello)): LinkPhase.MET,
    (LinkPhase.GREETED, Move(_B, say.Goodbye)): LinkPhase.ENDED,
    # pending blocks of earlier connections are resolved before any new one is opened
    (LinkPhase.MET, Move(_A, say.Holdings)): LinkPhase.ALICE_CLAIMED,
    (LinkPhase.ALICE_CLAIMED, Move(_B, say.Holdings)): LinkPhase.BOB_ANSWERED,
    (LinkPhase.BOB_ANSWERED, Move(_A, say.Holdings)): LinkPhase.ESTABLISHED,
    (LinkPhase.ESTABLISHED, Move(_A, say.Goodbye)): LinkPhase.ENDED,
    (LinkPhase.ESTABLISHED, Move(_B, say.Goodbye)): LinkPhase.ENDED,
}

_COURSE: Table = {
    # transmit
    (_P.NEW, Move(_A, say.OpenBlock)): _P.OPENED,
    (_P.OPENED, Move(_B, say.BlockAccepted)): _P.LIGHT_ON,
    (_P.LIGHT_ON, Move(_A, say.LightEnded)): _P.LIGHT_OFF,
    # sift: no basis of Alice's before Bob's checkpoint over his complete announcement
    (_P.LIGHT_OFF, Move(_B, say.DetectionAnnouncement)): _P.DETECTIONS_ANNOUNCED,
    (_P.DETECTIONS_ANNOUNCED, Move(_B, say.Checkpoint)): _P.DETECTIONS_SEALED,
    (_P.DETECTIONS_SEALED, Move(_A, say.BasisAnnouncement)): _P.BASES_ANNOUNCED,
    (_P.BASES_ANNOUNCED, Move(_A, say.Checkpoint)): _P.SIFTED,
    # estimate
    (_P.SIFTED, Move(_B, say.TestBits)): _P.BOB_SHOWED_TEST_BITS,
    (_P.BOB_SHOWED_TEST_BITS, Move(_A, say.TestBits)): _P.ESTIMATED,
    # reconcile
    (_P.ESTIMATED, Move(_B, say.ReconciliationOpened)): _P.RECONCILING,
    (_P.RECONCILING, Move(_B, say.ParityQuestions)): _P.PARITIES_ASKED,
    (_P.PARITIES_ASKED, Move(_A, say.ParityAnswers)): _P.RECONCILING,
    (_P.RECONCILING, Move(_B, say.ReconciliationEnded)): _P.CORRECTED,
    (_P.CORRECTED, Move(_B, say.Checkpoint)): _P.RECONCILED,
    # verify: hash key and amplification seed only after the reconciliation checkpoint
    (_P.RECONCILED, Move(_A, say.VerificationHash)): _P.HASH_SHOWN,
    (_P.HASH_SHOWN, Move(_B, say.Verified)): _P.VERIFIED,
    # amplify
    (_P.VERIFIED, Move(_A, say.AmplificationSeed)): _P.SEED_SHOWN,
    (_P.SEED_SHOWN, Move(_A, say.Checkpoint)): _P.AMPLIFIED,
    # confirm
    (_P.AMPLIFIED, Move(_B, say.Confirmation)): _P.BOB_STORED,
    (_P.BOB_STORED, Move(_B, say.Checkpoint)): _P.BOB_CONFIRMED,
    (_P.BOB_CONFIRMED, Move(_A, say.Confirmation)): _P.ALICE_STORED,
    (_P.ALICE_STORED, Move(_A, say.Checkpoint)): _P.CONFIRMED,
}

_SETTLEMENT: Table = {
    # an abort, too, is settled by authenticated messages of both
    (_P.ALICE_ABORTS, Move(_A, say.Checkpoint)): _P.ALICE_ABORTED,
    (_P.ALICE_ABORTED, Move(_B, say.Abort)): _P.BOB_AGREES,
    (_P.BOB_AGREES, Move(_B, say.Checkpoint)): _P.ABORTED,
    (_P.BOB_ABORTS, Move(_B, say.Checkpoint)): _P.BOB_ABORTED,
    (_P.BOB_ABORTED, Move(_A, say.Abort)): _P.ALICE_AGREES,
    (_P.ALICE_AGREES, Move(_A, say.Checkpoint)): _P.ABORTED,
}

_LAST_ABORT = _P.AMPLIFIED
"""From Bob's confirmation on the key may be in a store: what happens then is settled by the stores, not by aborts."""


ABORTABLE: tuple[BlockPhase, ...] = tuple(BlockPhase)[
    tuple(BlockPhase).index(_P.OPENED) : tuple(BlockPhase).index(_LAST_ABORT) + 1
]
"""Phases in which the party that has the word may abort."""


def _aborts() -> Table:
    first_word = {phase: move.speaker for phase, move in _COURSE}
    return {
        (phase, Move(first_word[phase], say.Abort)): (
            _P.ALICE_ABORTS if first_word[phase] is _A else _P.BOB_ABORTS
        )
        for phase in ABORTABLE
    }


BLOCK_TABLE: Table = {**_COURSE, **_aborts(), **_SETTLEMENT}

FINAL_PHASES: frozenset[Phase] = frozenset({LinkPhase.ENDED, _P.CONFIRMED, _P.ABORTED})


def speaker_in(phase: Phase, table: Table) -> Role | None:
    """Who has the word in a phase; None if both may speak or the phase is final."""
    speakers = {move.speaker for row, move in table if row == phase}
    return speakers.pop() if len(speakers) == 1 else None
