"""What distance costs, 0, 1 and 10 ms there and back: `python -m qkdlink.benchmarks.round_trips [--quick]`.

A relay on loopback holds every byte of the classical line back for half of that, each way; light is not held back. It
takes processor time of its own. The first table reconciles keys by the nodes' own steps, in two processes over TLS
(`reconciliation_on_a_line`); what stands beside it is the same in one thread, in turns. The ratio of processor time
says what the line costs where nobody else uses the machine, because the two processes take turns. The second table
runs links.
"""

from argparse import ArgumentParser
from statistics import median

from qkdlink.benchmarks import link_benchmark, reconciliation_on_a_line
from qkdlink.benchmarks.reconciliation_on_a_line import Course
from qkdlink.common.distillation.reconciliation.schedule import Pace

_ROUND_TRIPS_S = (0.0, 0.001, 0.01)
_QBER = 0.02
_KEYS = ((2**20, 1), (2**24, 1))
"""Bits of a key, and keys under way at a time."""
_QUICK_KEYS = ((2**18, 2),)
_ETA, _BLOCK_PULSES, _BLOCKS, _SECONDS = 0.1, 30_000_000, 6, 15.0
_QUICK_PULSES = 3_000_000


def main() -> None:
    """Print both tables, each row as soon as it is measured."""
    parser = ArgumentParser(
        prog="python -m qkdlink.benchmarks.round_trips", description="Measure what distance costs."
    )
    parser.add_argument(
        "--quick", action="store_true", help="whether everything works; the figures mean little"
    )
    quick = parser.parse_args().quick
    print(
        "    key bits   at once   pace        round trip   exchanges   Mbit/s   one thread   ratio   of CPU time"
    )
    for bits, at_once in _QUICK_KEYS if quick else _KEYS:
        for pace in (Pace.EXCHANGES, Pace.DISTANCE):
            for round_trip_s in _ROUND_TRIPS_S:
                print(
                    _reconciled(Course(bits, _QBER, pace, round_trip_s, at_once, 1 if quick else 3)),
                    flush=True,
                )
    print("    block pulses   round trip   Mpulse/s   secret kbit/s   exchanges   blocks")
    for round_trip_s in _ROUND_TRIPS_S:
        print(
            _linked(_QUICK_PULSES if quick else _BLOCK_PULSES, round_trip_s, 0.0 if quick else _SECONDS),
            flush=True,
        )


def _reconciled(course: Course) -> str:
    found = reconciliation_on_a_line.measure(course)
    seconds, in_one_thread_s = median(found.seconds), median(found.in_one_thread_s)
    return (
        f"    {course.key_bits:8}   {course.keys_at_once:7}   {course.pace:9}   {course.round_trip_s * 1e3:7g} ms"
        f"   {median(found.exchanges):9.0f}   {course.bits / seconds / 1e6:6.1f}"
        f"   {course.bits / in_one_thread_s / 1e6:10.1f}   {in_one_thread_s / seconds:5.2f}"
        f"   {median(found.in_one_thread_cpu_s) / median(found.cpu_s):11.2f}"
    )


def _linked(block_pulses: int, round_trip_s: float, seconds: float) -> str:
    speed = link_benchmark.measure(
        link_benchmark.Course(_ETA, block_pulses, _BLOCKS, seconds, round_trip_s=round_trip_s)
    )
    return (
        f"    {block_pulses:12}   {round_trip_s * 1e3:7g} ms   {speed.rates.pulses_per_second / 1e6:8.1f}"
        f"   {speed.rates.secret_bits_per_second / 1e3:13.1f}   {speed.rounds_per_block:9.0f}"
        f"   {speed.blocks} in {speed.seconds:.0f} s"
    )


if __name__ == "__main__":
    main()
