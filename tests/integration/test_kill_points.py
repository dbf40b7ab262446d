"""Processes killed at named points: a sample of the matrix whose whole is `python -m maintenance.evidence kills`."""

import pytest

from maintenance.evidence.kills import conclude, trials
from qkdlink.deployment.homes.names import ALICE, BOB
from qkdlink.lab.faults.kill_points import POINTS
from qkdlink.lab.faults.kill_trials import Trial, run_trial
from qkdlink.lab.faults.mortal import Death

SAMPLE = (
    "alice mid-light (8), together",
    "bob mid-reconciliation (60)",
    "bob mid-hold (1)",
    "alice before-hold (3) and bob before-discard (1)",
    "bob after-hold (3), together",
    "alice after-release (3) and bob before-release (3)",
    "alice after-saying-the-last-checkpoint (3)",
    "bob after-hearing-the-last-checkpoint (3), together",
    "alice after-dialling-with-a-new-key (1)",
    "bob after-hearing-holdings (3)",
    "alice at-the-latch (1)",
    "bob at-the-latch (1)",
    "alice after-the-epoch (3), together",
)


@pytest.mark.parametrize("name", SAMPLE)
async def test_whoever_dies_where_both_agree_afterwards_use_nothing_twice_and_show_no_certificate(
    name: str,
) -> None:
    (trial,) = [each for each in trials() if each.name == name]
    finding = await run_trial(trial)
    assert finding.faults == []
    assert finding.deaths == len(trial.deaths)


def test_the_matrix_has_every_point_at_each_of_its_nodes_alone_and_together_early_and_late() -> None:
    names = {trial.name for trial in trials()}
    assert len(names) == len(trials())
    for point in POINTS:
        for node in point.nodes:
            if point.method == "discard":
                assert f"alice before-hold (3) and {node} {point.name} (1)" in names
            else:
                alone = {f"{node} {point.name} ({on})" for on in (1, point.later)}
                assert {*alone, f"{node} {point.name} ({point.later}), together"} <= names
    for node in (ALICE, BOB):
        assert len({point.name for point in POINTS if node in point.nodes}) >= 12


async def test_a_death_that_does_not_come_is_a_fault() -> None:
    finding = await run_trial(Trial(((ALICE, Death("before-hold", 1_000)),)))
    assert finding.faults == ["0 deaths instead of 1", "the link has not gone on"]


def test_one_fault_in_one_trial_fails_the_experiment_and_is_named() -> None:
    good = {"trial": "one", "faults": [], "deaths": 1, "keys": 5}
    bad = {"trial": "other", "faults": ["the blocks differ"], "deaths": 1, "keys": 5}
    assert conclude([{"trials": [good, good]}])["passed"]
    report = conclude([{"trials": [good]}, {"trials": [bad]}])
    assert not report["passed"]
    assert report["faults"] == {"other": ["the blocks differ"]}
    assert (report["trials"], report["deaths"], report["keys"]) == (2, 2, 10)
