"""The left column: a key block from light to secret key, as Alice lives it. Bob's column is `bob/steps.py`."""

import math
from dataclasses import replace
from typing import NamedTuple, Protocol

import numpy as np

from qkdlink.common.bits import pack, unpack
from qkdlink.common.distillation.amplification import amplification_seed_bits
from qkdlink.common.distillation.amplification import amplify as amplify_key
from qkdlink.common.distillation.estimation import estimate
from qkdlink.common.distillation.finite_key import KeyLength
from qkdlink.common.distillation.monitors import Monitor, look_at_watchdog
from qkdlink.common.distillation.reconciliation.cascade import Answerer, BudgetExhausted
from qkdlink.common.distillation.reconciliation.efficiency import parity_budget
from qkdlink.common.distillation.reconciliation.schedule import schedule
from qkdlink.common.distillation.sifting import PIECE, Sifter, selected
from qkdlink.common.distillation.stages import (
    Counts,
    Estimate,
    ReconciledKey,
    SecretKey,
    SiftedKey,
    VerifiedKey,
    count_classes,
)
from qkdlink.common.distillation.verification import verification_seed_bytes, verification_tag, verified_key
from qkdlink.common.errors import RemoteProtocolError
from qkdlink.common.optics.records import PreparationRecord
from qkdlink.common.protocol.aborts import Aborted, AbortReason, BlockRefused, LightLost
from qkdlink.common.protocol.block import Block
from qkdlink.common.protocol.deposit import Deposit
from qkdlink.common.protocol.key_length import reconciliation_qber, secret_length
from qkdlink.common.protocol.monitoring import look_at_errors, refusal
from qkdlink.common.protocol.parameters import LinkParameters
from qkdlink.common.randomness import Choice
from qkdlink.common.wire.attachments import GateReader, encode_classes
from qkdlink.common.wire.messages import (
    AmplificationSeed,
    BasisAnnouncement,
    BlockAccepted,
    Confirmation,
    DetectionAnnouncement,
    LightEnded,
    OpenBlock,
    ParityAnswers,
    ParityQuestions,
    ReconciliationEnded,
    ReconciliationOpened,
    TestBits,
    VerificationHash,
    Verified,
)
from qkdlink.common.wire.parities import decode_questions, encode_parities

WATCHDOG_PHOTONS = 1e4
"""Mean photon number per pulse into the outlet that is too much: behind 60 dB a hundredth of a photon comes back."""

_FEW_QUESTION_BYTES = 2**13
"""Most exchanges ask this or less, which is answered in a tenth of a millisecond: another thread costs more."""


class Transmitter(Protocol):
    """Alice's apparatus: the source and its outlet."""

    def frames(self, pulses: int) -> int:
        """How many frames carry a block of so many pulses."""

    async def transmit(self, block: Block) -> PreparationRecord:
        """Send the light of a block and remember how it was prepared; LightLost if it does not get through."""


async def distil(transmitter: Transmitter, deposit: Deposit, block: Block) -> SecretKey | Aborted:
    """One block, seven stages."""
    try:
        prepared = await transmit(transmitter, block)
        sifted = await sift(prepared, block)
        del prepared  # a byte per pulse, while words are exchanged for seconds
        estimated = await estimate_errors(sifted, block)
        reconciled = await reconcile(sifted, estimated, block)
        verified = await verify(reconciled, block)
        secret = await amplify(verified, estimated, block)
        return await confirm(secret, deposit, block)
    except BlockRefused as refused:
        return refused.aborted


async def transmit(transmitter: Transmitter, block: Block) -> PreparationRecord:
    """Send the light: the number of pulses is fixed before the first frame."""
    pulses = block.parameters.block_pulses
    await block.say(
        OpenBlock(pulses=pulses, frames=transmitter.frames(pulses), verification_key=block.pinning.ours)
    )
    accepted = await block.expect(BlockAccepted)
    block.pinning.shown(accepted.verification_key)
    block.opened(pulses)
    try:
        prepared = await transmitter.transmit(block)
    except LightLost as lost:
        await block.abort(AbortReason.LIGHT_LOST, str(lost))
    seen = look_at_watchdog(prepared.probe_photons, WATCHDOG_PHOTONS)
    block.account.watched(seen)
    if seen.alarm and Monitor.OUTLET_WATCHDOG not in block.parameters.monitors_off:
        await block.abort(seen.alarm.monitor, seen.alarm.detail)
    await block.say(LightEnded())
    block.reached("transmit")
    return prepared


async def sift(prepared: PreparationRecord, block: Block) -> SiftedKey:
    """Announce bases and intensities, but only once Bob has sealed his complete announcement."""
    announced = await block.expect(DetectionAnnouncement)
    await block.expect_checkpoint()
    count = announced.detections
    sifting = await block.read(_sift, prepared, announced, block.parameters)
    sifted = sifting.key
    block.account.detections = count
    block.account.sifted(sifted, block.parameters.variant.class_names, prepared.emitted, sifting.detected)
    await block.say(
        BasisAnnouncement(
            sifted=sifting.sifted,
            matched=sifting.matched,
            classes=sifting.classes,
            emitted=prepared.emitted,
            detected=sifting.detected,
        )
    )
    await block.say_checkpoint()
    block.reached("sift")
    return sifted


async def estimate_errors(sifted: SiftedKey, block: Block) -> Estimate:
    """Compare the test basis, after Bob has shown his bits of it."""
    bob_shows = await block.expect(TestBits)
    bob_bits = await block.read(unpack, bob_shows.bits, len(sifted.test_bits))
    await block.say(TestBits(bits=pack(sifted.test_bits)))
    estimated = estimate(sifted, bob_bits)
    block.account.estimate = estimated
    block.reached("estimate")
    return estimated


async def reconcile(sifted: SiftedKey, estimated: Estimate, block: Block) -> ReconciledKey:
    """Answer Bob's parity questions, count every one, and stop at the block's budget."""
    opened = await block.expect(ReconciliationOpened)
    length = len(sifted.key_bits)
    if opened.expected_qber != reconciliation_qber(block.parameters, estimated):
        raise RemoteProtocolError("Bob does not start from the error rate that both have found.")
    plan = await block.read(schedule, length, opened.expected_qber)
    answerer = await block.read(
        Answerer, sifted.key_bits, plan, opened.shuffle_seed, parity_budget(length, opened.expected_qber)
    )
    exchanges = 0
    while isinstance(
        said := await block.expect_either(ParityQuestions, ReconciliationEnded), ParityQuestions
    ):
        await block.say(await _answer(answerer, said, block))
        exchanges += 1
    await block.expect_checkpoint()
    _check_counts(said, answerer.disclosed_bits, estimated.key_detections)
    reconciled = ReconciledKey(sifted.key_bits, said.key_errors, answerer.disclosed_bits)
    block.account.reconciled(reconciled, exchanges)
    block.reached("reconcile")
    return reconciled


async def verify(reconciled: ReconciledKey, block: Block) -> VerifiedKey:
    """Show a universal hash under a key that is drawn only now."""
    length, eps_cor = len(reconciled.bits), block.parameters.eps_cor
    seed = block.choices(Choice.VERIFICATION).bytes(verification_seed_bytes(length, eps_cor))
    tag = await block.compute(verification_tag, reconciled.bits, seed, eps_cor)
    await block.say(VerificationHash(disclosed_parities=reconciled.leaked_bits, seed=seed, tag=tag))
    await block.expect(Verified)
    verified = verified_key(reconciled, eps_cor)
    block.account.verified(verified)
    block.reached("verify")
    return verified


async def amplify(verified: VerifiedKey, estimated: Estimate, block: Block) -> SecretKey:
    """Shorten the key to what the bound allows, by a Toeplitz matrix whose seed is drawn only now."""
    reckoned = secret_length(block.parameters, estimated, verified.key_errors, verified.leaked_bits)
    length = block.account.reckoned(reckoned)
    if length.secret_bits < block.economy.upkeep_bits:
        seen = look_at_errors(block.parameters, estimated, verified.key_errors)
        block.account.watched(seen)
        if alarm := refusal(block.parameters, [seen], hopeless=True):
            await block.abort(alarm.monitor, alarm.detail)
        await block.abort(AbortReason.NO_SECRET_BITS, _too_short(verified, length, block))
    reserve_bits = min(block.economy.reserve_wanted(), length.secret_bits)
    seed_bytes = (amplification_seed_bits(len(verified.bits), length.secret_bits) + 7) // 8
    seed = block.choices(Choice.AMPLIFICATION).bytes(seed_bytes)
    await block.say(AmplificationSeed(secret_bits=length.secret_bits, reserve_bits=reserve_bits, seed=seed))
    await block.say_checkpoint()
    secret = await block.compute(amplify_key, verified, seed, length.secret_bits)
    secret = replace(secret, reserve_bits=reserve_bits)
    block.account.amplified(secret)
    block.reached("amplify")
    return secret


async def confirm(secret: SecretKey, deposit: Deposit, block: Block) -> SecretKey:
    """Store, then confirm; the key is available once Bob's confirmation is verified."""
    confirmed = await block.expect(Confirmation)
    await block.expect_checkpoint()
    if confirmed.secret_bits != secret.secret_bits:
        raise RemoteProtocolError("Bob confirmed a key of another length.")
    await deposit.hold(block.id, secret, block.account.leaked_bits)
    await deposit.release(block.id)
    await block.say(Confirmation(secret_bits=secret.secret_bits))
    await block.say_checkpoint()
    block.reached("confirm")
    return secret


class _Sifting(NamedTuple):
    """What Alice learns from Bob's bases, and what she tells him."""

    key: SiftedKey
    sifted: int
    matched: bytes
    classes: bytes
    detected: Counts


def _sift(
    prepared: PreparationRecord, announced: DetectionAnnouncement, parameters: LinkParameters
) -> _Sifting:
    """Look up what was prepared where Bob's detectors clicked, and keep it where the bases agree, piece by piece."""
    count, class_count = announced.detections, parameters.class_count
    gates = GateReader(announced.gaps, count, parameters.block_pulses)
    bob_bases = unpack(announced.bases, count)
    sifter, classes, matched = Sifter(count, class_count), np.empty(count, np.uint8), []
    sifted, detected = 0, np.zeros(class_count, np.int64)
    for begin in range(0, count, PIECE):
        settings = prepared.prepared_at(gates.read(PIECE))
        agrees = ((settings >> np.uint8(1)) & np.uint8(1)) == bob_bases[begin : begin + PIECE]
        kept = selected(settings, agrees)
        sifter.add(kept)
        classes[sifted : sifted + len(kept)] = kept >> np.uint8(2)
        sifted += len(kept)
        matched.append(pack(agrees))
        detected += count_classes(settings >> np.uint8(2), class_count)
    return _Sifting(
        sifter.key(),
        sifted,
        b"".join(matched),
        encode_classes(classes[:sifted], class_count),
        tuple(detected.tolist()),
    )


async def _answer(answerer: Answerer, asked: ParityQuestions, block: Block) -> ParityAnswers:
    try:
        size = len(asked.questions)
        return await block.read_quickly(size, _FEW_QUESTION_BYTES, _answered, answerer, asked.questions)
    except BudgetExhausted as exhausted:
        await block.abort(AbortReason.PARITY_BUDGET_EXHAUSTED, str(exhausted))


def _answered(answerer: Answerer, asked: bytes) -> ParityAnswers:
    questions, before = decode_questions(asked), answerer.disclosed_bits
    answers = answerer.answer(questions)
    count = answerer.disclosed_bits - before
    return ParityAnswers(count=count, parities=encode_parities(questions, answers, count))


def _check_counts(ended: ReconciliationEnded, answered: int, key_detections: Counts) -> None:
    if ended.disclosed_parities != answered:
        raise RemoteProtocolError(
            f"Bob counts {ended.disclosed_parities} disclosed parities, Alice answered {answered}."
        )
    if len(ended.key_errors) != len(key_detections) or any(
        errors > bits for errors, bits in zip(ended.key_errors, key_detections, strict=True)
    ):
        raise RemoteProtocolError("Bob reports more corrected errors than there are bits.")


def _too_short(verified: VerifiedKey, length: KeyLength, block: Block) -> str:
    bits = length.balance_bits
    found = length.contradiction or (
        "no single-photon detection is certain"
        if bits == -math.inf
        else f"the bound leaves {bits:.0f} bits, fewer than the {block.economy.upkeep_bits} that a block costs"
    )
    return f"{found}: of {len(verified.bits)} sifted bits {verified.leaked_bits} were disclosed"
