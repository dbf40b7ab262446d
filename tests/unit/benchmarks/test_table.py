import json
from dataclasses import fields
from io import StringIO

import pytest
from rich.console import Console

from benchmarks import table
from benchmarks.__main__ import as_object, as_table
from benchmarks.alternation import Contender, Stage, alternate, alternate_async
from benchmarks.table import Sizes, Skipped, measured
from lab.broker import find_mosquitto

TOY = Sizes(
    pairs=1,
    pulses=4096,
    naive_pulses=4096,
    frame_pulses=1024,
    frames=20,
    sifted_pulses=4096,
    reconciled_bits=1024,
    reference_bits=512,
    amplified_bits=1024,
    transcript_bytes=2**15,
    transcripts=1,
)
NAMES = ["source-channel-detector", "transport", "sift", "reconcile", "amplify", "authenticate"]


@pytest.mark.skipif(find_mosquitto() is None, reason="Mosquitto is not installed")
def test_at_toy_sizes_the_table_has_a_row_for_every_stage() -> None:
    rows = list(measured(TOY))
    assert [row.name for row in rows] == NAMES
    assert all(isinstance(row, Stage) and row.value > 0 and row.ratio > 0 and row.spread == 0 for row in rows)


def test_without_mosquitto_only_the_transport_is_skipped_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(table, "find_mosquitto", lambda: None)
    rows = list(measured(TOY))
    assert [row.name for row in rows] == NAMES
    (skipped,) = (row for row in rows if isinstance(row, Skipped))
    assert skipped.name == "transport"
    assert "Mosquitto is not installed" in skipped.reason


def test_runs_alternate_and_the_first_of_each_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[str] = []
    clock = iter([0.0, 90.0, 180.0, 0.0, 1.0, 11.0, 20.0, 22.0, 42.0, 50.0, 54.0, 94.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    ours = Contender("ours", 8, lambda: turns.append("ours"))
    baseline = Contender("theirs", 20, lambda: turns.append("theirs"))
    stage = alternate("sift", "bit/s", ours, baseline, pairs=3)
    assert turns == ["ours", "theirs"] * 4
    # Ours took 1, 2 and 4 s for 8 bits, theirs 10, 20 and 40 s for 20.
    assert stage == Stage("sift", "bit/s", value=4.0, baseline="theirs", ratio=4.0, spread=1.5)


async def test_runs_that_wait_alternate_alike() -> None:
    turns: list[str] = []

    async def run(name: str) -> None:
        turns.append(name)

    ours = Contender("ours", 1, lambda: run("ours"))
    stage = await alternate_async(
        "transport", "pulse/s", ours, Contender("theirs", 1, lambda: run("theirs")), 2
    )
    assert turns == ["ours", "theirs"] * 3
    assert stage.baseline == "theirs"


def test_the_json_object_has_the_agreed_fields_and_no_others() -> None:
    stage = Stage("amplify", "bit/s", 4e6, "scipy", 2.0, 0.25)
    assert json.loads(as_object([stage])) == {
        "stages": [
            {
                "name": "amplify",
                "unit": "bit/s",
                "value": 4e6,
                "baseline": "scipy",
                "ratio": 2.0,
                "spread": 0.25,
            }
        ]
    }
    assert [field.name for field in fields(Stage)] == ["name", "unit", "value", "baseline", "ratio", "spread"]


def test_the_table_shows_both_rates_in_readable_units_on_eighty_columns() -> None:
    shown = StringIO()
    rows = [
        Stage("source-channel-detector", "pulse/s", 123e6, "reference, 16384 bits", 0.123, 0.25),
        Stage("amplify", "bit/s", 4e6, "scipy", 2.0, 0.25),
        Stage("sift", "click/s", 900.0, "numpy", 0.5, 0.1),
    ]
    Console(file=shown, width=80).print(as_table(rows))
    lines = [line.split() for line in shown.getvalue().splitlines()]
    assert lines[1][:4] == ["source-channel-detector", "123", "Mpulse", "25%"]
    assert any({"4", "Mbit", "25%", "scipy", "2"} <= set(line) for line in lines)
    assert any({"900", "click", "10%", "1.8", "k", "0.5"} <= set(line) for line in lines)
