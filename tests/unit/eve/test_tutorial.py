"""The tutorial's attack is what it says: twenty lines, and the numbers that it predicts."""

from pathlib import Path

import pytest

from qkdlink.common.errors import ConfigurationError
from qkdlink.common.optics.states import Basis
from qkdlink.eve.quantum_attacks.catalogue import attack_from
from tests.support.line_with_eve import assert_rate, live
from tests.support.source import ROOT

TUTORIAL = ROOT / "docs/tutorial/own-attack.md"


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """The tutorial's file, saved as it says."""
    text = TUTORIAL.read_text().partition("```python\n")[2].partition("```")[0]
    lines = [line for line in text.splitlines() if line]
    assert len(lines) <= 20
    (tmp_path / "mine.py").write_text(text)
    return tmp_path / "mine.py"


@pytest.mark.parametrize(("key_share", "fraction"), [(0.8, 1.0), (1.0, 0.1), (0.25, 0.5)])
def test_the_tutorials_attack_errs_and_knows_as_it_predicts(mine: Path, key_share: float, fraction: float):
    outcome = live([attack_from(f"{mine}:Biased:key_share={key_share},fraction={fraction}")], pulses=2**19)
    for basis, wrong in ((Basis.KEY, 1 - key_share), (Basis.TEST, key_share)):
        errors, bits = outcome.errors(basis)
        assert_rate(errors, bits, fraction * wrong / 2)
    knowledge, right = outcome.known(Basis.KEY)
    assert_rate(int(knowledge.certain.sum()), len(knowledge), fraction * key_share)
    assert right >= knowledge.certain.sum()


def test_a_share_that_is_none_is_refused_in_one_sentence(mine: Path):
    with pytest.raises(ConfigurationError, match="cannot have key_share"):
        attack_from(f"{mine}:Biased:key_share=2")


def test_every_attack_on_the_tutorials_command_lines_can_be_made(mine: Path):
    texts = [
        word
        for page in ("own-attack.md", "playing-eve.md")
        for line in (TUTORIAL.parent / page).read_text().splitlines()
        if line.startswith("    qkdlink ") and "--attack " in line
        for word in line.split("--attack ")[1].split()[:1]
    ]
    assert len(texts) >= 4
    for text in texts:
        attack_from(text.replace("mine.py", str(mine)))
