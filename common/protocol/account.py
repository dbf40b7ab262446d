"""The account of a block: what each stage found, kept while it happens so that an aborted block has one too."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from qkdlink.common.distillation.reconciliation.efficiency import efficiency
from qkdlink.common.distillation.stages import Counts, Estimate, ReconciledKey, SiftedKey
from qkdlink.common.journal.events import BlockEnded
from qkdlink.common.keys.identifiers import BlockId
from qkdlink.common.protocol.aborts import Aborted


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
    detections: int = 0
    gains: dict[str, float] = field(default_factory=dict)
    sifted_bits: int = 0
    qber_test: float | None = None
    key_errors: int | None = None
    leaked_bits: int = 0
    exchanges: int = 0

    def sifted(
        self, sifted: SiftedKey, class_names: Sequence[str], emitted: Counts, detected: Counts
    ) -> None:
        """Enter the sifted key and the gain of each class over all basis pairs (clicked gates per emitted)."""
        self.sifted_bits = len(sifted.key_bits)
        self.gains = {
            name: clicks / pulses
            for name, clicks, pulses in zip(class_names, detected, emitted, strict=True)
            if pulses
        }

    def estimated(self, estimate: Estimate) -> None:
        """Enter the error rate of the test basis."""
        self.qber_test = estimate.qber_test

    def reconciled(self, reconciled: ReconciledKey, exchanges: int) -> None:
        """Enter corrected errors, disclosed parities, and how many questions and answers it took."""
        self.key_errors = sum(reconciled.key_errors)
        self.leaked_bits = reconciled.leaked_bits
        self.exchanges = exchanges

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
        qber_key = (
            self.key_errors / self.sifted_bits if self.sifted_bits and self.key_errors is not None else None
        )
        return BlockEnded(
            block_id=str(block),
            number=block.number,
            pulses=self.pulses,
            detections=self.detections,
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
