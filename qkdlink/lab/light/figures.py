"""The figure of a sweep: measured points with error bars, beside the curve that theory expects."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qkdlink.common.errors import ConfigurationError
from qkdlink.common.units import unit_of
from qkdlink.lab.light.sweep_theory import Expected
from qkdlink.lab.light.sweeps import Point, Sweep

if TYPE_CHECKING:
    from matplotlib.axes import Axes

type Curve = Sequence[tuple[float, Expected]]
"""What theory expects, value by value, in the order of the axis."""


def check_figure(path: Path) -> None:
    """Ask before any work for what `draw` needs: matplotlib, a folder, a format that the suffix names.

    Raises ConfigurationError, in one sentence, if one of them is not there.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
    except ImportError as error:
        raise ConfigurationError(
            "A figure needs matplotlib, which is not installed: run `pip install 'qkdlink[figures]'`."
        ) from error
    # pgf needs LaTeX, which matplotlib looks for only when it draws
    known = sorted(set(FigureCanvasAgg.get_supported_filetypes()) - {"pgf"})
    if path.suffix.lower().removeprefix(".") not in known:
        raise ConfigurationError(
            f"The figure {path} needs a suffix that names its format: one of {', '.join(f'.{each}' for each in known)}."
        )
    if not path.parent.is_dir():
        raise ConfigurationError(f"The figure {path} cannot be written: there is no folder {path.parent}.")


def draw(sweep: Sweep, points: Sequence[Point], curve: Curve, path: Path) -> None:
    """Draw error rates and secret bits per pulse over the swept parameter, in the format of the path's suffix.

    Raises ConfigurationError for what `check_figure` refuses, or if the file cannot be written.
    """
    check_figure(path)
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    # the same sweep is the same file
    with rc_context({"svg.hashsalt": "qkdlink", "svg.fonttype": "none"}):
        figure = Figure(figsize=(7, 7), layout="constrained")
        rates, keys = figure.subplots(2, 1, sharex=True)
        _rates(rates, points, curve)
        _keys(keys, points, curve)
        keys.set_xlabel(_with_unit(sweep.axis.name))
        figure.suptitle(_title(sweep))
        suffix = path.suffix.lower().removeprefix(".")
        metadata: dict[str, Any] | None = {"Date": None} if suffix in {"svg", "svgz"} else None
        try:
            figure.savefig(path, format=suffix, metadata=metadata, dpi=150)
        except OSError as error:
            raise ConfigurationError(f"The figure {path} cannot be written: {error.strerror}.") from error


def _rates(axes: "Axes", points: Sequence[Point], curve: Curve) -> None:
    shown = [point for point in points if point.qber_key is not None]
    for basis, colour, marker in (("key", "tab:blue", "o"), ("test", "tab:orange", "s")):
        axes.errorbar(
            [point.value for point in shown],
            [100 * getattr(point, f"qber_{basis}") for point in shown],
            yerr=[100 * (getattr(point, f"qber_{basis}_error") or 0.0) for point in shown],
            fmt=marker,
            color=colour,
            capsize=3,
            fillstyle="none",
            label=f"{basis} basis, measured",
        )
        _line(axes, curve, f"qber_{basis}", 100, colour, f"{basis} basis")
    axes.set_ylabel("error rate (%)")
    axes.set_ylim(bottom=0)
    axes.legend()


def _keys(axes: "Axes", points: Sequence[Point], curve: Curve) -> None:
    made, refused = ([point for point in points if bool(point.keys) is some] for some in (True, False))
    axes.errorbar(
        [point.value for point in made],
        [point.secret_fraction for point in made],
        yerr=[point.secret_fraction_error or 0.0 for point in made],
        fmt="o",
        color="tab:green",
        capsize=3,
        fillstyle="none",
        label="measured",
    )
    if refused:
        axes.plot(
            [point.value for point in refused],
            [0.0] * len(refused),
            "x",
            color="tab:red",
            clip_on=False,
            label="no key (x: refused, or none is possible)",
        )
    _line(axes, curve, "secret_fraction", 1, "tab:green", "key length")
    for point in made:
        if point.keys < point.blocks:
            axes.annotate(
                f"{point.keys} of {point.blocks}",
                (point.value, point.secret_fraction),
                textcoords="offset points",
                xytext=(6, 6),
            )
    axes.set_ylabel("secret bits per pulse")
    axes.set_ylim(bottom=0)
    axes.legend()


def _line(axes: "Axes", curve: Curve, rate: str, scale: float, colour: str, what: str) -> None:
    """Draw the field `rate` of `Expected`, where theory has a closed form."""
    known = [(value, scale * each) for value, at in curve if (each := getattr(at, rate)) is not None]
    if known:
        axes.plot(*zip(*known, strict=True), "-", color=colour, label=f"{what}, theory")


def _with_unit(name: str) -> str:
    unit = unit_of(name)
    return f"{name} ({unit or 'fraction'})" if unit is not None else name


def _title(sweep: Sweep) -> str:
    with_eve = f", Eve: {', '.join(sweep.attacks)}" if sweep.attacks else ""
    blocks = f"{sweep.blocks} block{'s' if sweep.blocks > 1 else ''} a point"
    bars = ", bars: standard error" if sweep.blocks > 1 else ""
    return f"{sweep.protocol} BB84, preset {sweep.preset}{with_eve}\n{blocks}{bars}"
