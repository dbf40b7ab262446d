"""Sweeps: points lie where theory has them, axes are read or refused, and where a point is computed changes nothing."""

import csv
from pathlib import Path

import pytest
from typer.testing import CliRunner

from common.errors import ConfigurationError
from lab.figures import draw
from lab.sweeps import Axis, Point, Sweep, measured, swept
from qkdlink.cli import app

IR = Sweep(Axis.parsed("attack.fraction=0:1:3"), ("intercept-resend",), block_pulses=40_000, blocks=3)


def test_error_rates_lie_where_theory_has_them():
    # three blocks of some 1,000 test and 20,000 key bits: five standard deviations, a false alarm of 5.7e-7 each
    for number in range(3):
        point = measured(IR, number)
        assert point.expected.qber_key is not None
        assert abs(point.qber_key - point.expected.qber_key) < 5 * (0.25 / 30_000) ** 0.5
    assert point.known_fraction == pytest.approx(0.5, abs=0.02)
    assert (point.keys, point.secret_fraction) == (0, 0.0)


def test_the_key_length_falls_with_the_distance_and_lies_beside_theory():
    sweep = Sweep(Axis.parsed("distance=0:20:3"), block_pulses=100_000, blocks=1)
    points = [measured(sweep, number) for number in range(3)]
    assert [p.secret_fraction for p in points] == sorted((p.secret_fraction for p in points), reverse=True)
    for point in points:
        assert point.secret_fraction == pytest.approx(point.expected.secret_fraction, rel=0.15)


@pytest.mark.parametrize(
    "over", ["block-pulses=50000:90000:2", "eps-sec=1e-9:1e-6:2", "detector.efficiency=0.4:0.5:2"]
)
def test_other_parameters_can_be_swept(over: str):
    low, high = (measured(Sweep(Axis.parsed(over), block_pulses=60_000, blocks=1), n) for n in (0, 1))
    assert low.expected.secret_fraction is not None
    assert high.expected.secret_fraction is not None
    assert 0 < low.expected.secret_fraction < high.expected.secret_fraction


def test_where_theory_has_no_closed_form_there_is_no_curve():
    point = measured(
        Sweep(Axis.parsed("attack.fraction=0.1:0.2:2"), ("jamming",), block_pulses=30_000, blocks=1), 0
    )
    assert point.expected.qber_key is None


@pytest.mark.parametrize(
    "text",
    ["distance", "distance=1", "distance=0:1:0", "distance=0:inf:3", "distance=a:b:c", "distance=0:1:2000"],
)
def test_what_is_no_axis_is_refused(text: str):
    with pytest.raises(ConfigurationError):
        Axis.parsed(text)


def test_a_parameter_that_does_not_exist_is_answered_with_those_there_are():
    with pytest.raises(ConfigurationError, match=r"fibre\.misalignment"):
        next(swept(Sweep(Axis.parsed("detector.colour=0:1:2"))))
    with pytest.raises(ConfigurationError, match="needs an --attack"):
        next(swept(Sweep(Axis.parsed("attack.fraction=0:1:2"))))
    with pytest.raises(ConfigurationError, match="colour"):
        next(swept(Sweep(Axis.parsed("attack.colour=0:1:2"), ("jamming",))))


def test_the_command_writes_a_table_and_a_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr("lab.sweeps.swept", lambda sweep, _: ((n, measured(sweep, n)) for n in (1, 0)))
    table, figure = tmp_path / "sweep.csv", tmp_path / "sweep.svg"
    arguments = ["lab", "sweep", "--over", "attack.fraction=0:0.5:2", "--attack", "intercept-resend"]
    arguments += ["--block-pulses", "30000", "--blocks", "1", "--csv", str(table), "--figure", str(figure)]
    told = CliRunner().invoke(app, arguments)
    assert told.exit_code == 0, told.exception
    rows = list(csv.DictReader(table.open()))
    assert [float(row["value"]) for row in rows] == [0.0, 0.5]
    assert float(rows[1]["expected_qber_key"]) > 0.12
    text = figure.read_text()
    assert text.lstrip().startswith("<?xml")
    assert "key basis, theory" in text or "key, theory" in text
    assert "attack.fraction" in text


def test_the_same_sweep_draws_the_same_figure(tmp_path: Path):
    pytest.importorskip("matplotlib")
    points: list[Point] = [measured(IR, 0)]
    for name in ("a.svg", "b.svg"):
        draw(IR, points, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_a_scheduler_that_does_not_answer_is_one_sentence(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("dask.distributed")
    monkeypatch.setattr("lab.sweeps._CLUSTER_TIMEOUT", "0.2s")
    with pytest.raises(ConfigurationError, match="No Dask scheduler answers"):
        next(swept(IR, "tcp://127.0.0.1:9"))
