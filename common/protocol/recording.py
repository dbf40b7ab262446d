"""From the account of a block to its record (`qkdlink.common.journal.block_record`): nothing is computed anew here."""

from collections.abc import Iterator
from dataclasses import asdict
from math import isfinite

from qkdlink.common.distillation.monitors import Look
from qkdlink.common.journal.block_record import (
    BlockCounts,
    BoundTerms,
    Charges,
    MonitorReading,
    MonitorRecord,
    RecordedBound,
    RecordedOutcome,
    RecordedParameters,
    Removal,
)
from qkdlink.common.printable import printable
from qkdlink.common.protocol.aborts import Aborted
from qkdlink.common.protocol.account import Account
from qkdlink.common.protocol.key_length import Reckoning
from qkdlink.common.protocol.parameters import LinkParameters
from qkdlink.common.wire.messages import LONGEST_SENTENCE

STAGES = ("transmit", "sift", "estimate", "reconcile", "verify", "amplify", "confirm")
"""As in the two columns, in their order."""


def recorded_parameters(parameters: LinkParameters) -> RecordedParameters:
    """Return what decides the length, of all that both sides had agreed on."""
    return RecordedParameters(
        **{
            name: getattr(parameters, name)
            for name in RecordedParameters.model_fields
            if name != "monitors_off"
        },
        monitors_off=tuple(map(str, parameters.monitors_off)),
    )


def recorded_counts(account: Account) -> BlockCounts:
    """Return the counts that the block came to."""
    estimate = account.estimate
    return BlockCounts(
        pulses=account.pulses,
        emitted=account.emitted,
        detected=account.detected,
        key_detections=() if estimate is None else estimate.key_detections,
        test_detections=() if estimate is None else estimate.test_detections,
        test_errors=() if estimate is None else estimate.test_errors,
        key_errors=account.key_errors or (),
    )


def removals(account: Account, outcome: Aborted | int) -> tuple[Removal, ...]:
    """Return what each stage took off, down to the secret bits or to nothing."""
    return tuple(each for each in _removals(account, outcome) if each.events)


def _removals(account: Account, outcome: Aborted | int) -> Iterator[Removal]:
    left = account.pulses
    if account.detections is not None:
        yield Removal(stage="transmit", reason="no-click", events=left - account.detections)
        left = account.detections
    if account.emitted:
        matched = account.sifted_bits + account.test_bits
        yield Removal(stage="sift", reason="bases-differ", events=left - matched)
        left = matched
    if account.estimate is not None:
        yield Removal(stage="estimate", reason="test-basis", events=account.test_bits)
        left = account.sifted_bits
    kept = account.amplified_bits if isinstance(outcome, Aborted) else outcome
    if kept is not None:
        yield Removal(stage="amplify", reason="privacy-amplification", events=left - kept)
        left = kept
    if isinstance(outcome, Aborted):
        yield Removal(stage=_stage_after(account.stage), reason=outcome.reason, events=left)


def _stage_after(stage: str) -> str:
    following = STAGES.index(stage) + 1 if stage else 0
    return STAGES[min(following, len(STAGES) - 1)]


def recorded_charges(account: Account) -> Charges | None:
    """Return what was disclosed; None before the key was verified, when the sum is not known."""
    if account.tag_bits is None:
        return None
    return Charges(
        disclosed_parities=account.parities,
        verification_tag_bits=account.tag_bits,
        tag_surplus_bits=account.leaked_bits - account.parities,
        leaked_bits=account.leaked_bits,
    )


def recorded_bound(reckoning: Reckoning | None) -> RecordedBound | None:
    """Return the bound with what it was computed from."""
    if reckoning is None:
        return None
    counted, terms, length = reckoning.statistics, reckoning.terms, reckoning.length
    before = counted.key_errors is None
    return RecordedBound(
        method=reckoning.bound.name,
        sampling=reckoning.bound.sampling.value,
        when="estimate" if before else "amplify",
        eps_sec=terms.eps_sec,
        eps_cor=terms.eps_cor,
        tolerated_qber=terms.tolerated_qber,
        key_detections=_whole(counted.key_detections),
        key_errors=() if counted.key_errors is None else _whole(counted.key_errors),
        test_detections=_whole(counted.test_detections),
        test_errors=_whole(counted.test_errors),
        leaked_bits=int(terms.leaked_bits),
        terms=None if length.terms is None else BoundTerms(**asdict(length.terms)),
        length_bits=length.balance_bits if isfinite(length.balance_bits) else None,
        secret_bits=length.secret_bits,
        contradiction=length.contradiction,
    )


def _whole(counts: tuple[float, ...]) -> tuple[int, ...]:
    return tuple(map(int, counts))


def recorded_monitors(
    parameters: LinkParameters, looks: tuple[Look, ...], outcome: Aborted | int
) -> tuple[MonitorRecord, ...]:
    """Return what each monitor of this protocol saw, and which of them this node has refused the block for."""
    refused = outcome.reason if isinstance(outcome, Aborted) and not outcome.by_peer else None
    return tuple(
        MonitorRecord(
            name=str(look.monitor),
            on=look.monitor not in parameters.monitors_off,
            readings=tuple(MonitorReading.model_validate(asdict(reading)) for reading in look.readings),
            alarmed=look.alarm is not None,
            refused=look.alarm is not None and look.monitor == refused,
        )
        for look in looks
        if look.monitor in parameters.variant.monitors
    )


def recorded_outcome(account: Account, outcome: Aborted | int) -> RecordedOutcome:
    """Return how the block ended."""
    if isinstance(outcome, Aborted):
        return RecordedOutcome(
            secret_bits=0,
            reserve_bits=0,
            aborted=outcome.reason,
            detail=printable(outcome.detail, LONGEST_SENTENCE),
            by_peer=outcome.by_peer,
        )
    return RecordedOutcome(
        secret_bits=outcome, reserve_bits=account.reserve_bits, aborted=None, detail=None, by_peer=False
    )
