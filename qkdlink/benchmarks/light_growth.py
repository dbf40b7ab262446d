"""`python -m qkdlink.benchmarks.light_growth`: how the cost of light depends on the total efficiency and on the block.

Each efficiency beside the naive model in the same run, in turns; then ours alone from 2^16 to 2^26 pulses at 10 %.
"""

import time
from dataclasses import replace
from statistics import median

from qkdlink.benchmarks.light import DETECTOR, measure, shine

_EFFICIENCIES = (0.5, 0.1, 0.01, 0.001)
_PULSES, _NAIVE_PULSES = 2**24, 2**21
_PAIRS, _RUNS = 7, 5
_SIZES_LOG2 = (16, 18, 20, 22, 24, 26)


def main() -> None:
    """Print one line per efficiency, then one per size."""
    print("    efficiency   pulse/s   spread   times naive numpy")
    for efficiency in _EFFICIENCIES:
        stage = measure(_PULSES, _NAIVE_PULSES, _PAIRS, replace(DETECTOR, efficiency=efficiency))
        print(f"    {efficiency:10g} {stage.value:9.3g}   {stage.spread:6.0%}   {stage.ratio:17.3g}")
    print("    pulses   pulse/s")
    for size_log2 in _SIZES_LOG2:
        print(f"    2^{size_log2}    {_rate(2**size_log2):9.3g}")


def _rate(pulses: int) -> float:
    shine(pulses)
    seconds = []
    for _ in range(_RUNS):
        started = time.perf_counter()
        shine(pulses)
        seconds.append(time.perf_counter() - started)
    return pulses / median(seconds)


if __name__ == "__main__":
    main()
