"""`qkdlink lab sweep`: one parameter at many values, as a table and a figure."""

import csv
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress

from qkdlink.commands.options import Verbose
from qkdlink.common.errors import ConfigurationError
from qkdlink.views.console import console

if TYPE_CHECKING:
    from qkdlink.lab.light.sweeps import Point


def sweep(
    *,
    over: Annotated[
        str,
        typer.Option(
            metavar="NAME=START:STOP:COUNT",
            help="distance, block-pulses, eps-sec, attack.KEY, detector.KEY or fibre.KEY, such as distance=0:50:11.",
        ),
    ],
    attack: Annotated[
        list[str] | None, typer.Option(metavar="NAME[:key=value,...]", help="What Eve does; repeatable.")
    ] = None,
    preset: Annotated[
        str, typer.Option(metavar="PRESET", help="Published device, or `metropolitan`.")
    ] = "metropolitan",
    protocol: Annotated[
        str,
        typer.Option(
            metavar="PROTOCOL", help="Name of a protocol, such as one-decoy; an unknown one lists them."
        ),
    ] = "single-photon",
    block_pulses: Annotated[
        int, typer.Option(metavar="PULSES", min=1, max=2**32, help="Pulses per block.")
    ] = 100_000,
    distance: Annotated[float | None, typer.Option(metavar="KM", help="Length of the fibre.", min=0)] = None,
    blocks: Annotated[int, typer.Option(metavar="BLOCKS", min=1, max=10_000, help="Blocks per value.")] = 5,
    table: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write the table here.")] = None,
    figure: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw the figure here: .png, .svg, .pdf, ...")
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="A Dask scheduler, such as tcp://host:8786; else this machine."),
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Measure blocks at many values of one parameter, beside what theory expects."""
    del verbose
    from qkdlink.common.protocol.variants.catalogue import variant_named
    from qkdlink.deployment.launching.compilation import ensure_compiled
    from qkdlink.lab.light.figures import check_figure, draw
    from qkdlink.lab.light.sweeps import Axis, Sweep, curve, swept

    protocol = variant_named(protocol).name
    if figure is not None:
        check_figure(figure)
    if table is not None and not table.parent.is_dir():
        raise ConfigurationError(f"The table {table} cannot be written: there is no folder {table.parent}.")
    asked = Sweep(Axis.parsed(over), tuple(attack or ()), preset, protocol, block_pulses, distance, blocks)
    ensure_compiled()
    found: dict[int, Point] = {}
    with Progress(console=console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task(asked.axis.name, total=len(asked.axis.values))
        for number, point in swept(asked, scheduler):
            found[number] = point
            progress.advance(task)
    points = [found[number] for number in sorted(found)]
    text = _table(points)
    if table is None:
        typer.echo(text, nl=False)
    else:
        _write(table, text)
    if figure is not None:
        draw(asked, points, curve(asked), figure)


def _table(points: "list[Point]") -> str:
    rows = [point.as_row() for point in points]
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"The table {path} cannot be written: {error.strerror}.") from error
