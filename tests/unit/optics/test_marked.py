"""Marked places are listed the same with and without the instruction that lists sixteen at once."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.optics import marked

WAYS = [
    marked.list_marked_anywhere,
    pytest.param(
        marked.list_marked_at_once,
        marks=pytest.mark.skipif(not marked.compresses(), reason="this processor has no AVX-512"),
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


def test_the_fastest_way_that_the_processor_has_is_taken():
    assert marked.list_marked is (
        marked.list_marked_at_once if marked.compresses() else marked.list_marked_anywhere
    )
