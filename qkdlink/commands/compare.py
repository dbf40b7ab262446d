"""`qkdlink compare-authentication`: the same link once per scheme and anchor, and one table of what each costs."""

import asyncio
import json
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from qkdlink.deployment.launching.compilation import ensure_compiled
from qkdlink.lab.scenarios.comparison import Portion, Row, compare, small_portion, smallest_paying_block
from qkdlink.views.console import console, table

_HEADINGS = (
    "compared",
    "anchor",
    "scheme",
    "keys",
    "bootstrap",
    "tags of later blocks: bytes",
    "key bits",
    "ms",
    "of all bytes",
    "and ms",
    "rests on",
    "kind",
    "quantum-safe",
    "if it is broken later",
)


def compare_authentication(*, as_json: bool) -> int:
    """Run all of them and print the table; returns 0 if every link made equal keys, 1 if one did not."""
    ensure_compiled()
    shown = console(stderr=as_json, quiet=as_json and not sys.stderr.isatty())
    rows = asyncio.run(_rows(shown))
    portions = list(small_portion())
    if as_json:
        found = {
            "rows": [row.as_json() for row in rows],
            "small_portion": [_portion(portion) for portion in portions],
            "smallest_paying_block_pulses": smallest_paying_block(),
        }
        sys.stdout.write(json.dumps(found) + "\n")
    else:
        shown.print(_table(rows))
        shown.print(_portions(portions))
        shown.print(
            f"The smallest block that pays for itself has {smallest_paying_block()} pulses (one in 50 falls short)."
        )
    return 0 if all(row.result.keys_equal for row in rows) else 1


async def _rows(shown: Console) -> list[Row]:
    rows = []
    async for row in compare():
        rows.append(row)
        shown.print(f"{row.security.anchor}, {row.security.scheme}: {row.result.seconds:.1f} s")
    return rows


def _table(rows: Sequence[Row]) -> Table:
    made = table(*_HEADINGS, title="The same link, once per scheme and once per anchor")
    for row in rows:
        told = row.as_json()
        bootstrap = told["bootstrap"]
        made.add_row(
            told["compared"],
            told["anchor"],
            told["scheme"],
            "equal" if told["keys_equal"] else "DIFFER",
            f"{bootstrap['seconds']:.2f} s, {bootstrap['bytes']} bytes, {bootstrap['blocks']} blocks",
            f"{told['authentication_bytes_per_block']:.0f}",
            f"{told['authentication_bits_per_block']:.0f}",
            f"{told['authentication_milliseconds_per_block']:.1f}",
            f"{told['bytes_per_block']:.0f}",
            f"{told['milliseconds_per_block']:.0f}",
            told["rests_on"],
            told["kind"],
            "yes" if told["quantum_safe"] else "no",
            told["broken_later"],
        )
    return made


def _portions(portions: Sequence[Portion]) -> Table:
    made = table(
        "receiver efficiency",
        "pulses a block",
        "secret bits expected",
        "bits for tags",
        "portion",
        title="The small portion: what Wegman-Carter tags cost, r included",
    )
    for portion in portions:
        made.add_row(
            f"{portion.receiver_efficiency:g}",
            f"{portion.block_pulses:.0e}",
            f"{portion.secret_bits}",
            f"{portion.authentication_bits}",
            "no key" if portion.fraction is None else f"{portion.fraction:.3%}",
        )
    return made


def _portion(portion: Portion) -> dict[str, float | None]:
    return {
        "receiver_efficiency": portion.receiver_efficiency,
        "block_pulses": portion.block_pulses,
        "secret_bits": portion.secret_bits,
        "authentication_bits": portion.authentication_bits,
        "fraction": portion.fraction,
    }
