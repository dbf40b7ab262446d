"""The right column: a key block from light to secret key, as Bob lives it. Alice's column is `alice/steps.py`."""

from dataclasses import replace
from typing import Protocol

import numpy as np

from qkdlink.common.bits import Bits, check_packed, pack, unpack
from qkdlink.common.distillation.amplification import amplification_seed_bits
from qkdlink.common.distillation.amplification import amplify as amplify_key
from qkdlink.common.distillation.estimation import estimate
from qkdlink.common.distillation.reconciliation.cascade import Corrector
from qkdlink.common.distillation.reconciliation.efficiency import parity_budget
from qkdlink.common.distillation.reconciliation.schedule import schedule
from qkdlink.common.distillation.sifting import sift as sift_bits
from qkdlink.common.distillation.stages import (
    Counts,
    Estimate,
    ReconciledKey,
    SecretKey,
    SiftedKey,
    VerifiedKey,
    count_classes,
)
from qkdlink.common.distillation.verification import (
    verification_seed_bytes,
    verification_tag,
    verification_tag_bits,
    verified_key,
)
from qkdlink.common.errors import RemoteProtocolError
from qkdlink.common.optics.records import DetectionRecord
from qkdlink.common.protocol.aborts import Aborted, AbortReason, BlockRefused, LightLost
from qkdlink.common.protocol.block import Block
from qkdlink.common.protocol.deposit import Deposit
from qkdlink.common.protocol.key_length import (
    best_case,
    qber_is_tolerated,
    reconciliation_qber,
    secret_length,
)
from qkdlink.common.protocol.monitoring import Watched, look_at_all, refusal
from qkdlink.common.protocol.parameters import LinkParameters
from qkdlink.common.randomness import Choice
from qkdlink.common.wire.attachments import decode_classes, encode_gates
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
from qkdlink.common.wire.parities import decode_parities, encode_questions

_SHUFFLE_SEED_BYTES = 32
_FEW_PARITY_BYTES = 2**6
"""Most exchanges answer this or less, which is taken in a fifth of a millisecond: another thread costs as much."""


class Receiver(Protocol):
    """Bob's apparatus: the inlet and the detectors."""

    async def open(self, block: Block, frames: int) -> None:
        """Turn the detectors on for a block of so many frames."""

    async def finish(self, block: Block) -> DetectionRecord:
        """Everything that was detected; LightLost unless every frame of the block came through."""


async def distil(receiver: Receiver, deposit: Deposit, block: Block) -> SecretKey | Aborted:
    """One block, seven stages."""
    try:
        detected = await transmit(receiver, block)
        sifted = await sift(detected, block)
        estimated = await estimate_errors(detected, sifted, block)
        del detected
        reconciled = await reconcile(sifted, estimated, block)
        verified = await verify(reconciled, block)
        secret = await amplify(verified, estimated, block)
        return await confirm(secret, deposit, block)
    except BlockRefused as refused:
        return refused.aborted


async def transmit(receiver: Receiver, block: Block) -> DetectionRecord:
    """Detect the light of the whole block; a missing frame voids it and is never taken for loss."""
    opened = await block.expect(OpenBlock)
    if opened.pulses != block.parameters.block_pulses:
        raise RemoteProtocolError(
            f"Alice opened a block of {opened.pulses} pulses; {block.parameters.block_pulses} are agreed."
        )
    if opened.frames > opened.pulses:
        raise RemoteProtocolError(
            f"Alice announces {opened.frames} frames of light for {opened.pulses} pulses; no frame is empty."
        )
    block.pinning.shown(opened.verification_key)
    await receiver.open(block, opened.frames)
    await block.say(BlockAccepted(verification_key=block.pinning.ours))
    block.opened(opened.pulses)
    await block.expect(LightEnded)
    try:
        detected = await receiver.finish(block)
    except LightLost as lost:
        await block.abort(AbortReason.LIGHT_LOST, str(lost))
    block.account.detections = len(detected.gates)
    block.reached("transmit")
    return detected


async def sift(detected: DetectionRecord, block: Block) -> SiftedKey:
    """Announce every detection and its basis, once, sealed; then learn which of them count."""
    count = len(detected)
    if count == 0:
        await block.abort(AbortReason.TOO_FEW_DETECTIONS, "no gate clicked")
    await block.say(
        DetectionAnnouncement(
            detections=count,
            gaps=await block.compute(encode_gates, detected.gates),
            bases=await block.compute(pack, detected.bases),
        )
    )
    await block.say_checkpoint()
    announced = await block.expect(BasisAnnouncement)
    await block.expect_checkpoint()
    sifted = await block.read(_sift, detected, announced, block.parameters)
    block.account.sifted(sifted, block.parameters.variant.class_names, announced.emitted, announced.detected)
    block.reached("sift")
    return sifted


async def estimate_errors(detected: DetectionRecord, sifted: SiftedKey, block: Block) -> Estimate:
    """Show the test basis, compare it with Alice's, and give up early what a monitor refuses or cannot become a key."""
    await block.say(TestBits(bits=pack(sifted.test_bits)))
    alice_shows = await block.expect(TestBits)
    alice_bits = await block.read(unpack, alice_shows.bits, len(sifted.test_bits))
    estimated = estimate(sifted, alice_bits)
    block.account.estimate = estimated
    length = block.account.reckoned(best_case(block.parameters, estimated))
    watched = Watched(
        sifted.emitted,
        sifted.detected,
        detected.double_clicks,
        detected.side,
        block.parameters.switched_off_probability,
    )
    seen = look_at_all(block.parameters, watched, estimated, length)
    block.account.watched(*seen)
    if alarm := refusal(block.parameters, seen, hopeless=length.secret_bits == 0):
        await block.abort(alarm.monitor, alarm.detail)
    if not qber_is_tolerated(block.parameters, estimated):
        await block.abort(AbortReason.QBER_ABOVE_TOLERATED, _qber_sentence(estimated, block))
    if length.secret_bits == 0:
        await block.abort(AbortReason.NO_SECRET_BITS, length.contradiction or _hopeless_sentence(estimated))
    block.reached("estimate")
    return estimated


async def reconcile(sifted: SiftedKey, estimated: Estimate, block: Block) -> ReconciledKey:
    """Ask Alice for parities and correct every difference."""
    qber = reconciliation_qber(block.parameters, estimated)
    seed = block.choices(Choice.RECONCILIATION).bytes(_SHUFFLE_SEED_BYTES)
    await block.say(ReconciliationOpened(shuffle_seed=seed, expected_qber=qber))
    plan = schedule(len(sifted.key_bits), qber, block.parameters.reconciliation_pace)
    corrector = await block.compute(Corrector, sifted.key_bits, plan, seed)
    budget = parity_budget(len(sifted.key_bits), qber)
    exchanges = 0
    asked = await block.compute(_asked, corrector)
    while asked is not None:
        await block.say(asked)
        answers = await block.expect(ParityAnswers)
        size = len(answers.parities)
        asked = await block.read_quickly(size, _FEW_PARITY_BYTES, _received, corrector, answers, budget)
        exchanges += 1
    corrected, key_errors = await block.compute(_corrected, corrector, sifted)
    await block.say(ReconciliationEnded(disclosed_parities=corrector.disclosed_bits, key_errors=key_errors))
    await block.say_checkpoint()
    reconciled = ReconciledKey(corrected, key_errors, corrector.disclosed_bits)
    block.account.reconciled(reconciled, exchanges)
    block.reached("reconcile")
    return reconciled


async def verify(reconciled: ReconciledKey, block: Block) -> VerifiedKey:
    """Compare Alice's universal hash with ours."""
    length, eps_cor = len(reconciled.bits), block.parameters.eps_cor
    shown = await block.expect(VerificationHash)
    if shown.disclosed_parities != reconciled.leaked_bits:
        raise RemoteProtocolError(
            f"Alice answered {shown.disclosed_parities} parities, Bob received {reconciled.leaked_bits}."
        )
    if len(shown.seed) != verification_seed_bytes(length, eps_cor):
        raise RemoteProtocolError("Alice's verification seed has the wrong length.")
    await block.read(check_packed, shown.tag, verification_tag_bits(length, eps_cor))
    tag = await block.read(verification_tag, reconciled.bits, shown.seed, eps_cor)
    if tag != shown.tag:
        await block.abort(AbortReason.VERIFICATION_FAILED, "the reconciled keys are not the same")
    await block.say(Verified())
    verified = verified_key(reconciled, eps_cor)
    block.account.verified(verified)
    block.reached("verify")
    return verified


async def amplify(verified: VerifiedKey, estimated: Estimate, block: Block) -> SecretKey:
    """Shorten the key with Alice's seed, never to more than our own bound allows."""
    announced = await block.expect(AmplificationSeed)
    await block.expect_checkpoint()
    reckoned = secret_length(block.parameters, estimated, verified.key_errors, verified.leaked_bits)
    length = block.account.reckoned(reckoned)
    if announced.secret_bits < block.economy.upkeep_bits:
        raise RemoteProtocolError(
            f"Alice announced a key of {announced.secret_bits} bits, which does not pay for its block."
        )
    if announced.reserve_bits > announced.secret_bits:
        raise RemoteProtocolError("Alice asks more bits for the reserve than the key has.")
    if announced.reserve_bits > block.economy.most_reserve_bits:
        raise RemoteProtocolError(
            f"Alice asks {announced.reserve_bits} bits for the reserve, which never takes more than"
            f" {block.economy.most_reserve_bits}."
        )
    if announced.secret_bits > length.secret_bits:
        await block.abort(
            AbortReason.LENGTHS_DISAGREE,
            f"Alice claims {announced.secret_bits} secret bits, Bob's bound is {length.secret_bits}",
        )
    if len(announced.seed) != (amplification_seed_bits(len(verified.bits), announced.secret_bits) + 7) // 8:
        raise RemoteProtocolError("Alice's amplification seed has the wrong length.")
    secret = await block.read(amplify_key, verified, announced.seed, announced.secret_bits)
    secret = replace(secret, reserve_bits=announced.reserve_bits)
    block.account.amplified(secret)
    block.reached("amplify")
    return secret


async def confirm(secret: SecretKey, deposit: Deposit, block: Block) -> SecretKey:
    """Store, then confirm; the key is available once Alice's confirmation is verified."""
    await deposit.hold(block.id, secret, block.account.leaked_bits)
    await block.say(Confirmation(secret_bits=secret.secret_bits))
    await block.say_checkpoint()
    confirmed = await block.expect(Confirmation)
    await block.expect_checkpoint()
    if confirmed.secret_bits != secret.secret_bits:
        raise RemoteProtocolError("Alice confirmed a key of another length.")
    await deposit.release(block.id)
    block.reached("confirm")
    return secret


def _sift(detected: DetectionRecord, announced: BasisAnnouncement, parameters: LinkParameters) -> SiftedKey:
    """Keep what Alice says has her basis; RemoteProtocolError if what she says cannot be."""
    count, class_count = len(detected), parameters.class_count
    agrees = unpack(announced.matched, count).view(np.bool_)
    if (
        announced.sifted != np.count_nonzero(agrees)
        or not len(announced.emitted) == len(announced.detected) == class_count
        or sum(announced.emitted) != parameters.block_pulses
        or sum(announced.detected) != count
        or any(clicks > pulses for clicks, pulses in zip(announced.detected, announced.emitted, strict=True))
    ):
        raise RemoteProtocolError("Alice's announcement contradicts itself.")
    classes = decode_classes(announced.classes, announced.sifted, class_count)
    kept = count_classes(classes, class_count)
    if any(matched > clicks for matched, clicks in zip(kept, announced.detected, strict=True)):
        raise RemoteProtocolError("Alice matches more detections of a class than she says were detected.")
    sifted = sift_bits(detected.bits, detected.bases, classes, class_count, agrees)
    return replace(sifted, emitted=announced.emitted, detected=announced.detected)


def _asked(corrector: Corrector) -> ParityQuestions | None:
    questions = corrector.questions()
    return None if questions is None else ParityQuestions(questions=encode_questions(questions))


def _received(corrector: Corrector, answers: ParityAnswers, budget: int) -> ParityQuestions | None:
    """Take Alice's answers and say what to ask next, None when the key is reconciled."""
    questions = corrector.questions()
    if questions is None or answers.count != corrector.asked_bits:
        raise RemoteProtocolError(
            f"Alice answered {answers.count} parities, the parity questions were about {corrector.asked_bits}."
        )
    if corrector.disclosed_bits + answers.count > budget:
        raise RemoteProtocolError(
            f"Alice answers {corrector.disclosed_bits + answers.count} parities, the budget of the block is {budget}."
        )
    corrector.receive(decode_parities(questions, answers.parities, answers.count))
    return _asked(corrector)


def _corrected(corrector: Corrector, sifted: SiftedKey) -> tuple[Bits, Counts]:
    """Return the corrected key, and how many of its bits were wrong in each class."""
    bits = corrector.bits
    errors = np.flatnonzero(bits != sifted.key_bits)
    return bits, count_classes(sifted.key_classes[errors], sifted.class_count)


def _qber_sentence(estimated: Estimate, block: Block) -> str:
    if estimated.qber_test is None:
        return "not a single test bit was detected"
    return f"the test basis shows {estimated.qber_test:.2%} errors, {block.parameters.tolerated_qber:.2%} are tolerated"


def _hopeless_sentence(estimated: Estimate) -> str:
    if estimated.qber_test is None:
        return "not a single test bit was detected"
    return (
        f"{sum(estimated.key_detections)} sifted bits with {estimated.qber_test:.2%} errors in the test basis"
        " cannot make a key of this block's size"
    )
