"""Nature or policy says no: a value that is told to the peer, journalled and counted, never an error."""

from dataclasses import dataclass
from enum import StrEnum


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
