"""Whatever chain of attacks Eve plays, she can do what her notebook claims.

Each bit that she has not for sure is guessed right with the probability that the notebook claims: their sum is met
within six standard deviations (2.0e-9 per chain; below 5e-7 over all chains here).
"""

from itertools import product

import numpy as np
import pytest

from qkdlink.common.errors import ConfigurationError
from qkdlink.common.optics.detector import DetectorSettings
from qkdlink.common.optics.fibre import Fibre
from qkdlink.common.optics.source import Source
from qkdlink.common.optics.watchful_receiver import DetectorFlaws
from qkdlink.eve.quantum_attacks.catalogue import ATTACKS, attack_from
from tests.support.line_with_eve import Outcome, live

SIGMAS = 6
DECOYS = Source((0.6, 0.1), (0.75, 0.25), 0.5)
LINE = Fibre(10, 0.2, 0.03)
DETECTOR = DetectorSettings(0.6, 1e-3, 2.0, 0.04, 1e9)
PROBE = 1e6
"""One reflected photon per pulse."""


def assert_calibrated(outcome: Outcome) -> None:
    knowledge, _ = outcome.known()
    right = knowledge.guesses == outcome.bits[outcome.matched]
    assert right[knowledge.certain].all()
    guessed = knowledge.probabilities[~knowledge.certain]
    deviation = np.sqrt((guessed * (1 - guessed)).sum())
    assert abs(right[~knowledge.certain].sum() - guessed.sum()) <= SIGMAS * deviation


@pytest.mark.parametrize(("first", "second"), list(product(ATTACKS, ATTACKS)))
def test_of_two_attacks_in_a_row_she_knows_what_she_claims(first: str, second: str):
    chain = f"{first}:fraction=0.8 {second}:fraction=0.7"
    assert_calibrated(
        live(chain, DECOYS, LINE, DETECTOR, 2**16, probe_photons=PROBE, flaws=DetectorFlaws(0.2))
    )


@pytest.mark.parametrize("name", [name for name in ATTACKS if name != "time-shift"])
@pytest.mark.parametrize("place", [0, 1])
def test_with_a_time_shift_before_or_after_any_attack_at_full_strength_too(name: str, place: int):
    chain = [name, "time-shift"] if place else ["time-shift", name]
    outcome = live(" ".join(chain), DECOYS, LINE, DETECTOR, 2**18, flaws=DetectorFlaws(0.2))
    assert_calibrated(outcome)


@pytest.mark.parametrize("mismatch", [0.0, 0.1, 0.5, 1.0])
def test_what_a_time_shift_tells_her_goes_by_bobs_detectors(mismatch: float):
    outcome = live("time-shift", DECOYS, LINE, DETECTOR, 2**18, flaws=DetectorFlaws(mismatch))
    assert_calibrated(outcome)
    knowledge, _ = outcome.known()
    assert not knowledge.certain.any()
    assert knowledge.unknown.all() == (mismatch == 1)


def test_what_she_holds_of_the_detectors_is_no_setting_of_hers():
    with pytest.raises(ConfigurationError, match="cannot have mismatch"):
        attack_from("time-shift:mismatch=0")


@pytest.mark.parametrize("chain", ["intercept-resend trojan-horse", "jamming trojan-horse", "trojan-horse"])
def test_reflections_come_from_alice_whatever_becomes_of_her_pulse(chain: str):
    knowledge, _ = live(chain, DECOYS, LINE, DETECTOR, 2**16, probe_photons=PROBE).known()
    least = 1 - np.exp(-1)
    assert knowledge.certain.sum() >= len(knowledge) * least - SIGMAS * np.sqrt(len(knowledge) * least)


def test_of_reflections_that_one_probe_has_taken_another_finds_none():
    once, twice = (
        live(chain, DECOYS, LINE, DETECTOR, 2**16, probe_photons=PROBE).known()[0].known_fraction
        for chain in ("trojan-horse", "trojan-horse trojan-horse")
    )
    assert once == twice
