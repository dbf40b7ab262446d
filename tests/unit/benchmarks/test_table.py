import json
from collections.abc import Sequence
from dataclasses import fields, replace
from io import StringIO

import pytest
from rich.console import Console

from qkdlink.benchmarks import starts, table
from qkdlink.benchmarks.alternation import Contender, Stage, alternate, alternate_async
from qkdlink.benchmarks.limits import Limit
from qkdlink.benchmarks.link_benchmark import Course, LinkRates, LinkSpeed
from qkdlink.benchmarks.recorded import RECORDED
from qkdlink.benchmarks.report import as_object, as_table, secret_capacity
from qkdlink.benchmarks.run import LinkPair, Row
from qkdlink.benchmarks.table import Sizes, Skipped, measured
from qkdlink.deployment.brokers.broker import find_mosquitto

FAST = LinkSpeed(
    Course(0.5, 10**8, 6, 10.0),
    LinkRates(2e8, 5e6, 1.5e6),
    blocks=20,
    seconds=10.0,
    efficiency=1.03,
    rounds_per_block=600.0,
    cpu_seconds={"alice": 8.0, "bob": 9.0, "broker": None},
    peak_mib={"alice": 300.0, "bob": 200.0, "broker": 9.0},
)
MARK = "* not measured here, but by others or on another machine; in no ratio"
SLOW = replace(FAST, course=Course(0.5, 10**8, 6, 10.0, 30.0), rates=LinkRates(1e8, 2e6, 5e5))
LINK = LinkPair(FAST, SLOW)
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


def test_the_json_object_has_the_agreed_fields_of_a_stage_and_no_others() -> None:
    stage = Stage("amplify", "bit/s", 4e6, "scipy", 2.0, 0.25)
    fields_of_stage = {
        "name": "amplify",
        "unit": "bit/s",
        "value": 4e6,
        "baseline": "scipy",
        "ratio": 2.0,
        "spread": 0.25,
    }
    assert as_object([Limit("amplify", 9e9, "copying"), stage]) == {"stages": [fields_of_stage], "link": []}
    assert [field.name for field in fields(Stage)] == list(fields_of_stage)


def test_the_json_object_has_a_link_per_efficiency_and_size_and_tells_the_dead_time_beside_it() -> None:
    (link,) = json.loads(json.dumps(as_object([LINK])))["link"]
    assert set(link) >= {"eta", "block_pulses", "efficiency", "rounds_per_block", "cpu_seconds", "peak_mib"}
    assert (link["pulses_per_second"], link["sifted_bits_per_second"], link["secret_bits_per_second"]) == (
        2e8,
        5e6,
        1.5e6,
    )
    assert link["cpu_seconds"] == {"alice": 8.0, "bob": 9.0, "broker": None}
    assert link["with_dead_time"] == {
        "dead_time_ns": 30.0,
        "pulses_per_second": 1e8,
        "sifted_bits_per_second": 2e6,
        "secret_bits_per_second": 5e5,
    }
    assert as_object([LinkPair(LINK.speed, None)])["link"][0]["with_dead_time"] is None


def test_the_table_shows_both_rates_in_readable_units_on_eighty_columns() -> None:
    rows = [
        Limit("sift", 7e9, "copying"),
        Stage("source-channel-detector", "pulse/s", 123e6, "reference, 16384 bits", 0.123, 0.25),
        Stage("amplify", "bit/s", 4e6, "scipy", 2.0, 0.25),
        Stage("sift", "click/s", 900.0, "numpy", 0.5, 0.1),
    ]
    lines = shown(rows)
    assert lines[1][:4] == ["source-channel-detector", "123", "Mpulse", "25%"]
    assert any({"4", "Mbit", "25%", "scipy:", "2", "71"} <= set(line) for line in lines)
    assert any(
        {"900", "click", "10%", "numpy:", "1.8", "k", "0.5", "7", "G", "60"} <= set(line) for line in lines
    )
    assert ["sift:", "copying"] in lines


def test_the_table_shows_a_links_key_beside_its_dead_time_and_the_channels_capacity() -> None:
    lines = shown([LINK])
    (row,) = (line for line in lines if line[:3] == ["eta", "0.5,", "1e8"])
    assert row[3:] == [
        "1.5",
        "Mbit",
        "-",
        "dead",
        "time",
        "30",
        "ns:",
        "500",
        "k",
        "3",
        "200",
        "M",
        "13.7",
        "M",
    ]
    assert secret_capacity(0.5) == 1.0
    cost = [
        "eta",
        "0.5",
        "200",
        "M",
        "5",
        "M",
        "1.030",
        "600",
        "0.80/0.90/-",
        "300/200/9",
        "20",
        "in",
        "10",
        "s",
    ]
    assert cost in lines
    assert any(line[:4] == ["eta", "0.5,", "30", "ns"] for line in lines)


def test_figures_from_elsewhere_are_marked_and_say_whose_they_are() -> None:
    lines = [" ".join(line) for line in shown([LINK])]
    for stage in RECORDED:
        assert any(line.startswith(f"{stage}: ") for line in lines[lines.index(MARK) :])


def shown(rows: Sequence[Row]) -> list[list[str]]:
    written = StringIO()
    Console(file=written, width=80).print(as_table(rows))
    return [line.split() for line in written.getvalue().splitlines()]


def test_a_start_is_timed_beside_the_import_of_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[str, ...]] = []
    monkeypatch.setattr(starts, "_program", lambda arguments: lambda: started.append(arguments))
    names = [stage.name for stage in starts.measured(1)]
    assert names == ["start-help", "start-node-import", "first-key"]
    assert started.count(("-c", "import numba")) == 2 * len(names)
    assert list(starts.measured(0)) == []
