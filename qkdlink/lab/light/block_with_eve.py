"""A block with Eve, seen from above: light, monitors, distillation, and whether she could know anything of the key.

No conversation, no socket: the same optics, the same stages and the same bound as a link has, in one function, so that
a hundred blocks take seconds. What it adds is the laboratory's view: Eve's knowledge of each reconciled bit beside
what was disclosed and what was removed.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qkdlink.common.bits import Bits
from qkdlink.common.distillation.estimation import estimate
from qkdlink.common.distillation.finite_key import KeyLength
from qkdlink.common.distillation.leftover_hash import min_entropy_to_spare_bits
from qkdlink.common.distillation.monitors import Alarm, Monitor
from qkdlink.common.distillation.reconciliation.cascade import (
    Answerer,
    BudgetExhausted,
    Corrector,
    Schedule,
    parity_budget,
    schedule,
)
from qkdlink.common.distillation.reconciliation.parity import Questions
from qkdlink.common.distillation.reconciliation.shuffle import SHUFFLE_SEED_BYTES
from qkdlink.common.distillation.sifting import sift
from qkdlink.common.distillation.stages import Estimate, ReconciledKey, SiftedKey, count_classes
from qkdlink.common.distillation.universal_hash import toeplitz_seed_bits
from qkdlink.common.distillation.verification import verification_tag_bits, verified_key
from qkdlink.common.keys.allotment import LINK_PSK_BITS
from qkdlink.common.optics.adversary import Mask
from qkdlink.common.optics.loops import lane_keys
from qkdlink.common.optics.outlet import Outlet
from qkdlink.common.optics.records import DetectionRecord, PreparationRecord
from qkdlink.common.optics.source import PulseSource
from qkdlink.common.optics.states import Basis
from qkdlink.common.optics.watchful_receiver import DetectorFlaws, WatchfulReceiver
from qkdlink.common.protocol.aborts import AbortReason
from qkdlink.common.protocol.key_length import best_case
from qkdlink.common.protocol.monitoring import (
    Watched,
    alarm_of_decoys,
    alarms_of_light,
    look_at_errors,
    refusal,
)
from qkdlink.common.protocol.parameters import LinkParameters
from qkdlink.common.randomness import Choice, Nature, Randomness
from qkdlink.eve.click_memory import Published
from qkdlink.eve.notebook import BlockNotes, Knowledge
from qkdlink.eve.quantum_attacks.base import PublicLink, QuantumAttack, play
from qkdlink.lab.light.analysis import Analysis, allowed_bits, starting_point, tolerates
from qkdlink.lab.light.undetermined import Disclosed, Undetermined, undetermined

_FRAME_PULSES = 2**20
_FLAWS, _OUTLET = DetectorFlaws(), Outlet()


@dataclass(frozen=True, slots=True)
class Hardware:
    """What the agreed parameters leave out."""

    flaws: DetectorFlaws = _FLAWS
    switched_off_probability: float = 0.0
    """Of Bob's random efficiency, in multiples of 1/256."""
    outlet: Outlet = _OUTLET
    probe_photons: float = 0.0
    """Mean photon number per pulse that Eve shines into Alice's outlet."""


@dataclass(frozen=True, slots=True)
class BlockWithEve:
    """What became of a block."""

    refused_by: str | None
    """The monitor or the reason of the abort; None where there is a key."""
    qber_key: float
    qber_test: float
    known_fraction: float
    """Share of the sifted bits of the key basis that Eve knows for sure, 0..1."""
    sifted_bits: int
    """Of the key basis."""
    min_entropy_bits: float
    """Of the sifted key basis, as far as her notes go; before any disclosure."""
    leaked_bits: int
    secret_bits: int
    check: Undetermined | None
    """None without a key, where her knowledge is probable rather than certain, and where it was not asked for."""
    min_entropy_to_spare_bits: float
    """What is left of that min-entropy once it has paid for parities, tag, secret bits and eps_sec; 0 without a key."""

    @property
    def min_entropy_pays(self) -> bool:
        """Whether it does."""
        return self.min_entropy_to_spare_bits >= 0

    @property
    def told_share(self) -> float:
        """What she knows, for sure or probably, as a share of what there is to know: 0..1 of the sifted bits."""
        return 1 - self.min_entropy_bits / self.sifted_bits if self.sifted_bits else 0.0

    @property
    def safe(self) -> bool:
        """Whether nothing that Eve knows entered a store: no key, or one that is undetermined for her."""
        if not self.secret_bits:
            return True
        return self.check.holds if self.check else self.min_entropy_pays


@dataclass(frozen=True, slots=True)
class UnheededBlock:
    """A block of which every guard has said its word and none was heeded."""

    alarms: tuple[Alarm, ...]
    """In the order in which a node asks; the first is the one that it names."""
    best: KeyLength
    """What the bound gives at best: before reconciliation has cost or found anything."""
    block: BlockWithEve
    """What becomes of it by the bound alone."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """Both records of a block, side by side."""

    alice: SiftedKey
    bob: SiftedKey
    watched: Watched
    knowledge: Knowledge


@dataclass(frozen=True, slots=True)
class _Distilling:
    """How a block is distilled and looked at."""

    number: int
    analysis: Analysis
    lengthened_by: int
    checked: bool


_HARDWARE = Hardware()


def live_block(
    parameters: LinkParameters,
    attacks: Sequence[QuantumAttack],
    seed: int,
    number: int,
    *,
    hardware: Hardware = _HARDWARE,
    turned_off: Collection[Monitor] = (),
    analysis: Analysis = Analysis.AS_AGREED,
    lengthened_by: int = 0,
    checked: bool = True,
) -> BlockWithEve:
    """Run one block and account for it.

    `turned_off` names monitors that do not look, `analysis` what is made of the counts; `lengthened_by` bits are added
    to what that allows, which is what the check is there to catch. Without `checked` there is no check, which takes
    most of the time of a large block.
    """
    seen = _light(parameters, attacks, seed, number, hardware)
    estimated = estimate(seen.alice, seen.bob.test_bits)
    watched = hardware.outlet.watchdog_barks(hardware.probe_photons)
    if watched and Monitor.OUTLET_WATCHDOG not in turned_off:
        return _refused(Monitor.OUTLET_WATCHDOG, seen, estimated)
    alarm = next(alarms_of_light(parameters, seen.watched, turned_off), None)
    if alarm:
        return _refused(alarm.monitor, seen, estimated)
    if not tolerates(analysis, parameters, estimated):
        return _refused(AbortReason.QBER_ABOVE_TOLERATED, seen, estimated)
    randomness = Randomness("bob", seed)
    distilling = _Distilling(number, analysis, lengthened_by, checked)
    return _distilled(parameters, seen, estimated, randomness, distilling)


def live_unheeded_block(
    parameters: LinkParameters,
    attacks: Sequence[QuantumAttack],
    seed: int,
    number: int,
    *,
    checked: bool = True,
) -> UnheededBlock:
    """Run one block on flawless hardware, with every monitor noted and none of them heeded.

    Light passes in frames; what stays of them is a byte per pulse, Alice's record. Without `checked` it is her
    min-entropy that has to pay.
    """
    seen = _light(parameters, attacks, seed, number, _HARDWARE)
    estimated = estimate(seen.alice, seen.bob.test_bits)
    best = best_case(parameters, estimated).length
    alarms = _alarms(parameters, seen.watched, estimated, best)
    distilling = _Distilling(number, Analysis.AS_AGREED, lengthened_by=0, checked=checked)
    block = _distilled(parameters, seen, estimated, Randomness("bob", seed), distilling)
    return UnheededBlock(tuple(alarms), best, block)


def _alarms(
    parameters: LinkParameters, watched: Watched, estimated: Estimate, best: KeyLength
) -> Iterator[Alarm]:
    """Yield all alarms in the order of `qkdlink.common.protocol.monitoring.refusal`, which stops at the first."""
    hopeless = best.secret_bits == 0
    if hopeless and (errors := refusal(parameters, [look_at_errors(parameters, estimated)], hopeless=True)):
        yield errors
    yield from alarms_of_light(parameters, watched)
    if hopeless and (decoys := alarm_of_decoys(parameters, watched, best)):
        yield decoys


def _light(
    parameters: LinkParameters, attacks: Sequence[QuantumAttack], seed: int, number: int, hardware: Hardware
) -> _Seen:
    alice, bob, eve = (Randomness(node, seed) for node in ("alice", "bob", "eve"))
    source = PulseSource(
        parameters.source, alice.choices(Choice.PULSES, number), alice.nature(Nature.SOURCE, number)
    )
    receiver = WatchfulReceiver(
        parameters.detector,
        parameters.key_basis_probability,
        bob.choices(Choice.MEASUREMENTS, number),
        bob.nature(Nature.DETECTORS, number),
        hardware.flaws,
        hardware.switched_off_probability,
    )
    reflections = lane_keys(eve.nature(Nature.SOURCE, number), 1)[0]
    notes, prepared, records = (
        BlockNotes(),
        PreparationRecord(parameters.block_pulses, parameters.class_count),
        [],
    )
    for first in range(0, parameters.block_pulses, _FRAME_PULSES):
        count = min(_FRAME_PULSES, parameters.block_pulses - first)
        of_frame, train = source.emit(first, count, parameters.fibre)
        prepared.append(of_frame)
        train = hardware.outlet.emit(train, hardware.probe_photons, reflections)
        train = play(attacks, train, eve, PublicLink.of(parameters, hardware.flaws), number, notes)
        records.append(receiver.detect(train))
    return _sifted(parameters, prepared, DetectionRecord.joined(records), notes, hardware)


def _sifted(
    parameters: LinkParameters,
    prepared: PreparationRecord,
    record: DetectionRecord,
    notes: BlockNotes,
    hardware: Hardware,
) -> _Seen:
    bits, bases, classes = prepared.at(record.gates)
    matched = bases == record.bases
    shared = bases[matched], classes[matched], parameters.class_count
    link = PublicLink.of(parameters, hardware.flaws)
    honest = link.gate_behind(link.fibre)
    return _Seen(
        alice=sift(bits[matched], *shared),
        bob=sift(record.bits[matched], *shared),
        watched=Watched(
            prepared.emitted,
            count_classes(classes, parameters.class_count),
            record.double_clicks,
            record.side,
            hardware.switched_off_probability,
        ),
        knowledge=notes.known_of_key(_published(record, matched, bits, classes), honest),
    )


def _published(record: DetectionRecord, matched: Mask, bits: Bits, classes: NDArray[np.uint8]) -> Published:
    """Return what reconciliation will have made public: of the laboratory's view the errors, and no bit of the key."""
    in_key, in_test = (matched & (record.bases == basis) for basis in (Basis.KEY, Basis.TEST))
    return Published(
        record.gates,
        record.bases,
        matched,
        classes[matched],
        (record.bits[in_test], bits[in_test]),
        bits[in_key] != record.bits[in_key],
    )


def _distilled(
    parameters: LinkParameters,
    seen: _Seen,
    estimated: Estimate,
    randomness: Randomness,
    how: _Distilling,
) -> BlockWithEve:
    number, analysis = how.number, how.analysis
    length = len(seen.alice.key_bits)
    qber = starting_point(analysis, parameters, estimated)
    plan = schedule(length, qber)
    shuffle_seed = randomness.choices(Choice.RECONCILIATION, number).bytes(SHUFFLE_SEED_BYTES)
    try:
        corrector, questions = _reconciled(seen, plan, parity_budget(length, qber), shuffle_seed)
    except BudgetExhausted:
        return _refused(AbortReason.PARITY_BUDGET_EXHAUSTED, seen, estimated)
    if np.any(corrector.bits != seen.alice.key_bits):
        return _refused(AbortReason.VERIFICATION_FAILED, seen, estimated)
    errors = count_classes(seen.bob.key_classes[corrector.corrected], parameters.class_count)
    reconciled = ReconciledKey(corrector.bits, errors, corrector.disclosed_bits)
    leaked = verified_key(reconciled, parameters.eps_cor).leaked_bits
    allowed = allowed_bits(analysis, parameters, estimated, errors, leaked)
    if allowed < LINK_PSK_BITS:
        return _refused(AbortReason.NO_SECRET_BITS, seen, estimated, leaked)
    secret_bits = min(allowed + how.lengthened_by, length)
    tag_bits = verification_tag_bits(length, parameters.eps_cor)
    disclosed = Disclosed(plan, shuffle_seed, questions, tag_bits)
    check = None
    if how.checked and np.all(seen.knowledge.certain | seen.knowledge.unknown):
        drawn = randomness.choices(Choice.AMPLIFICATION, number).bytes(length + secret_bits)
        seed_bits: Bits = np.frombuffer(drawn, np.uint8)[
            : toeplitz_seed_bits(length, secret_bits)
        ] & np.uint8(1)
        check = undetermined(seen.knowledge.unknown, seed_bits, secret_bits, disclosed)
    entropy, told = seen.knowledge.min_entropy_bits, leaked + tag_bits
    to_spare = min_entropy_to_spare_bits(entropy, told, secret_bits, parameters.eps_sec)
    return _account(None, seen, estimated, leaked, secret_bits, check, to_spare)


def _reconciled(
    seen: _Seen, plan: Schedule, budget_bits: int, shuffle_seed: bytes
) -> tuple[Corrector, tuple[Questions, ...]]:
    answerer = Answerer(seen.alice.key_bits, plan, shuffle_seed, budget_bits)
    corrector, asked = Corrector(seen.bob.key_bits, plan, shuffle_seed), []
    while (questions := corrector.questions()) is not None:
        asked.append(questions)
        corrector.receive(answerer.answer(questions))
    return corrector, tuple(asked)


def _refused(reason: str, seen: _Seen, estimated: Estimate, leaked_bits: int = 0) -> BlockWithEve:
    return _account(str(reason), seen, estimated, leaked_bits)


def _account(
    reason: str | None,
    seen: _Seen,
    estimated: Estimate,
    leaked_bits: int,
    secret_bits: int = 0,
    check: Undetermined | None = None,
    min_entropy_to_spare: float = 0.0,
) -> BlockWithEve:
    wrong = seen.alice.key_bits != seen.bob.key_bits
    return BlockWithEve(
        refused_by=reason,
        qber_key=float(wrong.mean()) if len(wrong) else 0.0,
        qber_test=estimated.qber_test or 0.0,
        known_fraction=seen.knowledge.known_fraction,
        sifted_bits=len(wrong),
        min_entropy_bits=seen.knowledge.min_entropy_bits,
        leaked_bits=leaked_bits,
        secret_bits=secret_bits,
        check=check,
        min_entropy_to_spare_bits=min_entropy_to_spare,
    )
