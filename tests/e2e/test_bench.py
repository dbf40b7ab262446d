"""`qkdlink bench` as others call it: the JSON field by field, the table, and what it refuses."""

import json
from dataclasses import replace

import pytest

from qkdlink import cli
from qkdlink.benchmarks import run
from qkdlink.benchmarks.run import PLANS, Length, Plan
from qkdlink.benchmarks.table import Sizes
from qkdlink.deployment.brokers.broker import find_mosquitto

TINY = Plan(
    Sizes(
        pairs=1,
        pulses=4096,
        naive_pulses=4096,
        frame_pulses=1024,
        frames=4,
        sifted_pulses=4096,
        reconciled_bits=1024,
        reference_bits=512,
        amplified_bits=1024,
        transcript_bytes=2**15,
        transcripts=1,
    ),
    limit_bytes=2**14,
    block_pulses=(1_000_000,),
    blocks=1,
    seconds=0.0,
    with_dead_time=False,
    etas=(0.5,),
    starts=0,
)
STAGES = ["source-channel-detector", "transport", "sift", "reconcile", "amplify", "authenticate"]


def bench(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int | str | None:
    monkeypatch.setitem(PLANS, Length.QUICK, TINY)
    with pytest.raises(SystemExit) as ended:
        cli.main(["bench", *arguments])
    return ended.value.code


@pytest.mark.skipif(find_mosquitto() is None, reason="Mosquitto is not installed")
def test_the_json_has_every_stage_and_a_link_with_key(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert bench(monkeypatch, "--quick", "--json") == 0
    result = json.loads(capfd.readouterr().out)
    assert set(result) == {"stages", "link"}
    assert [stage["name"] for stage in result["stages"]] == STAGES
    for stage in result["stages"]:
        assert set(stage) == {"name", "unit", "value", "baseline", "ratio", "spread"}
    (link,) = result["link"]
    assert (link["eta"], link["block_pulses"]) == (0.5, 1_000_000)
    for field in (
        "pulses_per_second",
        "sifted_bits_per_second",
        "secret_bits_per_second",
        "rounds_per_block",
    ):
        assert link[field] > 0
    assert link["efficiency"] > 1
    assert set(link["cpu_seconds"]) == set(link["peak_mib"]) == {"alice", "bob", "broker"}


def test_without_mosquitto_the_link_is_skipped_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "find_mosquitto", lambda: None)
    monkeypatch.setattr("qkdlink.benchmarks.table.find_mosquitto", lambda: None)
    assert bench(monkeypatch, "--quick") == 0
    said = capfd.readouterr()
    assert "link: skipped. Mosquitto is not installed" in said.err
    assert "amplify" in said.out


def test_a_run_is_either_quick_or_long(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert bench(monkeypatch, "--quick", "--long") == 2
    assert "either --quick or --long" in capfd.readouterr().err


def test_usual_and_long_runs_measure_dead_time_too_and_both_efficiencies() -> None:
    for length in (Length.USUAL, Length.LONG):
        assert PLANS[length].with_dead_time
        assert PLANS[length].etas == (0.1, 0.5)
    assert min(PLANS[Length.LONG].block_pulses) >= 10**8
    assert PLANS[Length.LONG].seconds >= 60
    assert replace(PLANS[Length.QUICK], etas=()).stages.pairs == 1
