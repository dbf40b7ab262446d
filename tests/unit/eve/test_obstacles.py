"""An attack whose precondition is absent says so in one sentence, wherever it is switched on."""

from dataclasses import replace

import pytest

from qkdlink.common.optics.fibre import Fibre
from qkdlink.common.optics.presets import preset
from qkdlink.common.optics.watchful_receiver import DetectorFlaws
from qkdlink.deployment.planning.planner import plan, task_for
from qkdlink.eve.classical_attacks.catalogue import TREATMENTS, treatment_from
from qkdlink.eve.quantum_attacks.base import Attack, PublicLink
from qkdlink.eve.quantum_attacks.catalogue import ATTACKS, attack_from
from qkdlink.lab.faults.kill_trials import tiny_parameters

WEAK_PULSES = PublicLink.of(
    plan(task_for(preset("metropolitan"), 2_000_000, None, None)).link_parameters(reproducible=False)
)
SINGLE_PHOTONS = PublicLink.of(tiny_parameters())
LINKS = {
    "weak pulses": WEAK_PULSES,
    "single photons": SINGLE_PHOTONS,
    "equal detectors": replace(WEAK_PULSES, flaws=DetectorFlaws(timing_mismatch=1.0)),
    "no loss": replace(WEAK_PULSES, fibre=Fibre(0.0, 0.0, 0.01)),
}
ABSENT = [
    ("single photons", "photon-number-splitting", "nothing to split"),
    ("single photons", "unambiguous-state-discrimination", "three photons or more"),
    ("single photons", "beam-splitting", "never reaches Bob"),
    ("no loss", "beam-splitting", "loses no light"),
    ("equal detectors", "time-shift", "equally efficient"),
    ("weak pulses", "trojan-horse:probe_photons=0", "no photons"),
    ("weak pulses", "breidbart:fraction=0", "its fraction is 0"),
    ("single photons", "photon-number-splitting:fraction=0", "nothing to split"),
]


def obstacle(link: PublicLink, text: str) -> str | None:
    attack = attack_from(text)
    assert isinstance(attack, Attack)
    return attack.obstacle(link)


@pytest.mark.parametrize(("link", "text", "sentence"), ABSENT)
def test_an_attack_without_its_precondition_says_so(link: str, text: str, sentence: str) -> None:
    why = obstacle(LINKS[link], text)
    assert why is not None
    assert sentence in why
    assert why.endswith(".")
    assert why.startswith(text.partition(":")[0])


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_with_all_its_preconditions_says_nothing(name: str) -> None:
    assert obstacle(WEAK_PULSES, name) is None


@pytest.mark.parametrize("name", TREATMENTS)
def test_an_attack_on_the_classical_channel_says_nothing_but_where_it_changes_nothing(name: str) -> None:
    assert treatment_from(name).obstacle is None
    assert "changes nothing" in (treatment_from("delay:seconds=0").obstacle or "")
