"""What distance costs, 0, 1 and 10 ms there and back: `python -m benchmarks.round_trips [--quick]`.

A relay on loopback holds every byte of the classical line back for half of that, each way; light is not held back. It
takes processor time of its own. The first table reconciles keys by the nodes' own steps, in two processes over TLS
(`reconciliation_on_a_line`); what stands beside it is the same in one thread, in turns. The ratio of processor time
says what the line costs where nobody else uses the machine, because the two processes take turns. The second table
runs links.
"""

from argparse import ArgumentParser
from statistics import median

from rich.console import Console
from rich.table import Table

from benchmarks import reconciliation_on_a_line
from benchmarks.reconciliation_on_a_line import Course
from common.distillation.reconciliation.schedule import Pace
from lab import link_benchmark

_ROUND_TRIPS_S = (0.0, 0.001, 0.01)
_QBER = 0.02
_KEYS = ((2**20, 1), (2**24, 1), (2**22, 4))
"""Bits of a key, and keys under way at a time."""
_QUICK_KEYS = ((2**18, 2),)
_ETA, _BLOCK_PULSES, _BLOCKS, _SECONDS = 0.1, 30_000_000, 6, 15.0
_QUICK_PULSES = 3_000_000


def main() -> None:
    """Print both tables."""
    parser = ArgumentParser(
        prog="python -m benchmarks.round_trips", description="Measure what distance costs."
    )
    parser.add_argument(
        "--quick", action="store_true", help="whether everything works; the figures mean little"
    )
    quick = parser.parse_args().quick
    console = Console(highlight=False, width=120)
    console.print(_reconciled(_QUICK_KEYS if quick else _KEYS, runs=1 if quick else 3))
    console.print(_linked(_QUICK_PULSES if quick else _BLOCK_PULSES, 0.0 if quick else _SECONDS))


def _reconciled(keys: tuple[tuple[int, int], ...], runs: int) -> Table:
    table = _table(
        "key bits",
        "at once",
        "pace",
        "round trip",
        "exchanges",
        "Mbit/s",
        "in one thread",
        "ratio",
        "of CPU time",
    )
    for bits, at_once in keys:
        for pace in (Pace.EXCHANGES, Pace.DISTANCE):
            for round_trip_s in _ROUND_TRIPS_S:
                course = Course(bits, _QBER, pace, round_trip_s, at_once, runs)
                found = reconciliation_on_a_line.measure(course)
                seconds, in_one_thread_s = median(found.seconds), median(found.in_one_thread_s)
                table.add_row(
                    f"{bits:,}",
                    f"{at_once}",
                    pace,
                    f"{round_trip_s * 1e3:g} ms",
                    f"{median(found.exchanges):.0f}",
                    f"{course.bits / seconds / 1e6:.1f}",
                    f"{course.bits / in_one_thread_s / 1e6:.1f}",
                    f"{in_one_thread_s / seconds:.2f}",
                    f"{median(found.in_one_thread_cpu_s) / median(found.cpu_s):.2f}",
                )
    return table


def _linked(block_pulses: int, seconds: float) -> Table:
    table = _table("eta", "block pulses", "round trip", "Mpulse/s", "secret kbit/s", "exchanges", "blocks")
    for round_trip_s in _ROUND_TRIPS_S:
        course = link_benchmark.Course(_ETA, block_pulses, _BLOCKS, seconds, round_trip_s=round_trip_s)
        speed = link_benchmark.measure(course)
        table.add_row(
            f"{_ETA:g}",
            f"{block_pulses:,}",
            f"{round_trip_s * 1e3:g} ms",
            f"{speed.rates.pulses_per_second / 1e6:.1f}",
            f"{speed.rates.secret_bits_per_second / 1e3:.1f}",
            f"{speed.rounds_per_block:.0f}",
            f"{speed.blocks} in {speed.seconds:.0f} s",
        )
    return table


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, collapse_padding=True)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


if __name__ == "__main__":
    main()
