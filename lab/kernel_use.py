"""What calls every kernel of a link once, step by step: light, protocol data, error correction, hashing, Eve."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache

import numpy as np

from common.bits import Bits
from common.distillation.carryless.blocks import hashed_by_karatsuba, hashed_by_transforms
from common.distillation.reconciliation.cascade import Answerer, Corrector
from common.distillation.reconciliation.efficiency import parity_budget
from common.distillation.reconciliation.schedule import schedule
from common.distillation.sifting import Sifter, sift
from common.distillation.universal_hash import fastest_instructions, toeplitz_seed_bits
from common.distillation.verification import verification_seed_bytes, verification_tag
from common.optics.detector import Receiver
from common.optics.presets import DEFAULT_PRESET, preset
from common.optics.records import DetectionRecord, PreparationRecord
from common.optics.source import PulseSource
from common.protocol.parameters import LinkParameters, ProtocolName
from common.randomness import Choice, Nature, Randomness
from common.wire.attachments import decode_gates, encode_gates
from common.wire.parities import decode_parities, decode_questions, encode_parities, encode_questions
from eve.quantum_attacks.catalogue import attack_from
from lab.block_with_eve import live_block
from lab.planning import plan, task_for

_PULSES = 30_000
_EVES_PULSES = 100_000
"""Enough for a key, so that all is called that looks at what she knows of one."""


@cache
def _parameters(pulses: int = _PULSES, protocol: ProtocolName = ProtocolName.SINGLE_PHOTON) -> LinkParameters:
    return plan(task_for(preset(DEFAULT_PRESET), pulses, protocol)).link_parameters()


@cache
def _light(protocol: ProtocolName) -> tuple[PreparationRecord, DetectionRecord]:
    """Let light pass from a source to detectors."""
    parameters = _parameters(_PULSES if protocol is ProtocolName.SINGLE_PHOTON else 10**8, protocol)
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
    for protocol in ProtocolName:
        _light(protocol)


def _sift() -> None:
    record, detected = _light(ProtocolName.SINGLE_PHOTON)
    gates = decode_gates(encode_gates(detected.gates), len(detected.gates), _PULSES)
    Sifter(len(gates), 1).add(record.prepared_at(gates))


@cache
def _key_bits() -> Bits:
    _, detected = _light(ProtocolName.SINGLE_PHOTON)
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


def _hash() -> None:
    bits = _key_bits()
    verification_tag(bits, bytes(verification_seed_bytes(len(bits), 1e-15)), 1e-15)
    instructions = fastest_instructions()
    if instructions is None:
        return  # products are computed without kernels (`common.distillation.fourier`)
    length = len(bits) // 2
    seed = np.zeros((toeplitz_seed_bits(len(bits), length) + 7) // 8, np.uint8)
    for hashed in (hashed_by_karatsuba, hashed_by_transforms):
        hashed(np.packbits(bits), len(bits), seed, length, instructions)


def _attack() -> None:
    parameters = _parameters(_EVES_PULSES)
    for attack in ("intercept-resend:fraction=0.05", "beam-splitting", "blinding"):
        live_block(parameters, [attack_from(attack)], 1, 1)
    remembering = replace(parameters.detector, afterpulse_probability=0.01)
    live_block(parameters.model_copy(update={"detector": remembering}), [], 1, 1)


STEPS: Mapping[str, Callable[[], None]] = {
    "light": _light_of_each_protocol,
    "sifting": _sift,
    "error correction": _correct_errors,
    "verification and privacy amplification": _hash,
    "Eve": _attack,
}
"""By what the kernels are for, in an order in which none is compiled under another's name."""
