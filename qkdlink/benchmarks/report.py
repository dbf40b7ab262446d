"""What a run has measured, as one table for a person or one JSON object for a program."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from math import log2
from typing import Any

from rich.console import Group, JustifyMethod
from rich.table import Table

from qkdlink.benchmarks.alternation import Stage
from qkdlink.benchmarks.limits import Limit
from qkdlink.benchmarks.link_benchmark import LinkSpeed
from qkdlink.benchmarks.recorded import LINK, RECORDED
from qkdlink.benchmarks.run import LinkPair, Row

_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
_HEADINGS = ("stage", "per second", "spread", "beside it", "ratio", "limit", "elsewhere*")
_WORDS = {"stage", "beside it"}
_LINK_HEADINGS = ("link", "pulses", "sifted", "f", "rounds", "CPU", "peak MiB", "blocks")
_WHOLE = 100.0
_LEAST_WIDTH = 12
"""Of words that may take more than one line."""
_NOBODY = "-"


def as_object(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the rows as the object that `qkdlink bench --json` prints."""
    return {
        "stages": [asdict(row) for row in rows if isinstance(row, Stage)],
        "link": [_link_object(row) for row in rows if isinstance(row, LinkPair)],
    }


def as_table(rows: Sequence[Row]) -> Group:
    """Lay the rows out for a person: the stages and the link in one table, and what the link cost below."""
    limits = {row.stage: row for row in rows if isinstance(row, Limit)}
    links = [row for row in rows if isinstance(row, LinkPair)]
    table = _table(_HEADINGS, _WORDS, wrapped={"beside it"})
    for row in rows:
        match row:
            case Stage():
                table.add_row(*_stage_cells(row, limits.get(row.name)))
            case LinkPair():
                table.add_row(*_link_cells(row))
            case _:
                pass
    if not links:
        return Group(table, _explanation(limits.values()))
    sizes = sorted({pair.speed.course.block_pulses for pair in links})
    costs = (_costs([pair for pair in links if pair.speed.course.block_pulses == size]) for size in sizes)
    return Group(table, "", *costs, _explanation(limits.values()))


def secret_capacity(eta: float) -> float:
    """Return the most secret bits per pulse that any protocol without repeaters gets through a channel, in bits.

    `eta` is its transmittance, 0 <= eta < 1. Source: Pirandola, Laurenza, Ottaviani, Banchi, Nat. Commun. 8, 15043
    (2017): -log2(1 - eta).
    """
    return -log2(1.0 - eta)


def _table(headings: Sequence[str], words: set[str], wrapped: set[str]) -> Table:
    table = Table(box=None, pad_edge=False, collapse_padding=True)
    for heading in headings:
        justify: JustifyMethod = "left" if heading in words else "right"
        table.add_column(
            heading,
            justify=justify,
            no_wrap=heading not in wrapped,
            min_width=_LEAST_WIDTH if heading in wrapped else None,
        )
    return table


def _stage_cells(stage: Stage, limit: Limit | None) -> tuple[str, ...]:
    return (
        stage.name,
        f"{_in_prefixes(stage.value)}{stage.unit.removesuffix('/s')}",
        f"{stage.spread:.0%}" if stage.spread else _NOBODY,  # of one run there is none
        f"{stage.baseline}: {_in_prefixes(stage.value / stage.ratio)}".rstrip(),
        _readable(stage.ratio),
        _NOBODY if limit is None else _in_prefixes(limit.value),
        _elsewhere(stage.name),
    )


def _link_cells(pair: LinkPair) -> tuple[str, ...]:
    rates, delayed = pair.speed.rates, pair.with_dead_time
    slower = None if delayed is None else delayed.rates.secret_bits_per_second
    return (
        f"eta {pair.speed.course.eta:g}, {_short(pair.speed.course.block_pulses)}",
        f"{_in_prefixes(rates.secret_bits_per_second)}bit",
        _NOBODY,
        _NOBODY
        if delayed is None or slower is None
        else f"dead time {delayed.course.dead_time_ns:g} ns: {_in_prefixes(slower)}".rstrip(),
        _readable(rates.secret_bits_per_second / slower) if slower else _NOBODY,
        _in_prefixes(rates.pulses_per_second * secret_capacity(pair.speed.course.eta)),
        _elsewhere(LINK),
    )


def _costs(links: Sequence[LinkPair]) -> Table:
    """Lay out what links with blocks of the same size have cost."""
    costs = _table(_LINK_HEADINGS, {"link"}, wrapped=set())
    costs.title = f"blocks of {links[0].speed.course.block_pulses:.3g} pulses"
    costs.title_justify = "left"
    for pair in links:
        for speed in (pair.speed, pair.with_dead_time):
            if speed is not None:
                costs.add_row(*_cost_cells(speed))
    return costs


def _cost_cells(speed: LinkSpeed) -> tuple[str, ...]:
    course = speed.course
    name = f"eta {course.eta:g}" + (f", {course.dead_time_ns:g} ns" if course.dead_time_ns else "")
    cpu = "/".join(
        _NOBODY if each is None else f"{each / speed.seconds:.2f}" for each in speed.cpu_seconds.values()
    )
    peak = "/".join(_NOBODY if each is None else f"{each:.0f}" for each in speed.peak_mib.values())
    return (
        name,
        _in_prefixes(speed.rates.pulses_per_second),
        _in_prefixes(speed.rates.sifted_bits_per_second),
        _NOBODY if speed.efficiency is None else f"{speed.efficiency:.3f}",
        f"{speed.rounds_per_block:.0f}",
        cpu,
        peak,
        f"{speed.blocks} in {speed.seconds:.0f} s",
    )


def _explanation(limits: Iterable[Limit]) -> str:
    lines = [
        "Medians of runs in turns with those of what stands beside it; spread: fastest less slowest.",
        "Both parties' work. eta, pulses a block: a whole link, finite-key secret bits stored on both sides.",
        "Below: pulses and sifted bits per second, efficiency f and exchanges of reconciliation,",
        "seconds of CPU per second and peak memory of alice/bob/broker.",
        "limit: what this machine, or for the link nature, allows at most",
        *(f"  {limit.stage}: {limit.because}" for limit in limits),
        f"  {LINK}: -log2(1 - eta) secret bits for each pulse that was sent (Pirandola et al. 2017)",
        "* not measured here, but by others or on another machine; in no ratio",
        *(f"  {stage}: {recorded.whose}" for stage, recorded in RECORDED.items()),
        f"Load of this machine at the end: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors.",
    ]
    return "\n".join(lines)


def _elsewhere(stage: str) -> str:
    return RECORDED[stage].figure if stage in RECORDED else _NOBODY


def _link_object(pair: LinkPair) -> dict[str, Any]:
    speed = pair.speed
    return {
        "eta": speed.course.eta,
        "block_pulses": speed.course.block_pulses,
        **asdict(speed.rates),
        "efficiency": speed.efficiency,
        "rounds_per_block": speed.rounds_per_block,
        "cpu_seconds": dict(speed.cpu_seconds),
        "peak_mib": dict(speed.peak_mib),
        "blocks": speed.blocks,
        "seconds": speed.seconds,
        "with_dead_time": None
        if pair.with_dead_time is None
        else {
            "dead_time_ns": pair.with_dead_time.course.dead_time_ns,
            **asdict(pair.with_dead_time.rates),
        },
    }


def _readable(ratio: float) -> str:
    return f"{ratio:.0f}" if ratio >= _WHOLE else f"{ratio:.3g}"


def _short(pulses: int) -> str:
    return f"{pulses:.0e}".replace("e+0", "e")


def _in_prefixes(value: float) -> str:
    for factor, prefix in _PREFIXES:
        if value >= factor:
            return f"{value / factor:.3g} {prefix}"
    return f"{value:.3g} "
