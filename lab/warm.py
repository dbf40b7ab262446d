"""Imported for its effect: every kernel that a block needs is loaded, here and in all processes forked from here."""

from common.bits import Bits
from common.distillation.reconciliation.cascade import Answerer, Corrector
from common.distillation.reconciliation.efficiency import parity_budget
from common.distillation.reconciliation.schedule import schedule
from common.distillation.sifting import Sifter, sift
from common.distillation.verification import verification_seed_bytes, verification_tag
from common.optics.detector import Receiver
from common.optics.presets import DEFAULT_PRESET, preset
from common.optics.records import PreparationRecord
from common.optics.source import PulseSource
from common.protocol.parameters import LinkParameters, ProtocolName
from common.randomness import Choice, Nature, Randomness
from common.wire.attachments import decode_gates, encode_gates
from common.wire.parities import decode_parities, decode_questions, encode_parities, encode_questions
from lab.planning import plan, task_for

_PULSES = 30_000


def _load_kernels(parameters: LinkParameters) -> None:
    """Let light pass from a source to detectors and correct what comes of it."""
    randomness = Randomness("nobody")
    source = PulseSource(
        parameters.source, randomness.choices(Choice.PULSES, 1), randomness.nature(Nature.SOURCE, 1)
    )
    detectors = Receiver(
        parameters.detector,
        parameters.key_basis_probability,
        randomness.choices(Choice.MEASUREMENTS, 1),
        randomness.nature(Nature.DETECTORS, 1),
    )
    prepared, train = source.emit(0, _PULSES, parameters.fibre)
    record = PreparationRecord(_PULSES, parameters.class_count)
    record.append(prepared)
    detected = detectors.detect(train)
    gates = decode_gates(encode_gates(detected.gates), len(detected.gates), _PULSES)
    Sifter(len(gates), parameters.class_count).add(record.prepared_at(gates))
    verification_tag(detected.bits, bytes(verification_seed_bytes(len(detected.bits), 1e-15)), 1e-15)
    bits = sift(detected.bits, detected.bases, detected.bases * 0, 1).key_bits
    other = bits.copy()
    other[::100] ^= 1
    _reconcile(bits, other)


def _reconcile(bits: Bits, other: Bits) -> None:
    how, seed = schedule(len(bits), 0.01), bytes(32)
    answerer, corrector = (
        Answerer(bits, how, seed, parity_budget(len(bits), 0.01)),
        Corrector(other, how, seed),
    )
    while (asked := corrector.questions()) is not None:
        count = asked.parities(how)
        answers = answerer.answer(decode_questions(encode_questions(asked)))
        corrector.receive(decode_parities(asked, encode_parities(asked, answers, count), count))


_load_kernels(plan(task_for(preset(DEFAULT_PRESET), _PULSES, ProtocolName.SINGLE_PHOTON)).link_parameters())
