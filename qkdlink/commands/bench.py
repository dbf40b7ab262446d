"""`qkdlink bench`: the speed of every stage and of a whole link, beside what else does the same job."""

import json
import sys

from rich.console import Console

from qkdlink.benchmarks.alternation import Stage
from qkdlink.benchmarks.limits import Limit
from qkdlink.benchmarks.report import as_object, as_table
from qkdlink.benchmarks.run import PLANS, Length, LinkPair, Row, rows
from qkdlink.benchmarks.table import Skipped
from qkdlink.common.errors import ConfigurationError
from qkdlink.deployment.launching.compilation import ensure_compiled
from qkdlink.views.console import console


def bench(*, quick: bool, long: bool, as_json: bool) -> None:
    """Measure and print; what is skipped is said on stderr, as is progress."""
    length = _length(quick=quick, long=long)
    ensure_compiled()
    aside = console(stderr=True)
    found: list[Row] = []
    for row in rows(PLANS[length]):
        found.append(row)
        _say(row, aside)
    if as_json:
        sys.stdout.write(json.dumps(as_object(found)) + "\n")
    else:
        console().print(as_table(found))


def _length(*, quick: bool, long: bool) -> Length:
    if quick and long:
        raise ConfigurationError("A run is either --quick or --long: leave one of them out.")
    return Length.QUICK if quick else Length.LONG if long else Length.USUAL


def _say(row: Row, aside: Console) -> None:
    match row:
        case Skipped(name, reason):
            aside.print(f"{name}: skipped. {reason}")
        case Stage(name=name):
            aside.print(f"{name}: measured", style="dim")
        case LinkPair(speed=speed):
            aside.print(f"link at eta {speed.course.eta:g}: measured", style="dim")
        case Limit():
            pass
