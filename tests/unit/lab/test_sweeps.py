"""Sweeps: points lie where theory has them, axes are read or refused, and where a point is computed changes nothing."""

import csv
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from typer.testing import CliRunner

from qkdlink.cli import app
from qkdlink.common.errors import ConfigurationError
from qkdlink.lab.light.figures import Curve, check_figure, draw
from qkdlink.lab.light.sweep_theory import NOTHING, Expected
from qkdlink.lab.light.sweeps import Axis, Point, Sweep, curve, measured, swept

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


@pytest.mark.parametrize(
    ("over", "sentence"),
    [
        ("distance=0km:50km:3", "a number of km, and the number stands alone, without 'km'"),
        ("block-pulses=1e5pulses:2e5:3", "a number of pulses"),
        ("attack.fraction=0:50%:3", "a fraction"),
    ],
)
def test_units_in_an_axis_are_explained(over: str, sentence: str):
    with pytest.raises(ConfigurationError) as refused:
        Axis.parsed(over)
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    "over", ["block-pulses=0:1:2", "block-pulses=1e9:1e11:2", "eps-sec=0:0.1:2", "distance=-1:1:2"]
)
def test_values_that_no_link_can_have_are_refused_before_anything_is_computed(over: str):
    with pytest.raises(ConfigurationError):
        next(swept(Sweep(Axis.parsed(over))))


SWEEP_PAST_THE_LAST_KEY = Sweep(Axis.parsed("distance=0:400:3"), block_pulses=20_000, blocks=2)


def test_past_the_last_key_a_sweep_shows_zero_and_goes_on():
    points = [measured(SWEEP_PAST_THE_LAST_KEY, number) for number in (0, 1, 2)]
    assert [point.blocks for point in points] == [2, 0, 0]
    assert points[0].secret_fraction > 0
    assert points[2] == Point(400.0, 0, 0, None, None, 0.0, None, None, NOTHING)
    row = points[2].as_row()
    assert (row["secret_fraction"], row["expected_secret_fraction"], row["qber_key"]) == (0.0, 0.0, None)


def test_a_point_has_standard_errors_where_there_is_a_spread():
    spread = measured(IR, 1)
    assert spread.qber_key_error is not None
    assert 0 < spread.qber_key_error < 0.01
    assert measured(Sweep(IR.axis, IR.attacks, block_pulses=40_000, blocks=1), 1).qber_key_error is None


def test_the_curve_is_dense_whatever_the_number_of_points(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("qkdlink.lab.light.sweeps.ProcessPoolExecutor", lambda **_: ThreadPoolExecutor(1))
    line = curve(IR)
    values = [value for value, _ in line]
    assert len(values) >= 80
    assert values == sorted(values)
    assert (values[0], values[-1]) == (0.0, 1.0)
    assert [at.qber_test for _, at in line] == sorted(at.qber_test for _, at in line if at.qber_test)


def test_past_the_last_key_the_curve_is_zero():
    assert SWEEP_PAST_THE_LAST_KEY.expected_at(400.0) == NOTHING


MADE = Point(0.0, 5, 5, 0.01, 0.011, 0.1, 0.0, 0.02, NOTHING, 0.001, 0.002, 0.003)
SOME = Point(1.0, 5, 2, 0.02, 0.021, 0.05, 0.0, 0.02, NOTHING, 0.001, 0.002, 0.003)
NONE = Point(2.0, 0, 0, None, None, 0.0, None, None, NOTHING)
LINE: Curve = [(0.0, Expected(0.01, 0.01, 0.1)), (1.0, Expected(0.02, 0.02, 0.05)), (2.0, NOTHING)]


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("x.png", b"\x89PNG"),
        ("x.PNG", b"\x89PNG"),
        ("x.svg", b"<?xml"),
        ("x.pdf", b"%PDF"),
        ("x.jpg", b"\xff\xd8"),
    ],
)
def test_the_suffix_names_the_format_of_the_figure(name: str, begins: bytes, tmp_path: Path):
    pytest.importorskip("matplotlib")
    draw(IR, [MADE, SOME, NONE], LINE, tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(begins)


def test_a_figure_shows_bars_units_blocks_and_what_was_refused(tmp_path: Path):
    pytest.importorskip("matplotlib")
    sweep = Sweep(Axis.parsed("distance=0:2:3"), blocks=5)
    draw(sweep, [MADE, SOME, NONE], LINE, tmp_path / "x.svg")
    told = (tmp_path / "x.svg").read_text()
    for text in (
        "distance (km)",
        "error rate (%)",
        "secret bits per pulse",
        "5 blocks a point, bars: standard error",
        "2 of 5",
        "no key (x: refused, or none is possible)",
        "key length, theory",
    ):
        assert text in told, text
    assert "5 of 5" not in told
    assert "LineCollection" in told  # the bars


@pytest.mark.parametrize(("name", "sentence"), [
    ("x", "needs a suffix"), ("x.xyz", ", .pdf, .png, "), ("there/x.png", "there is no folder"),
])  # fmt: skip
def test_a_figure_that_cannot_be_drawn_is_refused_before_the_work(
    name: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr("qkdlink.lab.light.sweeps.swept", lambda *_: pytest.fail("the work began"))
    told = CliRunner().invoke(
        app, ["lab", "sweep", "--over", "distance=0:1:2", "--figure", str(tmp_path / name)]
    )
    assert isinstance(told.exception, ConfigurationError)
    assert sentence in str(told.exception)


def test_without_matplotlib_the_sentence_comes_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'qkdlink\[figures\]'"):
        check_figure(tmp_path / "x.png")


def test_the_command_writes_a_table_and_a_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(
        "qkdlink.lab.light.sweeps.swept", lambda sweep, _: ((n, measured(sweep, n)) for n in (1, 0))
    )
    monkeypatch.setattr(
        "qkdlink.lab.light.sweeps.curve", lambda sweep: [(v, sweep.expected_at(v)) for v in (0.0, 0.25)]
    )
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
        draw(IR, points, LINE, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_a_scheduler_that_does_not_answer_is_one_sentence(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("dask.distributed")
    monkeypatch.setattr("qkdlink.lab.light.sweeps._CLUSTER_TIMEOUT", "0.2s")
    with pytest.raises(ConfigurationError, match="No Dask scheduler answers"):
        next(swept(IR, "tcp://127.0.0.1:9"))
