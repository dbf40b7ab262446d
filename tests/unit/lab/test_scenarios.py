"""Scenarios: every file can be read and set up, verdicts come from evidence, and a broken countermeasure fails one."""

import json
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from qkdlink.cli import app
from qkdlink.common.distillation.monitors import Look, Monitor
from qkdlink.common.errors import ConfigurationError, LinkError
from qkdlink.common.protocol import monitoring
from qkdlink.lab.light import block_with_eve
from qkdlink.lab.scenarios.experiments.catalogue import EXPERIMENTS, experiment_of
from qkdlink.lab.scenarios.experiments.light import Light
from qkdlink.lab.scenarios.scenario import read, scenario, scenarios
from qkdlink.lab.scenarios.verdicts import Outcome, Verdict

QUICK = (
    "blinding-off",
    "blinding-on",
    "blinding-random-efficiency",
    "breidbart-on",
    "intercept-resend-on",
    "jamming-off",
    "jamming-on",
    "photon-number-splitting-off",
    "photon-number-splitting-on",
    "sub-threshold",
    "time-shift-off",
    "time-shift-on",
    "trojan-horse-on",
)


LIGHT = tuple(each for each in scenarios() if isinstance(each.set_up_experiment, Light))


def test_there_are_at_least_twenty_scenarios_and_each_can_be_set_up():
    found = scenarios()
    assert len(found) >= 40
    assert len({each.name for each in found}) == len(found)
    assert all(each.set_up_experiment for each in found)
    assert {each.experiment for each in found} == set(EXPERIMENTS)


def test_an_honest_link_makes_keys_with_the_parameters_of_every_scenario_of_light():
    planned = [each.set_up_experiment.parameters for each in LIGHT]
    assert len(planned) > 20


def test_what_is_expected_is_a_verdict_that_can_be_given():
    for each in scenarios():
        assert each.expected in set(Verdict) or each.expected.startswith("refused-by-"), each.name


@pytest.mark.parametrize("name", QUICK)
def test_an_attack_on_light_comes_out_as_expected(name: str):
    outcome = scenario(name).run()
    assert outcome.passed, outcome


def test_the_verdict_is_not_copied_from_what_is_expected(tmp_path: Path):
    text = resources.files("qkdlink.lab.scenarios").joinpath("blinding-on.toml").read_text()
    file = tmp_path / "blinding-on.toml"
    file.write_text(text.replace("refused-by-photocurrent", "eve-has-the-key"))
    outcome = read(file).run()
    assert outcome.verdict == "refused-by-photocurrent"
    assert not outcome.passed


def test_a_scenario_fails_once_its_countermeasure_is_broken_by_hand(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(monitoring, "look_at_photocurrent", lambda _: Look(Monitor.PHOTOCURRENT, ()))
    assert scenario("blinding-on").run().verdict == Verdict.EVE_HAS_THE_KEY
    monkeypatch.setattr(block_with_eve, "allowed_bits", lambda *_: 10_000)
    assert scenario("sub-threshold").run().verdict == Verdict.EVE_KNOWS_OF_THE_KEY
    # the check of a larger key takes longer
    monkeypatch.setattr(block_with_eve, "allowed_bits", lambda *_: 1_000)
    monkeypatch.setattr(block_with_eve, "tolerates", lambda *_: True)
    assert not scenario("intercept-resend-on").run().passed


def test_the_verdict_on_light_follows_the_evidence():
    def judged(*blocks: dict[str, Any]) -> str:
        return Light(attack="transparent").judge({"blocks": list(blocks)})

    refused = {"secret_bits": 0, "refused_by": "gain", "safe": True, "undetermined_bits": None}
    safe = {"secret_bits": 300, "refused_by": None, "safe": True, "undetermined_bits": 300}
    known = {**safe, "safe": False, "undetermined_bits": 0}
    assert judged(refused, {**refused, "refused_by": "double-clicks"}) == "refused-by-double-clicks-and-gain"
    assert judged(refused, safe) == Verdict.KEY_IS_UNDETERMINED
    assert judged(safe, {**known, "undetermined_bits": 299}) == Verdict.EVE_KNOWS_OF_THE_KEY
    assert judged(refused, known) == Verdict.EVE_HAS_THE_KEY
    assert judged(safe, known) == Verdict.EVE_KNOWS_OF_THE_KEY


UNHEEDED = {
    "attack": "photon-number-splitting",
    "protocol": "two-decoy",
    "pulses": 4_000_000,
    "distance_km": 50.0,
}


def test_every_guard_on_a_block_that_nobody_gives_up_is_named_in_the_order_of_the_nodes(
    monkeypatch: pytest.MonkeyPatch,
):
    unheeded = experiment_of("unheeded", UNHEEDED)
    seen = unheeded.observe()
    assert seen["without_eve"]["acted"] == []
    assert seen["without_eve"]["secret_bits"] > 256
    assert seen["with_eve"]["single_photon_bound"] == seen["with_eve"]["secret_bits"] == 0
    assert unheeded.judge(seen) == "refused-by-double-clicks-then-gain-then-decoy-analysis"
    monkeypatch.setattr(block_with_eve, "alarm_of_decoys", lambda *_: None)
    monkeypatch.setattr(monitoring, "look_at_gains", lambda *_, **__: Look(Monitor.GAIN, ()))
    assert unheeded.judge(unheeded.observe()) == "refused-by-double-clicks"


def test_guards_are_believed_only_where_the_honest_link_makes_a_key_and_the_bound_is_safe():
    unheeded = experiment_of("unheeded", UNHEEDED)
    honest = {"acted": [], "secret_bits": 300, "safe": True}
    near = {"acted": ["double-clicks", "gain"], "secret_bits": 300, "safe": True}

    def judged(without_eve: dict[str, Any], with_eve: dict[str, Any]) -> str:
        return unheeded.judge({"without_eve": without_eve, "with_eve": with_eve})

    assert judged(honest, near) == "refused-by-double-clicks-then-gain"
    assert judged(honest, {**near, "acted": []}) == Verdict.KEY_IS_UNDETERMINED
    assert judged(honest, {**near, "acted": [], "secret_bits": 0}) == Verdict.NO_KEY
    assert judged(honest, {**near, "safe": False}) == Verdict.EVE_KNOWS_OF_THE_KEY
    assert judged({**honest, "acted": ["gain"]}, near) == Verdict.UNCLEAR
    assert judged({**honest, "secret_bits": 0}, near) == Verdict.UNCLEAR


def test_tampering_is_refused_only_if_it_was_named_and_nothing_differs_ever():
    tampering = experiment_of("tampering", {})
    well: dict[str, Any] = {"keys_equal": True, "said": [], "faults": []}
    tampered = {"keys_equal": False, "said": ["... decryption failed or bad record mac ..."], "faults": []}

    def judged(**changed: dict[str, Any]) -> str:
        return tampering.judge({"before": well, "tampered": tampered, "after": well, **changed})

    assert judged() == Verdict.KEYS_AGREE
    assert judged(after={**well, "keys_equal": False}) == Verdict.NO_KEY
    assert judged(before={**well, "keys_equal": False}) == Verdict.UNCLEAR
    assert judged(tampered={**tampered, "said": ["The peer closed the connection."]}) == Verdict.UNCLEAR
    assert judged(tampered={**tampered, "faults": ["the material differs"]}) == Verdict.UNCLEAR
    assert judged(after={**well, "faults": ["the material differs"]}) == Verdict.UNCLEAR


def test_direct_light_tells_her_nothing_only_if_she_saw_none_and_would_have_learnt_from_it():
    block = {"detections": 25000, "qber_key": 0.01, "secret_bits": 4000, "aborted": None}
    nothing = {
        "key_recovered": False,
        "known_fraction_of_sifted": 0.0,
        "key_undetermined": True,
        "frames_seen": 0,
    }
    hers = {**nothing, "known_fraction_of_sifted": 1.0, "key_undetermined": None, "frames_seen": 2}
    alone = {"keys_equal": True, "blocks": [block]}

    def judged(alone: dict[str, Any] = alone, plugged: dict[str, Any] = hers, **direct: object) -> str:
        blocks = direct.pop("blocks", [block])
        unplugged = {"keys_equal": True, "blocks": blocks, "eve": {**nothing, **direct}}
        evidence = {"without_eve": alone, "unplugged": unplugged, "plugged": {"eve": plugged}}
        return experiment_of("unplugged", {}).judge(evidence)

    assert judged() == Verdict.KEY_IS_UNDETERMINED
    assert judged(key_recovered=True, known_fraction_of_sifted=1.0) == Verdict.EVE_HAS_THE_KEY
    assert judged(known_fraction_of_sifted=0.01) == Verdict.EVE_KNOWS_OF_THE_KEY
    assert judged(key_undetermined=False) == Verdict.EVE_KNOWS_OF_THE_KEY
    assert judged(frames_seen=1) == Verdict.UNCLEAR
    assert judged(key_undetermined=None) == Verdict.UNCLEAR
    assert judged(blocks=[{**block, "qber_key": 0.02}]) == Verdict.UNCLEAR
    assert judged(alone={**alone, "keys_equal": False}) == Verdict.UNCLEAR
    assert judged(plugged=nothing) == Verdict.UNCLEAR


@pytest.mark.parametrize(
    ("evidence", "verdict"),
    [
        ({"keys_equal_before": True}, Verdict.NO_KEY),
        ({"secret_bits_while_jammed": 300}, Verdict.KEYS_AGREE),
        ({"available_bits_lost": 400}, Verdict.UNCLEAR),
        ({"seconds_to_starvation": 3600.0}, Verdict.UNCLEAR),
        ({"known_fraction_of_sifted": 0.5}, Verdict.EVE_KNOWS_OF_THE_KEY),
    ],
)
def test_denial_of_service_is_judged_by_what_was_made_lost_and_left(evidence: dict[str, Any], verdict: str):
    well = {
        "keys_equal_before": True,
        "secret_bits_while_jammed": 0,
        "known_fraction_of_sifted": 0.0,
        "available_bits_lost": 300,
        "tags_bits_spent": 300,
        "psk_bits_spent": 0,
        "seconds_to_starvation": 90_000.0,
    }
    assert experiment_of("denial", {}).judge({**well, **evidence}) == verdict


def test_a_stolen_disk_is_judged_by_what_fell():
    endpoint = experiment_of("endpoint", {})
    well = {"used_before": ["1/a"], "unused": ["3/a"], "made_later": ["4/a"], "fallen": ["3/a"]}
    assert endpoint.judge(well) == Verdict.ERASED_KEYS_STAY_SHUT
    assert endpoint.judge({**well, "fallen": ["1/a", "3/a"]}) == Verdict.EVE_HAS_THE_KEY
    assert endpoint.judge({**well, "fallen": ["3/a", "4/a"]}) == Verdict.EVE_HAS_THE_KEY
    assert endpoint.judge({**well, "fallen": []}) == Verdict.UNCLEAR
    assert endpoint.judge({**well, "used_before": []}) == Verdict.UNCLEAR


def test_a_combination_is_safe_only_if_it_takes_both():
    combined = experiment_of("combined-later", {})

    def judged(**opened: bool) -> str:
        return combined.judge({"opened_if_broken": {"none": False, "qkd": False, "both": True, **opened}})

    assert judged() == Verdict.SAFE_WHILE_ONE_HOLDS
    assert judged(qkd=True) == Verdict.OPENED
    assert judged(both=False) == Verdict.NOT_OPENED


def test_the_man_in_the_middle_owns_the_keys_only_if_she_knows_all_of_them():
    cell = experiment_of("in-the-middle", {"stolen": "the link PSK"})
    won = {"known_of_alice": 2, "keys_of_alice": 2, "known_of_bob": 3, "keys_of_bob": 3, "traffic_read": True}
    lost = {**won, "known_of_alice": 0, "known_of_bob": 0, "traffic_read": False}
    assert cell.judge(won) == Verdict.EVE_HAS_THE_KEY
    assert cell.judge(lost) == Verdict.EVE_IS_STOPPED
    assert cell.judge({**won, "known_of_bob": 2}) == Verdict.EVE_KNOWS_OF_THE_KEY
    assert cell.judge({**lost, "known_of_bob": 1}) == Verdict.EVE_KNOWS_OF_THE_KEY


def test_an_experiment_that_does_not_come_to_its_end_is_unclear(monkeypatch: pytest.MonkeyPatch):
    def fails(_: Light) -> None:
        raise LinkError("the broker is gone")

    monkeypatch.setattr(Light, "observe", fails)
    outcome = scenario("blinding-on").run()
    assert (outcome.verdict, outcome.evidence) == (Verdict.UNCLEAR, {"failed": "The broker is gone."})
    assert not outcome.passed


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("claim = ", "is not TOML"),
        ('claim = "a"', "question"),
        ("GOOD\nsurprise = 1", "surprise"),
        ("GOOD\n[parameters]\nfraction = 1", "cannot have"),
    ],
)
def test_a_file_that_is_no_scenario_is_refused_with_what_is_wrong(tmp_path: Path, text: str, says: str):
    good = 'claim = "a"\nquestion = "b"\nset_up = "c"\nexperiment = "light"\nexpected = "no-key"'
    file = tmp_path / "mine.toml"
    file.write_text(text.replace("GOOD", good))
    with pytest.raises(ConfigurationError, match=says):
        _ = read(file).set_up_experiment


def test_unknown_names_are_answered_with_those_there_are():
    with pytest.raises(ConfigurationError, match="blinding-on"):
        scenario("no-such")
    with pytest.raises(ConfigurationError, match="bootstrap"):
        experiment_of("no-such", {})


def test_the_command_line_prints_one_object_and_exits_by_the_verdict(monkeypatch: pytest.MonkeyPatch):
    told = CliRunner().invoke(app, ["lab", "run", "blinding-on", "--json"])
    assert told.exit_code == 0
    outcome = json.loads(told.stdout)
    assert {"scenario", "claim", "verdict", "expected", "passed", "evidence"} <= outcome.keys()
    assert outcome["passed"] is True
    monkeypatch.setattr(Light, "judge", lambda *_: Verdict.EVE_HAS_THE_KEY)
    failed = CliRunner().invoke(app, ["lab", "run", "blinding-on", "--json"])
    assert failed.exit_code == 1
    assert json.loads(failed.stdout)["passed"] is False


def test_the_list_shows_every_scenario():
    told = CliRunner().invoke(app, ["lab", "list", "--json"])
    assert told.exit_code == 0
    assert [json.loads(line)["name"] for line in told.stdout.splitlines()] == [s.name for s in scenarios()]


def test_an_outcome_passes_only_with_the_expected_verdict():
    assert Outcome("a", "b", "no-key", "no-key", {}, 0.0).passed
    assert not Outcome("a", "b", "no-key", "opened", {}, 0.0).passed
