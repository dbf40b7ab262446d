"""`python -m qkdlink.benchmarks.amplification_memory LOG2`: peak memory in MiB of amplifying one block of 2^LOG2 bits
(Linux).

Interpreter, imports and inputs are included, one byte per key bit among them; scipy is not imported.
"""

import secrets
import sys
from pathlib import Path

import numpy as np

from qkdlink.common.distillation.amplification import amplification_seed_bits, amplify
from qkdlink.common.distillation.stages import VerifiedKey


def main() -> None:
    """Amplify once and print the peak that the kernel has counted for this process."""
    length = 2 ** int(sys.argv[1])
    seed = secrets.token_bytes((amplification_seed_bits(length, length // 2) + 7) // 8)
    key = VerifiedKey(np.random.default_rng().integers(0, 2, length, np.uint8), (0,), 0)
    amplify(key, seed, length // 2)
    # Not getrusage: its maximum survives exec, and would be that of whoever started this process.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    print(int(status["VmHWM"].split()[0]) // 1024)


if __name__ == "__main__":
    main()
