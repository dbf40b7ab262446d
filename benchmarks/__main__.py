"""`python -m benchmarks [--json]`: one table of speeds beside their baselines, in under two minutes."""

import json
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console, JustifyMethod
from rich.table import Table

from benchmarks.alternation import Stage
from benchmarks.table import Sizes, Skipped, measured

_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def main() -> int:
    """Measure and print; what is skipped is said on stderr, as is progress."""
    parser = ArgumentParser(
        prog="python -m benchmarks", description="Measure each stage beside its baseline."
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    as_json = parser.parse_args().json
    aside = Console(stderr=True, highlight=False)
    stages: list[Stage] = []
    for row in measured(Sizes()):
        match row:
            case Stage():
                stages.append(row)
                aside.print(f"{row.name}: measured", style="dim")
            case Skipped(name, reason):
                aside.print(f"{name}: skipped. {reason}")
    if as_json:
        print(as_object(stages))
    else:
        Console(highlight=False).print(as_table(stages))
    return 0


def as_object(stages: Sequence[Stage]) -> str:
    """Write the rows as one JSON object."""
    return json.dumps({"stages": [asdict(stage) for stage in stages]}, indent=2)


def as_table(stages: Sequence[Stage]) -> Table:
    """Lay the rows out for a person."""
    table = Table(
        box=None,
        pad_edge=False,
        collapse_padding=True,
        caption="both parties' work; benchmarks/README.md says how",
    )
    for heading in ("stage", "per second", "spread", "baseline", "theirs", "ratio"):
        justify: JustifyMethod = "left" if heading in {"stage", "baseline"} else "right"
        table.add_column(heading, justify=justify, no_wrap=True)
    for stage in stages:
        table.add_row(
            stage.name,
            f"{_in_prefixes(stage.value)}{stage.unit.removesuffix('/s')}",
            f"{stage.spread:.0%}",
            stage.baseline,
            _in_prefixes(stage.value / stage.ratio),
            f"{stage.ratio:.3g}",
        )
    return table


def _in_prefixes(value: float) -> str:
    for factor, prefix in _PREFIXES:
        if value >= factor:
            return f"{value / factor:.3g} {prefix}"
    return f"{value:.3g} "


if __name__ == "__main__":
    sys.exit(main())
