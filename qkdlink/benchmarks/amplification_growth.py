"""`python -m qkdlink.benchmarks.amplification_growth`: how privacy amplification grows with the block, and its peak
memory.

Each size to half, once per party, beside scipy's float64 convolution in the same run, in turns; beyond 2^24
bits scipy needs more memory than a usual machine has, and ours stands alone. Peak memory is that of
`amplification_memory`.
"""

import subprocess
import sys
import time
from statistics import median

from qkdlink.benchmarks.amplification import drawn_key, drawn_seed, measure
from qkdlink.common.distillation.amplification import amplify

_COMPARED = {17: 7, 20: 7, 22: 5, 24: 3}
"""Runs of each contender that count, for log2 of the size."""
_ALONE = {26: 5}
_PARTIES = 2


def main() -> None:
    """Print one line per size."""
    print("    bits   bit/s (both parties)   spread   times scipy   peak MiB")
    for size_log2, pairs in _COMPARED.items():
        stage = measure(2**size_log2, pairs)
        memory = peak_mib(2**size_log2)
        print(
            f"    2^{size_log2}   {stage.value:20.3g}   {stage.spread:6.0%}   {stage.ratio:11.3g}   {memory:8d}"
        )
    for size_log2, runs in _ALONE.items():
        value, spread = alone(2**size_log2, runs)
        print(f"    2^{size_log2}   {value:20.3g}   {spread:6.0%}   {'-':>11}   {peak_mib(2**size_log2):8d}")


def alone(length: int, runs: int) -> tuple[float, float]:
    """Median rate in bit/s for both parties' work, and spread, of ours; the first run does not count."""
    verified, seed = drawn_key(length), drawn_seed(length, length // 2)
    seconds = []
    for _ in range(1 + runs):
        started = time.perf_counter()
        for _ in range(_PARTIES):
            amplify(verified, seed, length // 2)
        seconds.append(time.perf_counter() - started)
    rates = [length / run for run in seconds[1:]]
    return median(rates), (max(rates) - min(rates)) / median(rates)


def peak_mib(length: int) -> int:
    """Peak memory of a fresh process that amplifies one block of `length` bits."""
    command = [sys.executable, "-m", "qkdlink.benchmarks.amplification_memory", str(length.bit_length() - 1)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    main()
