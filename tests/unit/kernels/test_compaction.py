"""Marked places are listed the same with and without the instruction that lists sixteen at once."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkdlink.common.kernels import compaction as marked

WAYS = [
    marked.list_marked_anywhere,
    pytest.param(
        marked.list_marked_at_once,
        marks=pytest.mark.skipif(not marked.lists_at_once, reason="this processor has no AVX-512"),
    ),
]
UNTOUCHED = -7


@pytest.mark.parametrize("list_marked", WAYS)
@settings(max_examples=60)
@given(
    density=st.sampled_from([0.0, 0.003, 0.05, 0.09, 0.11, 0.5, 1.0]),
    rows=st.integers(0, 300),
    start=st.integers(0, 2**31 - 5000),
    seed=st.integers(0, 2**32),
)
def test_marked_places_are_all_listed_in_order_whether_few_or_many(
    list_marked: Callable[..., int], density: float, rows: int, start: int, seed: int
):
    flags = (np.random.default_rng(seed).random(16 * rows) < density).astype(np.uint8)
    expected = start + np.flatnonzero(flags)
    places = np.full(len(expected) + marked.SPARE_PLACES + 4, UNTOUCHED, np.int32)
    assert list_marked(flags, start, places) == len(expected)
    assert places[: len(expected)].tolist() == expected.tolist()
    assert places[-4:].tolist() == [UNTOUCHED] * 4, "beyond the spare places is somebody else's memory"


@pytest.mark.parametrize(
    "select",
    [
        marked.select_anywhere,
        pytest.param(
            marked.select_at_once,
            marks=pytest.mark.skipif(not marked.selects_at_once, reason="this processor has no VBMI2"),
        ),
    ],
)
@settings(max_examples=60)
@given(
    density=st.sampled_from([0.0, 0.05, 0.5, 0.95, 1.0]),
    count=st.integers(0, 1000),
    offset=st.integers(0, 3),
    seed=st.integers(0, 2**32),
)
def test_values_that_are_marked_are_selected_in_order(
    select: Callable[..., int], density: float, count: int, offset: int, seed: int
):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 256, count + offset, np.uint8)[offset:]
    flags = (rng.random(count + offset) < density).astype(np.uint8)[offset:]
    expected = values[flags == 1]
    room = np.full(len(expected) + marked.SPARE_BYTES + 4, 9, np.uint8)
    assert select(values, flags, room) == len(expected)
    assert room[: len(expected)].tolist() == expected.tolist()
    assert room[-4:].tolist() == [9] * 4, "beyond the spare bytes is somebody else's memory"


def test_the_fastest_way_that_the_processor_has_is_taken():
    assert (marked.list_marked is marked.list_marked_at_once) == marked.lists_at_once
    assert (marked.select is marked.select_at_once) == marked.selects_at_once
    assert marked.compresses() or not marked.lists_at_once
    assert not marked.compresses("no-such-feature")
