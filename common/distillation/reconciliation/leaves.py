"""The ranges whose parities are known in the passes over one frame, 64 lanes at a time.

Each block of a pass is the root of a binary tree: a node [start, end) is split in the middle, at start +
(end - start) // 2, when the parity of its left half has been disclosed; the right half's follows. So the
parity of every leaf is known, a node with an odd number of errors has a leaf with an odd number, and the
smallest range that a later correction makes odd is always a leaf. Keeping the leaves is keeping every
sub-parity ever disclosed.

The blocks of all lanes between the same positions have the same tree, but each lane has split it in its own way. So a
node is two words, one bit per lane: in which lanes it is split, and in which it is an odd leaf. A position is the
midpoint of one node only; a node is kept there.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qkdlink.common.distillation.reconciliation.schedule import PASSES
from qkdlink.common.distillation.reconciliation.shuffle import Positions
from qkdlink.common.distillation.reconciliation.words import Words
from qkdlink.common.kernels.compiled import kernel

_NONE = np.uint64(0)
_HALF = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)
_ENDLESS = 2**40


class Leaves(NamedTuple):
    """Bob's side of the passes over a frame of m words; the first axis is the pass."""

    words: Words
    """`uint64[m]`: the frame as corrected so far."""
    seen: Words
    """`uint64[passes, m]`: the same as each pass sees it, shuffled and turned."""
    order: Positions
    """`uint32[passes, m]`: which word stands at a position."""
    places: Positions
    """`uint32[passes, m]`: the position of a word, the inverse of `order`."""
    turns: NDArray[np.uint8]
    """`uint8[passes, m]`: by how many lanes the word at a position is turned."""
    block_words: NDArray[np.int64]
    """`int64[passes]`: length of the blocks, a power of two."""
    split: Words
    """`uint64[passes, m]`: lanes in which the node with this midpoint is split."""
    odd: Words
    """`uint64[passes, m]`: lanes in which it is a leaf with an odd number of errors."""
    spans: Words
    """`uint64[passes, m]`: its start (high half) and end."""
    agenda: Positions
    """`uint32[passes, m]`: midpoints of every node that has an odd lane, and of some that had one."""
    on_agenda: NDArray[np.uint8]
    """`uint8[passes, m]`: which midpoints these are."""
    agenda_length: NDArray[np.int64]
    """`int64[passes]`."""
    starts: Positions
    """`uint32[m]`: the questions of the present exchange."""
    ends: Positions
    """`uint32[m]`."""
    masks: Words
    """`uint64[m]`."""
    found: Positions
    """`uint32[m]`: positions, then numbers, of words in which errors were found."""
    errors: Words
    """`uint64[m]`: the lanes they were found in."""
    lanes: int


def leaves(words: Words, lanes: int) -> Leaves:
    """Return room for the passes over a frame; none is opened yet."""
    count = len(words)
    passes = (PASSES, count)
    return Leaves(
        words=words,
        seen=np.empty(passes, np.uint64),
        order=np.empty(passes, np.uint32),
        places=np.empty(passes, np.uint32),
        turns=np.empty(passes, np.uint8),
        block_words=np.zeros(PASSES, np.int64),
        split=np.empty(passes, np.uint64),
        odd=np.empty(passes, np.uint64),
        spans=np.empty(passes, np.uint64),
        agenda=np.empty(passes, np.uint32),
        on_agenda=np.empty(passes, np.uint8),
        agenda_length=np.zeros(PASSES, np.int64),
        starts=np.empty(count, np.uint32),
        ends=np.empty(count, np.uint32),
        masks=np.empty(count, np.uint64),
        found=np.empty(count, np.uint32),
        errors=np.empty(count, np.uint64),
        lanes=lanes,
    )


@kernel
def open_pass(
    known: Leaves, index: int, block_words: int, order: Positions, drawn: Words, seen: Words
) -> int:
    """Begin a pass whose permutation is known; put questions for its blocks; return how many.

    `drawn` decides the turns, `seen` are the words of the frame shuffled and turned.
    """
    words = order.size
    known.order[index], known.seen[index] = order, seen
    known.split[index], known.odd[index], known.on_agenda[index] = _NONE, _NONE, 0
    places, turns = known.places[index], known.turns[index]
    for position in range(words):
        places[order[position]] = position
        turns[position] = drawn[position] & np.uint64(known.lanes - 1)
    known.block_words[index] = block_words
    full = np.uint64(0xFFFFFFFFFFFFFFFF) >> np.uint64(64 - known.lanes)
    blocks = (words + block_words - 1) // block_words
    for block in range(blocks):
        start, end = block * block_words, min((block + 1) * block_words, words)
        _plant(known.spans[index], start, end)
        known.starts[block], known.ends[block], known.masks[block] = start, end, full
    return blocks


@kernel
def _plant(spans: Words, start: int, end: int) -> None:
    waiting = np.empty((64, 2), np.int64)
    waiting[0, 0], waiting[0, 1] = start, end
    count = 1
    while count:
        count -= 1
        low, high = waiting[count, 0], waiting[count, 1]
        if high - low > 1:
            middle = low + (high - low) // 2
            spans[middle] = (np.uint64(low) << _HALF) | np.uint64(high)
            waiting[count, 0], waiting[count, 1] = low, middle
            waiting[count + 1, 0], waiting[count + 1, 1] = middle, high
            count += 2


@kernel
def enter_blocks(known: Leaves, opened: int, asked: int, answers: Words) -> tuple[bool, int]:
    """Take the answers for the blocks of the last of `opened` passes.

    Return whether the answers can be true, and how many blocks are odd.
    """
    index = opened - 1
    seen, odd = known.seen[index], known.odd[index]
    agenda, on_agenda = known.agenda[index], known.on_agenda[index]
    found = listed = total = 0
    for each in range(asked):
        start, end = np.int64(known.starts[each]), np.int64(known.ends[each])
        lanes = answers[each]
        for position in range(start, end):
            lanes ^= seen[position]
        lanes &= known.masks[each]
        rest = lanes
        while rest:
            rest &= rest - np.uint64(1)
            total += 1
        if lanes and end - start == 1:
            known.found[found], known.errors[found] = start, lanes
            found += 1
        elif lanes:
            middle = start + (end - start) // 2
            odd[middle], on_agenda[middle], agenda[listed] = lanes, 1, middle
            listed += 1
    known.agenda_length[index] = listed
    return correct(known, opened, index, found), total


@kernel
def search(known: Leaves, opened: int, index: int, asked: int, answers: Words) -> tuple[bool, int, int]:
    """`halve` and `ask` in one call: return whether the answers can be true, and what is asked next."""
    possible = halve(known, opened, index, asked, answers)
    index, asked = ask(known, opened)
    return possible, index, asked


@kernel
def halve(known: Leaves, opened: int, index: int, asked: int, answers: Words) -> bool:
    """Split the odd leaves whose left halves were asked for; return whether the answers can be true."""
    seen, split, odd, spans = known.seen[index], known.split[index], known.odd[index], known.spans[index]
    agenda, on_agenda = known.agenda[index], known.on_agenda[index]
    found, listed = 0, known.agenda_length[index]
    for each in range(asked):
        start, end = np.int64(known.starts[each]), np.int64(known.ends[each])
        lanes = answers[each]
        for position in range(start, end):
            lanes ^= seen[position]
        asked_lanes = known.masks[each]
        lanes &= asked_lanes
        split[end] |= asked_lanes
        for half in range(2):  # the left one, then the right one, which is odd where the left is even
            if lanes and end - start == 1:
                known.found[found], known.errors[found] = start, lanes
                found += 1
            elif lanes:
                middle = start + (end - start) // 2
                odd[middle] |= lanes
                if not on_agenda[middle]:
                    on_agenda[middle], agenda[listed] = 1, middle
                    listed += 1
            if half == 0:
                start, end = end, np.int64(spans[end] & _LOW)
                lanes ^= asked_lanes
    known.agenda_length[index] = listed
    return correct(known, opened, index, found)


@kernel
def correct(known: Leaves, opened: int, index: int, found: int) -> bool:
    """Flip the errors found in a pass everywhere; return False if one of them was Alice's own bit already."""
    order, turns, seen = known.order[index], known.turns[index], known.seen[index]
    lanes = np.uint64(known.lanes)
    within = lanes - np.uint64(1)
    full = np.uint64(0xFFFFFFFFFFFFFFFF) >> (np.uint64(64) - lanes)
    for each in range(found):
        position, errors = known.found[each], known.errors[each]
        seen[position] ^= errors
        turn = np.uint64(turns[position])
        word = order[position]
        errors = ((errors >> turn) | (errors << ((lanes - turn) & within))) & full
        known.words[word] ^= errors
        known.found[each], known.errors[each] = word, errors
    known_bits = _NONE
    for other in range(opened):
        if other != index:
            known_bits |= flip(known, other, found)
    return not known_bits


@kernel
def flip(known: Leaves, index: int, found: int) -> np.uint64:
    """Flip the errors found in the words of a frame: each changes the one leaf of this pass that holds it.

    Return the lanes in which that leaf was a single bit, which has Alice's value.
    """
    places, turns, seen = known.places[index], known.turns[index], known.seen[index]
    split, odd = known.split[index], known.odd[index]
    agenda, on_agenda = known.agenda[index], known.on_agenda[index]
    listed, block_words, words = known.agenda_length[index], known.block_words[index], places.size
    lanes = np.uint64(known.lanes)
    within = lanes - np.uint64(1)
    full = np.uint64(0xFFFFFFFFFFFFFFFF) >> (np.uint64(64) - lanes)
    known_bits = _NONE
    for each in range(found):
        position = np.int64(places[known.found[each]])
        turn = np.uint64(turns[position])
        errors = known.errors[each]
        errors = ((errors << turn) | (errors >> ((lanes - turn) & within))) & full
        seen[position] ^= errors
        start = position & -block_words
        end = min(start + block_words, words)
        while errors and end - start > 1:
            middle = start + (end - start) // 2
            here = errors & ~split[middle]
            if here:
                odd[middle] ^= here
                errors ^= here
                if not on_agenda[middle]:
                    on_agenda[middle], agenda[listed] = 1, middle
                    listed += 1
            left = position < middle
            start, end = (start if left else middle), (middle if left else end)
        known_bits |= errors
    known.agenda_length[index] = listed
    return known_bits


@kernel
def ask(known: Leaves, opened: int) -> tuple[int, int]:
    """Put questions for the left halves of odd leaves; return the pass that they are about and how many.

    It is the pass that has the shortest odd leaf; all its odd leaves are asked about. (-1, 0) if no leaf is odd.
    """
    best, shortest = -1, _ENDLESS
    for index in range(opened):
        length = _shortest(known, index)
        if 0 < length < shortest:
            best, shortest = index, length
    if best < 0:
        return -1, 0
    odd, spans = known.odd[best], known.spans[best]
    agenda, on_agenda = known.agenda[best], known.on_agenda[best]
    asked = known.agenda_length[best]
    for each in range(asked):
        middle = agenda[each]
        known.starts[each], known.ends[each] = spans[middle] >> _HALF, middle
        known.masks[each] = odd[middle]
        odd[middle], on_agenda[middle] = _NONE, 0
    known.agenda_length[best] = 0
    return best, asked


@kernel
def _shortest(known: Leaves, index: int) -> int:
    """Strike off what is no longer odd in a pass; return the length of the shortest leaf that is, or 0."""
    odd, spans = known.odd[index], known.spans[index]
    agenda, on_agenda = known.agenda[index], known.on_agenda[index]
    kept, shortest = 0, _ENDLESS
    for each in range(known.agenda_length[index]):
        middle = agenda[each]
        if odd[middle]:
            agenda[kept] = middle
            kept += 1
            shortest = min(shortest, int(np.int64(spans[middle] & _LOW) - np.int64(spans[middle] >> _HALF)))
        else:
            on_agenda[middle] = 0
    known.agenda_length[index] = kept
    return shortest if kept else 0
