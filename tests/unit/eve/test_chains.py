"""Any chain of attacks: in any frames, at any strength, on the same line as without Eve."""

import numpy as np
import pytest

from qkdlink.common.optics.detector import DetectorSettings
from qkdlink.common.optics.fibre import Fibre
from qkdlink.common.optics.source import Source
from qkdlink.eve.quantum_attacks.catalogue import ATTACKS
from tests.support.line_with_eve import Outcome, live

DECOYS = Source((0.5, 0.1), (0.75, 0.25), 0.75)
LINE = Fibre(10, 0.2, 0.02)
DETECTOR = DetectorSettings(0.5, 1e-3, 20.0, 0.05, 1e9)


def run(chain: str, frame: int = 2**16) -> Outcome:
    return live(chain, DECOYS, LINE, DETECTOR, 2**16, frame=frame, probe_photons=1e5)


def assert_same_clicks(one: Outcome, other: Outcome) -> None:
    for field in ("gates", "bases", "bits"):
        np.testing.assert_array_equal(getattr(one.record, field), getattr(other.record, field))
    assert one.record.double_clicks == other.record.double_clicks


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_on_nothing_changes_no_click(name: str):
    assert_same_clicks(run(f"{name}:fraction=0"), run(""))


def test_transparent_eve_changes_no_click():
    assert_same_clicks(run("transparent"), run(""))


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("fraction", [0.3, 1.0])
def test_the_size_of_frames_changes_neither_clicks_nor_knowledge(name: str, fraction: float):
    whole, cut = (run(f"{name}:fraction={fraction}", frame) for frame in (2**16, 9973))
    assert_same_clicks(whole, cut)
    (one, _), (other, _) = whole.known(), cut.known()
    np.testing.assert_array_equal(one.guesses, other.guesses)
    np.testing.assert_array_equal(one.probabilities, other.probabilities)


def test_of_light_that_she_has_replaced_a_later_attack_learns_nothing_about_alice():
    outcome = run("intercept-resend:fraction=0.5 beam-splitting")
    knowledge, _ = outcome.known()
    right = knowledge.guesses == outcome.bits[outcome.matched]
    assert knowledge.certain.sum() > 400
    assert right[knowledge.certain].all()


def test_of_noise_she_learns_nothing():
    assert run("jamming beam-splitting").known()[0].unknown.all()


def test_reflections_add_to_what_a_measurement_tells():
    alone, both = (run(chain).known()[0] for chain in ("intercept-resend", "trojan-horse intercept-resend"))
    assert both.known_fraction > alone.known_fraction


def test_attacks_draw_independently_of_each_other():
    once, twice = (
        run(chain) for chain in ("intercept-resend:fraction=0.5", "intercept-resend:fraction=0.5 " * 2)
    )
    assert twice.wrong[twice.matched].mean() > 1.3 * once.wrong[once.matched].mean()
