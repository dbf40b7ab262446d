"""The account of a block: what each stage found, kept while it happens so that an aborted block has one too."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from qkdlink.common.distillation.finite_key import KeyLength
from qkdlink.common.distillation.monitors import Look
from qkdlink.common.distillation.reconciliation.efficiency import efficiency
from qkdlink.common.distillation.stages import (
    Counts,
    Estimate,
    ReconciledKey,
    SecretKey,
    SiftedKey,
    VerifiedKey,
)
from qkdlink.common.journal.events import BlockEnded
from qkdlink.common.keys.identifiers import BlockId
from qkdlink.common.protocol.aborts import Aborted
from qkdlink.common.protocol.key_length import Reckoning


@dataclass(frozen=True, slots=True)
class Said:
    """What a block's conversation took: bytes in both directions, and what its tags took of bytes and time."""

    bytes: int
    authentication_bytes: int
    authentication_seconds: float


NOTHING_SAID = Said(0, 0, 0.0)


@dataclass(slots=True)
class Account:
    """Filled stage by stage; numbers of stages that were not reached stay at their beginning."""

    pulses: int = 0
    detections: int | None = None
    emitted: Counts = ()
    detected: Counts = ()
    gains: dict[str, float] = field(default_factory=dict)
    sifted_bits: int = 0
    test_bits: int = 0
    estimate: Estimate | None = None
    looks: tuple[Look, ...] = field(default=(), compare=False)
    """What the monitors of this node have seen; what both know is the same on both sides."""
    key_errors: Counts | None = None
    parities: int = 0
    leaked_bits: int = 0
    tag_bits: int | None = None
    """None before the key is verified."""
    exchanges: int = 0
    reckoning: Reckoning | None = field(default=None, compare=False)
    """The last one that this node has made."""
    amplified_bits: int | None = None
    reserve_bits: int = 0
    stage: str = ""
    """The last one that the block has left."""

    def sifted(
        self, sifted: SiftedKey, class_names: Sequence[str], emitted: Counts, detected: Counts
    ) -> None:
        """Enter the sifted key and the gain of each class over all basis pairs (clicked gates per emitted)."""
        self.sifted_bits, self.test_bits = len(sifted.key_bits), len(sifted.test_bits)
        self.emitted, self.detected = emitted, detected
        self.gains = {
            name: clicks / pulses
            for name, clicks, pulses in zip(class_names, detected, emitted, strict=True)
            if pulses
        }

    @property
    def qber_test(self) -> float | None:
        """Error rate of the test basis, 0..1; None before it was shown, and without a test bit."""
        return None if self.estimate is None else self.estimate.qber_test

    def watched(self, *looks: Look) -> None:
        """Enter what monitors have seen."""
        self.looks += looks

    def reckoned(self, reckoning: Reckoning) -> KeyLength:
        """Enter what the bound leaves, with everything that it rests on, and return the length."""
        self.reckoning = reckoning
        return reckoning.length

    def reconciled(self, reconciled: ReconciledKey, exchanges: int) -> None:
        """Enter corrected errors, disclosed parities, and how many questions and answers it took."""
        self.key_errors = reconciled.key_errors
        self.parities = self.leaked_bits = reconciled.leaked_bits
        self.exchanges = exchanges

    def verified(self, verified: VerifiedKey) -> None:
        """Enter the tag, and what it costs beside the parities."""
        self.leaked_bits, self.tag_bits = verified.leaked_bits, verified.tag_bits

    def amplified(self, secret: SecretKey) -> None:
        """Enter how much is left."""
        self.amplified_bits, self.reserve_bits = secret.secret_bits, secret.reserve_bits

    def close(
        self,
        block: BlockId,
        outcome: Aborted | int,
        authenticated_by: str,
        seconds: float,
        said: Said = NOTHING_SAID,
    ) -> BlockEnded:
        """Write the account of a block that ended in `outcome`: secret bits, or the abort."""
        aborted = outcome if isinstance(outcome, Aborted) else None
        known = self.sifted_bits and self.key_errors is not None
        qber_key = sum(self.key_errors or ()) / self.sifted_bits if known else None
        return BlockEnded(
            block_id=str(block),
            number=block.number,
            pulses=self.pulses,
            detections=self.detections or 0,
            sifted_bits=self.sifted_bits,
            qber_key=qber_key,
            qber_test=self.qber_test,
            gains=self.gains,
            leaked_bits=self.leaked_bits,
            efficiency=None if qber_key is None else efficiency(self.leaked_bits, self.sifted_bits, qber_key),
            secret_bits=0 if isinstance(outcome, Aborted) else outcome,
            aborted=aborted.reason if aborted else None,
            detail=aborted.detail if aborted else None,
            authenticated_by=authenticated_by,
            exchanges=self.exchanges,
            classical_bytes=said.bytes,
            authentication_bytes=said.authentication_bytes,
            authentication_seconds=said.authentication_seconds,
            seconds=seconds,
        )
