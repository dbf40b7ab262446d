"""Is a stored key undetermined for Eve? Checked by linear algebra over GF(2), from the laboratory's view of everything.

The reconciled key is a string of n bits. Eve knows some of them, and parities of all that Cascade disclosed. Each bit
of the secret key is a parity, too: a row of the amplification matrix. If those rows, restricted to the bits unknown to
her, are linearly independent of each other and of the disclosed rows, then whatever bits and parities she knows, every
secret key is equally possible. If they are not, some parity of the secret key is known to her for sure.

So much is exact. The verification tag is no linear function of the key, and given the tag too nothing is said of the
matrix at hand, only of matrices on average: the t bits of the tag cost her uncertainty at most t bits, and the matrix
is drawn independently of it from a universal family. By the leftover hash lemma the key is then, for her, within
2^-((spare - t) / 2 + 1) of a uniform one, where `spare` are the unknown dimensions that the key leaves over. Hence
`TAG_MARGIN_BITS`.

For knowledge that is probable and not certain, as of every bit that may come from an afterpulse, there is no such
check; there her accounted min-entropy must suffice
(`qkdlink.common.distillation.leftover_hash`).

Only as many columns are looked at as there are rows, and 64 more: rows that are independent on some columns are
independent on all. Should they not be, all columns are looked at. A key for which too few dimensions are left unknown
is found by counting them, which takes the rank of the disclosed rows alone. Elimination is by the method of the four
Russians, eight rows at a time, 64 columns per word.

Sources: Tomamichel, Schaffner, Smith, Renner, IEEE Trans. Inf. Theory 57, 5524 (2011) (leftover hashing). Arlazarov,
Dinic, Kronrod, Faradzev, Dokl. Akad. Nauk SSSR 194, 487 (1970); Albrecht, Bard, Hart, ACM Trans. Math. Softw. 37, 9
(2010) (elimination).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qkdlink.common.bits import Bits
from qkdlink.common.distillation.reconciliation.parity import Questions
from qkdlink.common.distillation.reconciliation.rows import Columns, Rows, packed, parity_rows
from qkdlink.common.distillation.reconciliation.schedule import Schedule
from qkdlink.common.kernels.compiled import kernel

TAG_MARGIN_BITS = 64
"""Unknown dimensions to spare beyond the tag's bits: with them the key is 2^-33 = 1.2e-10 from a uniform one."""
_SPARE_COLUMNS = 64
_BATCH = 8


@dataclass(frozen=True, slots=True)
class Disclosed:
    """What was said in public about the reconciled key of one block."""

    plan: Schedule
    """The layout of the key in words, which is what Cascade asks about."""
    shuffle_seed: bytes
    """Of Cascade's permutations and checks."""
    questions: tuple[Questions, ...]
    """All that were answered."""
    tag_bits: int
    """Length of the verification tag."""


@dataclass(frozen=True, slots=True)
class Undetermined:
    """What the check found."""

    secret_bits: int
    undetermined_bits: int
    """Dimensions of the secret key that are undetermined for Eve, 0..secret_bits; at most, where counting decided."""
    spare_bits: int
    """Unknown dimensions of the reconciled key that are left besides."""
    tag_bits: int

    @property
    def holds(self) -> bool:
        """Whether the whole secret key is undetermined, and a tag, if there is one, is paid for."""
        to_spare = self.tag_bits + TAG_MARGIN_BITS if self.tag_bits else 0
        return self.undetermined_bits == self.secret_bits and self.spare_bits >= to_spare


def undetermined(
    unknown: NDArray[np.bool_], amplification_seed: Bits, secret_bits: int, disclosed: Disclosed
) -> Undetermined:
    """Check one block: `unknown` is `bool[n]`, where Eve knows nothing; the seed has n + secret_bits - 1 bits."""
    every = np.flatnonzero(unknown)
    disclosed_rows = sum(asked.parities(disclosed.plan) for asked in disclosed.questions)
    needed = secret_bits + disclosed.tag_bits
    if disclosed_rows + needed > len(every):
        left = len(every) - rank(
            parity_rows(every, disclosed.plan, disclosed.shuffle_seed, disclosed.questions)
        )
        if needed > left:
            at_most = min(secret_bits, left)
            return Undetermined(secret_bits, at_most, left - at_most, disclosed.tag_bits)

    def found_on(columns: Columns, disclosed_rank: int | None = None) -> Undetermined:
        parities, independent = _ranks(columns, amplification_seed, secret_bits, disclosed)
        spare = len(every) - (parities if disclosed_rank is None else disclosed_rank) - independent
        return Undetermined(secret_bits, independent, max(0, spare), disclosed.tag_bits)

    some = _some(every, disclosed_rows + secret_bits + _SPARE_COLUMNS)
    found = found_on(some, disclosed_rank=disclosed_rows)  # on all columns the rank is at most that
    return found if found.holds else found_on(every)


def rank(rows: Rows) -> int:
    """Rank over GF(2); `rows` is left as it is."""
    return _eliminate(rows.copy(), 0, len(rows))


def amplification_rows(columns: Columns, length: int, seed: Bits, secret_bits: int) -> Rows:
    """Rows of the Toeplitz matrix T[i, j] = seed[i - j + n - 1], over these columns."""
    parts = [np.empty((0, -(-len(columns) // 64)), np.uint64)]
    for start in range(0, secret_bits, 256):
        rows = np.arange(start, min(start + 256, secret_bits))
        parts.append(packed(seed[rows[:, None] - columns + length - 1] > 0))
    return np.concatenate(parts)


def _some(columns: Columns, count: int) -> Columns:
    """As many columns as that, spread evenly, or all if there are fewer."""
    if len(columns) <= count:
        return columns
    return columns[np.linspace(0, len(columns) - 1, count).astype(np.int64)]


def _ranks(columns: Columns, seed: Bits, secret_bits: int, disclosed: Disclosed) -> tuple[int, int]:
    """Rank of the disclosed parities, and rank of the amplification modulo them."""
    parities = parity_rows(columns, disclosed.plan, disclosed.shuffle_seed, disclosed.questions)
    amplification = amplification_rows(columns, disclosed.plan.key_length, seed, secret_bits)
    rows = np.concatenate([parities, amplification])
    return _eliminate(rows, 0, len(parities)), _eliminate(rows, len(parities), len(rows))


def _eliminate(rows: Rows, first: int, end: int) -> int:
    """Eliminate with rows `first` to `end` as pivots, from all rows after each; return their rank."""
    found = 0
    for start in range(first, end, _BATCH):
        stop = min(start + _BATCH, end)
        pivots = _pivots(rows[start:stop])
        if len(pivots):
            found += len(pivots)
            _clear(rows, start, stop, pivots)
    return found


@kernel
def _pivots(batch: Rows) -> Columns:
    """Bring a few rows to reduced echelon form, its rows first; return the bit of each row that no other row has."""
    pivots = np.empty(len(batch), np.int64)
    found = 0
    for row in range(len(batch)):
        word = 0
        while word < batch.shape[1] and batch[row, word] == 0:
            word += 1
        if word == batch.shape[1]:
            continue
        bit = 0
        while not batch[row, word] >> np.uint64(bit) & np.uint64(1):
            bit += 1
        for column in range(batch.shape[1]):
            batch[found, column], batch[row, column] = batch[row, column], batch[found, column]
        for other in range(len(batch)):
            if other != found and batch[other, word] >> np.uint64(bit) & np.uint64(1):
                for column in range(batch.shape[1]):
                    batch[other, column] ^= batch[found, column]
        pivots[found] = 64 * word + bit
        found += 1
    return pivots[:found]


@kernel
def _clear(rows: Rows, start: int, stop: int, pivots: Columns) -> None:
    """Clear the pivot bits in every row from `stop` on, with a table of all sums of the pivot rows."""
    width = rows.shape[1]
    table = np.zeros((1 << len(pivots), width), np.uint64)
    for chosen in range(1, len(table)):
        lowest = 0
        while not chosen >> lowest & 1:
            lowest += 1
        for column in range(width):
            table[chosen, column] = table[chosen & (chosen - 1), column] ^ rows[start + lowest, column]
    for row in range(stop, len(rows)):
        chosen = 0
        for index in range(len(pivots)):
            if rows[row, pivots[index] >> 6] >> np.uint64(pivots[index] & 63) & np.uint64(1):
                chosen |= 1 << index
        if chosen:
            for column in range(width):
                rows[row, column] ^= table[chosen, column]
