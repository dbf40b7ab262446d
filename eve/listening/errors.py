"""Where the errors of a sifted key are, as far as Bob's questions tell.

Bob halves a range that he has found odd, down to one bit. When he asks for the parity of one bit, one of two
neighbouring bits of that pass is wrong: this one, or the one behind it. His questions do not tell which of the two.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from qkdlink.common.distillation.reconciliation.parity import Questions
from qkdlink.common.distillation.reconciliation.rows import bits_at, taken_apart
from qkdlink.common.distillation.reconciliation.schedule import PASSES, Schedule


def located_pairs(plan: Schedule, shuffle_seed: bytes, questions: Sequence[Questions]) -> NDArray[np.int64]:
    """Return pairs of places in the sifted key, `int64[k, 2]`; of each pair just one bit is wrong.

    Left out are errors that a check has found, of which there are few, and those in a block of one bit.
    """
    parities = taken_apart(questions)
    found = [np.empty((0, 2), np.int64)]
    for index in range(PASSES):
        last = (parities.indices == index) & (parities.ends == parities.starts + 1)
        columns = bits_at(index, plan, shuffle_seed)
        starts = parities.starts[last].astype(np.int64)
        lanes = np.log2(parities.masks[last].astype(np.float64)).astype(np.int64)
        inside = ~np.isin(starts + 1, plan.frame_bounds())
        pairs = np.stack([columns[starts[inside] + each, lanes[inside]] for each in (0, 1)], axis=1)
        found.append(pairs[np.all(pairs >= 0, axis=1)])
    return np.concatenate(found)
