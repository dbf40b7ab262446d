"""Both sides of each comparison do the same work."""

from math import sqrt

import numpy as np
import pytest

from qkdlink.benchmarks import naive_light
from qkdlink.benchmarks.amplification import amplify_with_scipy, drawn_key, drawn_seed
from qkdlink.benchmarks.authentication import (
    CHECKPOINTS,
    authenticate,
    authenticate_anew,
    conversation,
    issued_parties,
)
from qkdlink.benchmarks.light import FIBRE, FRAME_PULSES, SOURCE, shine, shine_naively
from qkdlink.benchmarks.reconciliation import Frame, reconcile, reconcile_slowly
from qkdlink.benchmarks.sifting import sift_both, sift_naively
from qkdlink.common.distillation.amplification import amplify
from qkdlink.common.optics.detector import DetectorSettings
from qkdlink.common.optics.expectation import expected_statistics

NOISY = DetectorSettings(0.5, 1e-3, 3.0, 0.2, 1e9)
FRAMES, FRAME = 64, 4096


def naive_rates(frame: int, detector: DetectorSettings) -> tuple[float, float]:
    """Clicks per pulse, and errors per click with matching bases, of one frame."""
    rng = np.random.default_rng([2018, frame])
    sent = naive_light.prepare(SOURCE, FRAME, rng)
    seen = naive_light.detect(sent, FIBRE, detector, SOURCE.key_basis_probability, rng)
    matched = sent.bases[seen.gates] == seen.bases
    wrong = sent.bits[seen.gates] != seen.bits
    return len(seen.gates) / FRAME, float(wrong[matched].mean())


@pytest.mark.parametrize(
    "detector",
    [NOISY, DetectorSettings(0.5, 1e-3, 0.0, 0.2, 1e9), DetectorSettings(0.5, 1e-3, 0.0, 0.0, 1e9)],
)
def test_the_naive_light_obeys_the_same_statistics_as_ours(detector: DetectorSettings) -> None:
    # 6 standard deviations of the spread from frame to frame, 64 frames: false alarm 1.1e-7 (Student's t, 63 degrees
    # of freedom) per number, 6.4e-7 for the six of them.
    rates = np.array([naive_rates(frame, detector) for frame in range(FRAMES)])
    expected = expected_statistics(SOURCE, FIBRE, detector, SOURCE.key_basis_probability)
    spread = rates.std(axis=0, ddof=1) / sqrt(FRAMES)
    assert np.all(np.abs(rates.mean(axis=0) - [expected.gain, expected.qber_key]) < 6 * spread)


def test_dead_time_and_afterpulses_are_where_they_should_be_in_the_naive_light() -> None:
    always = DetectorSettings(1.0, 0.0, 2.0, 1.0, 1e9)
    fired = np.zeros(12, np.uint8)
    fired[[1, 2, 5]] = 1, 2, 2
    gates, masks = naive_light._remember(fired, always, np.random.default_rng(1))
    assert gates.tolist() == [1, 4, 7, 10]  # gates 2 and 5 lie in dead time
    assert masks.tolist() == [1, 1, 1, 1]
    never = DetectorSettings(1.0, 0.0, 2.0, 0.0, 1e9)
    gates, masks = naive_light._remember(fired, never, np.random.default_rng(1))
    assert (gates.tolist(), masks.tolist()) == ([1, 5], [1, 2])
    beside = DetectorSettings(1.0, 0.0, 0.0, 1.0, 1e9)
    gates, masks = naive_light._remember(fired, beside, np.random.default_rng(1))
    assert gates.tolist() == list(range(1, 12))
    assert masks.tolist() == [1, *[3] * 10]


def test_both_lights_emit_every_pulse_of_a_block_that_ends_within_a_frame() -> None:
    light = shine(FRAME_PULSES + 10)
    assert light.prepared.complete
    assert len(shine_naively(FRAME_PULSES + 10)) == 2


def test_both_siftings_give_the_same_keys_and_counts() -> None:
    pulses = 20_000
    light = shine(pulses)
    ours, naive = sift_both(light, pulses), sift_naively(light)
    assert len(ours.alice.key_bits) > 100
    assert ours.alice_counts == ours.bob_counts == naive.alice_counts
    for party in ("alice", "bob"):
        for array in ("key_bits", "key_classes", "test_bits", "test_classes"):
            assert np.array_equal(getattr(getattr(ours, party), array), getattr(getattr(naive, party), array))
    assert np.array_equal(ours.bob.key_classes, ours.alice.key_classes)
    assert naive.bob_counts == naive.alice_counts


def test_both_reconciliations_end_with_alices_key() -> None:
    frame = Frame.drawn(2048)
    assert not np.array_equal(frame.bob_bits, frame.alice_bits)
    assert np.array_equal(reconcile(frame), frame.alice_bits)
    assert reconcile_slowly(frame) == frame.alice_bits.tolist()


@pytest.mark.parametrize(("length", "secret_bits"), [(1000, 500), (1001, 333), (64, 64), (9, 1)])
def test_both_amplifications_give_the_same_key(length: int, secret_bits: int) -> None:
    verified, seed = drawn_key(length), drawn_seed(length, secret_bits)
    assert amplify_with_scipy(verified, seed, secret_bits) == amplify(verified, seed, secret_bits).material


def test_both_authentications_accept_every_checkpoint() -> None:
    parties, phases = issued_parties(), conversation(2**16)
    assert authenticate(phases) == authenticate_anew(parties, phases) == CHECKPOINTS
