"""Nature or policy says no: a value that is told to the peer, journalled and counted, never an error."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from qkdlink.common.distillation.monitors import Monitor
from qkdlink.common.protocol.phases import BlockPhase


class AbortReason(StrEnum):
    """Why a block ended without a key; the words stand in messages, journal and tables."""

    LIGHT_LOST = "light-lost"
    TOO_FEW_DETECTIONS = "too-few-detections"
    QBER_ABOVE_TOLERATED = "qber-above-tolerated"
    NO_SECRET_BITS = "no-secret-bits"  # noqa: S105 - a reason, not a secret
    PARITY_BUDGET_EXHAUSTED = "parity-budget-exhausted"
    VERIFICATION_FAILED = "verification-failed"
    LENGTHS_DISAGREE = "lengths-disagree"
    CONNECTION_LOST = "connection-lost"
    PROTOCOL_BROKEN = "protocol-broken"
    STARVED = "starved"
    """No generated key is left to authenticate with."""
    PENDING = "pending"
    """Not lost: stored here, and settled with the peer at the next contact."""
    FAULT = "fault"
    """This program failed, not the link."""
    STOPPED = "stopped"


_BOB_ESTIMATED, _ALICE_BOUND = BlockPhase.ESTIMATED, BlockPhase.VERIFIED

REASON_PHASES: Mapping[str, frozenset[BlockPhase]] = {
    AbortReason.LIGHT_LOST: frozenset({BlockPhase.LIGHT_ON, BlockPhase.LIGHT_OFF}),
    AbortReason.TOO_FEW_DETECTIONS: frozenset({BlockPhase.LIGHT_OFF}),
    AbortReason.QBER_ABOVE_TOLERATED: frozenset({_BOB_ESTIMATED}),
    AbortReason.NO_SECRET_BITS: frozenset({_BOB_ESTIMATED, _ALICE_BOUND}),
    AbortReason.PARITY_BUDGET_EXHAUSTED: frozenset({BlockPhase.PARITIES_ASKED}),
    AbortReason.VERIFICATION_FAILED: frozenset({BlockPhase.HASH_SHOWN}),
    AbortReason.LENGTHS_DISAGREE: frozenset({BlockPhase.AMPLIFIED}),
    **dict.fromkeys(Monitor, frozenset({_BOB_ESTIMATED})),
    Monitor.QBER: frozenset({_BOB_ESTIMATED, _ALICE_BOUND}),
    Monitor.OUTLET_WATCHDOG: frozenset({BlockPhase.LIGHT_ON}),
    # these stand in an account alone: there is nobody to say them to
    AbortReason.CONNECTION_LOST: frozenset(),
    AbortReason.PROTOCOL_BROKEN: frozenset(),
    AbortReason.STARVED: frozenset(),
    AbortReason.PENDING: frozenset(),
    AbortReason.FAULT: frozenset(),
    AbortReason.STOPPED: frozenset(),
}
"""In which phases a block is aborted for a reason, which also says by whom: by whoever has the word there."""


@dataclass(frozen=True, slots=True)
class Aborted:
    """A block that ended without a key."""

    reason: str
    detail: str
    by_peer: bool


class BlockRefused(Exception):  # noqa: N818 - a way out of a stage, caught by `distil`, never an error
    """Leaves the stage in which a block was refused; the abort has been settled with the peer."""

    def __init__(self, aborted: Aborted) -> None:
        super().__init__(aborted.detail)
        self.aborted = aborted


class LightLost(Exception):  # noqa: N818 - a verdict of the apparatus on this block's light
    """The light of this block did not all come through; the block is void, and nothing of it is attenuation."""
