from math import exp
from pathlib import Path

import pytest

from qkdlink.common.errors import ConfigurationError
from qkdlink.common.optics.source import Source
from qkdlink.common.optics.states import Basis
from qkdlink.eve.quantum_attacks.base import Attack
from qkdlink.eve.quantum_attacks.catalogue import ATTACKS, attack_from, load_attack, own_attacks
from qkdlink.eve.quantum_attacks.intercept_resend import Bases, InterceptResend
from tests.support.line_with_eve import assert_rate, live
from tests.support.source import ROOT

OWN = """
from typing import ClassVar

from qkdlink.eve.quantum_attacks.base import Attack


class Mine(Attack):
    name: ClassVar[str] = "mine"
    strength: int = 1

    def act(self, train, chosen, tools, notes):
        return train


class Plain:
    name = "plain"

    def touch(self, train, tools, notes):
        return train


class Unfinished(Attack):
    name: ClassVar[str] = "unfinished"


class NoAttack:
    pass


class Demanding:
    name = "demanding"

    def __init__(self):
        raise SystemExit(0)

    def touch(self, train, tools, notes):
        return train


class Spaced(Plain):
    name = "a b\\nc"


class Namesake(Plain):
    name = "intercept-resend"
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    file = tmp_path / "own.py"
    file.write_text(OWN)
    return file


def test_the_catalogue_names_every_attack_there_is():
    assert set(ATTACKS) == {
        "transparent",
        "intercept-resend",
        "breidbart",
        "photon-number-splitting",
        "beam-splitting",
        "unambiguous-state-discrimination",
        "blinding",
        "time-shift",
        "trojan-horse",
        "jamming",
    }
    assert set(ATTACKS.values()) == {
        cls for cls in Attack.__subclasses__() if cls.__module__.startswith("qkdlink.eve.")
    }


def test_a_text_is_an_attack_with_its_settings():
    attack = attack_from("intercept-resend:fraction=0.25,bases=key")
    assert attack == InterceptResend(fraction=0.25, bases=Bases.KEY)
    assert attack_from("breidbart") == ATTACKS["breidbart"]()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("telepathy", "no attack is called 'telepathy'; there are transparent, intercept-resend"),
        ("", "no attack is called ''"),
        ("intercept-resend:fraction=2", "intercept-resend cannot have fraction: it must be at most 1"),
        ("intercept-resend:fraction=nan", "cannot have fraction"),
        ("intercept-resend:fraction", "'fraction' is not a setting"),
        ("intercept-resend:fraction=1,fraction=1", "came twice"),
        ("intercept-resend:colour=red", "cannot have colour: .* its settings are fraction, bases"),
        ("intercept-resend:bases=both", "cannot have bases"),
        ("jamming:photons=32", "cannot have photons"),
        ("trojan-horse:probe_photons=-1", "cannot have probe_photons"),
        ("trojan-horse:probe_photons=inf", "cannot have probe_photons"),
    ],
)
def test_a_malformed_attack_is_refused_with_a_sentence(text: str, sentence: str):
    with pytest.raises(ConfigurationError, match=sentence):
        attack_from(text)


def test_an_attack_of_ones_own_is_loaded_from_its_file(own: Path):
    attack = attack_from(f"{own}:Mine:strength=3,fraction=0.5")
    assert attack.name == "mine"
    assert attack.model_dump() == {"strength": 3, "fraction": 0.5}  # type: ignore[attr-defined]
    assert attack_from(f"{own}:Plain").name == "plain"
    assert len(live([attack, attack_from(f"{own}:Plain")], pulses=2**10).record)


def test_the_attack_that_the_documentation_writes_works_in_twenty_lines(tmp_path: Path):
    text = (ROOT / "docs/attacks.md").read_text().partition("```python\n")[2].partition("```")[0]
    assert len(text.splitlines()) <= 24
    (tmp_path / "mine.py").write_text(text)
    source, pulses = Source((0.5,), (1.0,), 0.5), 2**19
    outcome = live([attack_from(f"{tmp_path}/mine.py:HalfListener")], source, pulses=pulses)
    assert_rate(len(outcome.record), pulses, 1 - exp(-0.25 * outcome.link.fibre.transmittance))
    knowledge, right = outcome.known()
    assert_rate(int(knowledge.certain.sum()), len(knowledge), (1 - exp(-0.25)) / 2)
    assert right > knowledge.certain.sum()
    assert outcome.errors(Basis.KEY)[0] == 0
    for number in ("nan", "inf", "2"):
        with pytest.raises(ConfigurationError, match="cannot have transmittance"):
            attack_from(f"{tmp_path}/mine.py:HalfListener:transmittance={number}")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("Nobody", "defines no class Nobody"),
        ("NoAttack", "NoAttack in .* is no attack: it needs a `name` and a method touch"),
        ("Unfinished", "Unfinished in .* is no attack yet: it lacks the method `act`"),
        ("not a name", "does not name an attack: write FILE.py:Class"),
        ("Plain:strength=1", "Plain takes no settings"),
        ("Demanding", "Demanding cannot be made: SystemExit: 0"),
        (
            "Spaced",
            r"Spaced in .* is called 'a b\\nc': its `name` has to be of at most 64 lower-case letters",
        ),
        ("Namesake", "Namesake in .* is called 'intercept-resend', as a listed attack is"),
    ],
)
def test_a_class_that_is_no_attack_is_refused(own: Path, name: str, sentence: str):
    with pytest.raises(ConfigurationError, match=sentence):
        attack_from(f"{own}:{name}")


def test_a_file_that_is_not_there_or_does_not_run_is_refused(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="there is no file"):
        load_attack(f"{tmp_path}/none.py:Mine")
    (tmp_path / "broken.py").write_text("1 / 0")
    with pytest.raises(ConfigurationError, match="cannot be loaded: ZeroDivisionError"):
        load_attack(f"{tmp_path}/broken.py:Mine")
    (tmp_path / "leaving.py").write_text("raise SystemExit(0)")
    with pytest.raises(ConfigurationError, match="cannot be loaded: SystemExit: 0"):
        load_attack(f"{tmp_path}/leaving.py:Mine")
    with pytest.raises(ConfigurationError, match=r"write FILE\.py:Class"):
        load_attack("mine.txt:Mine")


def test_two_attacks_of_ones_own_have_two_names(own: Path):
    assert set(own_attacks([f"{own}:Mine", f"{own}:Plain"])) == {"mine", "plain"}
    with pytest.raises(ConfigurationError, match="is called 'mine', as another attack"):
        own_attacks([f"{own}:Mine", f"{own}:Mine"])
