"""What calls every kernel of a link once, step by step: light, protocol data, error correction, hashing, Eve."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from qkdlink.common.bits import Bits
from qkdlink.common.distillation.carryless.blocks import hashed_by_karatsuba, hashed_by_transforms
from qkdlink.common.distillation.reconciliation.cascade import Answerer, Corrector
from qkdlink.common.distillation.reconciliation.efficiency import parity_budget
from qkdlink.common.distillation.reconciliation.schedule import schedule
from qkdlink.common.distillation.sifting import Sifter, sift
from qkdlink.common.distillation.universal_hash import fastest_instructions, toeplitz_seed_bits
from qkdlink.common.distillation.verification import verification_seed_bytes, verification_tag
from qkdlink.common.optics.detector import Receiver
from qkdlink.common.optics.presets import DEFAULT_PRESET, preset
from qkdlink.common.optics.records import DetectionRecord, PreparationRecord
from qkdlink.common.optics.source import PulseSource
from qkdlink.common.optics.states import Basis
from qkdlink.common.optics.watchful_receiver import DetectorFlaws, WatchfulReceiver
from qkdlink.common.protocol.parameters import LinkParameters, ProtocolName
from qkdlink.common.protocol.variants.catalogue import VARIANTS
from qkdlink.common.protocol.variants.single_photon import SINGLE_PHOTON
from qkdlink.common.randomness import Choice, Nature, Randomness
from qkdlink.common.wire.attachments import decode_gates, encode_gates
from qkdlink.common.wire.parities import decode_parities, decode_questions, encode_parities, encode_questions
from qkdlink.deployment.planning.planner import plan, task_for
from qkdlink.eve.click_memory import Published
from qkdlink.eve.notebook import BlockNotes
from qkdlink.eve.quantum_attacks.base import PublicLink, QuantumAttack, play
from qkdlink.eve.quantum_attacks.catalogue import attack_from

_PULSES = 30_000
_EVES_PULSES = 100_000
"""Enough for a key, so that all is called that looks at what she knows of one."""


@cache
def _parameters(pulses: int = _PULSES, protocol: ProtocolName = SINGLE_PHOTON.name) -> LinkParameters:
    return plan(task_for(preset(DEFAULT_PRESET), pulses, protocol)).link_parameters()


@cache
def _light(parameters: LinkParameters) -> tuple[PreparationRecord, DetectionRecord]:
    """Let light pass from a source to detectors."""
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
    return record, detectors.detect(train)


def _light_of_each_protocol() -> None:
    for protocol in VARIANTS:
        _light(_parameters(10**8, protocol))


def _sift() -> None:
    record, detected = _light(_parameters())
    gates = decode_gates(encode_gates(detected.gates), len(detected.gates), _PULSES)
    Sifter(len(gates), 1).add(record.prepared_at(gates))


@cache
def _key_bits() -> Bits:
    _, detected = _light(_parameters())
    return sift(detected.bits, detected.bases, detected.bases * 0, 1).key_bits


def _correct_errors() -> None:
    bits = _key_bits()
    other = bits.copy()
    other[::100] ^= 1
    how, seed = schedule(len(bits), 0.01), bytes(32)
    answerer, corrector = (
        Answerer(bits, how, seed, parity_budget(len(bits), 0.01)),
        Corrector(other, how, seed),
    )
    while (asked := corrector.questions()) is not None:
        count = asked.parities(how)
        answers = answerer.answer(decode_questions(encode_questions(asked)))
        corrector.receive(decode_parities(asked, encode_parities(asked, answers, count), count))
    np.packbits(corrector.bits)  # as verification does


def _hash() -> None:
    bits = _key_bits()
    verification_tag(bits, bytes(verification_seed_bytes(len(bits), 1e-15)), 1e-15)
    instructions = fastest_instructions()
    if instructions is None:
        return  # products are computed without kernels (`qkdlink.common.distillation.fourier`)
    length = len(bits) // 2
    seed = np.zeros((toeplitz_seed_bits(len(bits), length) + 7) // 8, np.uint8)
    for hashed in (hashed_by_karatsuba, hashed_by_transforms):
        hashed(np.packbits(bits), len(bits), seed, length, instructions)


def _attack() -> None:
    parameters = _parameters(_EVES_PULSES)
    for name in ("intercept-resend:fraction=0.05", "beam-splitting", "blinding"):
        _light_through_eve(parameters, [attack_from(name)])
    remembering = replace(parameters.detector, afterpulse_probability=0.01)
    _light_through_eve(parameters.model_copy(update={"detector": remembering}), [])


def _light_through_eve(parameters: LinkParameters, attacks: Sequence[QuantumAttack]) -> None:
    """Let a block pass her, and let her notebook look at all that a link publishes of it."""
    randomness, notes = Randomness("nobody"), BlockNotes()
    source = PulseSource(
        parameters.source, randomness.choices(Choice.PULSES, 1), randomness.nature(Nature.SOURCE, 1)
    )
    detectors = WatchfulReceiver(
        parameters.detector,
        parameters.key_basis_probability,
        randomness.choices(Choice.MEASUREMENTS, 1),
        randomness.nature(Nature.DETECTORS, 1),
        DetectorFlaws(),
        0.0,
    )
    link = PublicLink.of(parameters, DetectorFlaws())
    prepared, train = source.emit(0, parameters.block_pulses, parameters.fibre)
    detected = detectors.detect(play(attacks, train, randomness, link, 1, notes))
    record = PreparationRecord(parameters.block_pulses, parameters.class_count)
    record.append(prepared)
    bits, bases, classes = record.at(detected.gates)
    matched = bases == detected.bases
    in_key, in_test = (matched & (detected.bases == basis) for basis in (Basis.KEY, Basis.TEST))
    wrong = bits[in_key] != detected.bits[in_key]
    of_test = detected.bits[in_test], bits[in_test]
    published = Published(detected.gates, detected.bases, matched, classes[matched], of_test, wrong)
    notes.known_of_key(published, link.gate_behind(link.fibre))


STEPS: Mapping[str, Callable[[], None]] = {
    "light": _light_of_each_protocol,
    "sifting": _sift,
    "error correction": _correct_errors,
    "verification and privacy amplification": _hash,
    "Eve": _attack,
}
"""By what the kernels are for, in an order in which none is compiled under another's name."""
