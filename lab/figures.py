"""The figure of a sweep: measured points with the theoretical curve beside them, as an SVG file."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from common.errors import ConfigurationError
from lab.sweeps import Point, Sweep

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_UNITS = {"distance": "km", "block-pulses": "pulses"}


def draw(sweep: Sweep, points: Sequence[Point], path: Path) -> None:
    """Draw error rates and secret bits per pulse over the swept parameter.

    Raises ConfigurationError if `matplotlib` is not installed, or the file cannot be written.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigurationError(
            "A figure needs matplotlib: install qkdlink with its extra `figures`."
        ) from error
    # the same sweep is the same file
    with rc_context({"svg.hashsalt": "qkdlink", "svg.fonttype": "none"}):
        figure = Figure(figsize=(7, 7), layout="constrained")
        rates, keys = figure.subplots(2, 1, sharex=True)
        _rates(rates, points)
        _keys(keys, points)
        unit = _UNITS.get(sweep.axis.name)
        keys.set_xlabel(sweep.axis.name + (f" ({unit})" if unit else ""))
        figure.suptitle(_title(sweep))
        try:
            figure.savefig(path, format="svg", metadata={"Date": None})
        except OSError as error:
            raise ConfigurationError(f"The figure {path} cannot be written: {error.strerror}.") from error


def _rates(axes: "Axes", points: Sequence[Point]) -> None:
    values = [point.value for point in points]
    for basis, colour, marker in (("key", "tab:blue", "o"), ("test", "tab:orange", "s")):
        measured = [100 * getattr(point, f"qber_{basis}") for point in points]
        axes.plot(values, measured, marker, color=colour, label=f"{basis} basis, measured", fillstyle="none")
        _curve(
            axes, values, [getattr(point.expected, f"qber_{basis}") for point in points], 100, colour, basis
        )
    axes.set_ylabel("error rate (%)")
    axes.set_ylim(bottom=0)
    axes.legend()


def _keys(axes: "Axes", points: Sequence[Point]) -> None:
    values = [point.value for point in points]
    axes.plot(
        values,
        [point.secret_fraction for point in points],
        "o",
        color="tab:green",
        label="measured",
        fillstyle="none",
    )
    _curve(axes, values, [point.expected.secret_fraction for point in points], 1, "tab:green", "key length")
    axes.set_ylabel("secret bits per pulse")
    axes.set_ylim(bottom=0)
    axes.legend()


def _curve(
    axes: "Axes",
    values: Sequence[float],
    expected: Sequence[float | None],
    scale: float,
    colour: str,
    what: str,
) -> None:
    known = [(value, scale * each) for value, each in zip(values, expected, strict=True) if each is not None]
    if known:
        axes.plot(*zip(*known, strict=True), "-", color=colour, label=f"{what}, theory")


def _title(sweep: Sweep) -> str:
    with_eve = f", Eve: {', '.join(sweep.attacks)}" if sweep.attacks else ""
    return f"{sweep.protocol} BB84, preset {sweep.preset}{with_eve}"
