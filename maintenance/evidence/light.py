"""Light at length: gains and error rates of every preset and protocol against the emulated model.

The spread is taken from block to block, because dead time and afterpulses correlate neighbouring gates: a binomial
spread would be the wrong one.
"""

import math
from typing import Any

import numpy as np

from qkdlink.common.optics.detector import Receiver
from qkdlink.common.optics.expectation import Expectation, expected_statistics
from qkdlink.common.optics.presets import PRESETS, preset
from qkdlink.common.optics.source import PulseSource
from qkdlink.common.protocol.parameters import LinkParameters, ProtocolName
from qkdlink.common.protocol.variants.catalogue import VARIANTS
from qkdlink.common.randomness import Choice, Nature, Randomness
from qkdlink.deployment.planning.planner import plan, smallest_block_with_key, task_for

_BLOCKS = 60
_BLOCK_PULSES = 1 << 19
_TOLERANCE_SIGMAS = 5.0
_CASES = [(name, protocol) for name in PRESETS for protocol in VARIANTS]
PARTS = len(_CASES)


def run_part(seed: int, part: int) -> dict[str, Any]:
    """Measure one preset under one protocol, block by block, and compare every rate with its expectation."""
    name, protocol = _CASES[part]
    parameters = _parameters(name, protocol)
    expected = expected_statistics(
        parameters.source, parameters.fibre, parameters.detector, parameters.key_basis_probability
    )
    rates = np.array([_measure(parameters, seed, block) for block in range(1, _BLOCKS + 1)])
    mean, spread = rates.mean(axis=0), rates.std(axis=0, ddof=1) / math.sqrt(_BLOCKS)
    targets = np.array(_targets(expected))
    deviations = np.abs(mean - targets) / np.where(spread > 0, spread, np.inf)
    return {
        "preset": name,
        "protocol": protocol,
        "pulses": _BLOCKS * _BLOCK_PULSES,
        "rates": len(targets),
        "largest_deviation_in_sigmas": float(deviations.max()),
    }


def conclude(findings: list[dict[str, Any]]) -> dict[str, Any]:
    """Pass if no rate lies beyond the tolerance."""
    worst = max(each["largest_deviation_in_sigmas"] for each in findings)
    return {"passed": worst <= _TOLERANCE_SIGMAS, "largest_deviation_in_sigmas": worst, "cases": findings}


def _parameters(name: str, protocol: ProtocolName) -> LinkParameters:
    task = task_for(preset(name), 1, protocol)
    return plan(task_for(preset(name), smallest_block_with_key(task) or 1, protocol)).link_parameters()


def _targets(expected: Expectation) -> list[float]:
    return [
        *expected.gains,
        sum(expected.sifted_key),
        sum(expected.sifted_test),
        expected.qber_key,
        expected.qber_test,
    ]


def _measure(parameters: LinkParameters, seed: int, block: int) -> list[float]:
    alice, bob = Randomness("alice", seed), Randomness("bob", seed)
    source = PulseSource(
        parameters.source, alice.choices(Choice.PULSES, block), alice.nature(Nature.SOURCE, block)
    )
    receiver = Receiver(
        parameters.detector,
        parameters.key_basis_probability,
        bob.choices(Choice.MEASUREMENTS, block),
        bob.nature(Nature.DETECTORS, block),
    )
    prepared, light = source.emit(0, _BLOCK_PULSES, parameters.fibre)
    detected = receiver.detect(light)
    sent = prepared[detected.gates]
    wrong, matched = (sent & 1) != detected.bits, (sent >> 1 & 1) == detected.bases
    emitted = np.bincount(prepared >> 2, minlength=parameters.class_count)
    clicked = np.bincount(sent >> 2, minlength=parameters.class_count)
    key, test = matched & (detected.bases == 0), matched & (detected.bases == 1)
    return [
        *(clicked / np.maximum(emitted, 1)),
        key.sum() / _BLOCK_PULSES,
        test.sum() / _BLOCK_PULSES,
        wrong[key].sum() / max(key.sum(), 1),
        wrong[test].sum() / max(test.sum(), 1),
    ]
