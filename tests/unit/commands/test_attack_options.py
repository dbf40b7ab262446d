"""What `--attack` and `--without` take, and what they refuse in one sentence."""

from pathlib import Path

import pytest

from qkdlink.cli import main
from qkdlink.commands.link_plan import watched
from qkdlink.common.distillation.monitors import Monitor
from qkdlink.common.errors import ConfigurationError
from qkdlink.common.protocol.parameters import LinkParameters
from qkdlink.eve.classical_attacks.catalogue import TREATMENTS
from qkdlink.eve.named_attacks import NamedAttacks, named_attacks
from qkdlink.eve.quantum_attacks.catalogue import ATTACKS
from qkdlink.lab.faults.kill_trials import tiny_parameters

OWN = "class Mine:\n    name = 'mine'\n    def touch(self, train, tools, notes):\n        return train\n"


def test_monitors_are_turned_off_by_name_and_both_nodes_have_to_agree_on_it():
    parameters = watched(tiny_parameters(), ["photocurrent", "gain", "gain"], 0.0)
    assert parameters.monitors_off == (Monitor.GAIN, Monitor.PHOTOCURRENT)
    assert LinkParameters.model_validate_json(parameters.canonical()) == parameters
    assert parameters != tiny_parameters()


def test_all_turns_every_monitor_off():
    assert set(watched(tiny_parameters(), ["all"], 0.0).monitors_off) == set(Monitor)


def test_a_file_is_found_by_eve_wherever_she_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "mine.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    assert named_attacks(["mine.py:Mine", "breidbart"]).quantum == (f"{tmp_path}/mine.py:Mine", "breidbart")


@pytest.mark.parametrize("name", TREATMENTS)
def test_an_attack_on_the_classical_channel_is_named_as_one_on_the_quantum_channel_is(name: str):
    assert named_attacks(["breidbart", name]) == NamedAttacks(("breidbart",), (name,))


def test_no_attack_has_the_name_of_one_on_the_other_channel():
    assert not set(TREATMENTS) & set(ATTACKS)


REFUSED = {
    "attack": (["--attack", "teleport"], "No attack is called 'teleport'"),
    "setting": (["--attack", "blinding:volume=3"], "its settings are fraction"),
    "strength": (["--attack", "breidbart:fraction=-1"], "cannot have fraction"),
    "classical-setting": (["--attack", "tamper:loud=1"], "'loud', which is not a key here"),
    "too-many-classical": (9 * ["--attack", "drop"], "at most 8 attacks at a time on the classical channel"),
    "file": (["--attack", "nowhere.py:Mine"], "There is no file"),
    "theft": (["--stolen", "heart"], "'heart' cannot be stolen: name some of certificate, authority"),
    "too-many": (9 * ["--attack", "breidbart"], "at most 8 attacks"),
    "monitor": (["--without", "luck"], "There is no monitor 'luck'; there are arrival-times"),
    "gates": (["--random-efficiency", "0.3"], "it is a multiple of 1/256"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_there_is_not_is_one_sentence_and_status_2(case: str, capsys: pytest.CaptureFixture[str]):
    options, sentence = REFUSED[case]
    with pytest.raises(SystemExit) as ended:
        main(["demo", "--protocol", "single-photon", "--block-pulses", "80000", *options])
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert sentence in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""


def test_parameters_name_monitors_once_and_in_order():
    values = tiny_parameters().model_dump()
    for names in (["gain", "gain"], ["photocurrent", "gain"], ["luck"]):
        with pytest.raises(ValueError, match="monitors_off"):
            LinkParameters.model_validate(values | {"monitors_off": names})
    with pytest.raises(ConfigurationError, match="switched off"):
        watched(tiny_parameters(), [], 1.0)
