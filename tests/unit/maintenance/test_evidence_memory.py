"""The slope of a node's memory: what is kept of every block shows, what it takes at first and for a while does not."""

from itertools import cycle, islice
from typing import Any

import pytest

from maintenance.evidence.memory import MOST_KIB_PER_BLOCK, conclude, kib_per_block
from qkdlink.deployment.homes.names import ALICE, BOB

WAVES = list(islice(cycle([0.0, 3.0, 1.0, 7.0]), 400))
"""What is under way: MiB."""
WARMING_UP = [100.0 + 40.0 * min(1.0, block / 60) + wave for block, wave in enumerate(WAVES)]


def kept(kib: float) -> list[float]:
    return [resident + block * kib / 1024 for block, resident in enumerate(WARMING_UP)]


def finding(alice: list[float], bob: list[float]) -> dict[str, Any]:
    return {"protocol": "one-decoy", "block_pulses": 1, ALICE: alice, BOB: bob}


@pytest.mark.parametrize("kib", [0.0, 10.0, 200.0])
def test_the_slope_is_what_is_kept_of_a_block(kib: float) -> None:
    assert kib_per_block(kept(kib)) == pytest.approx(kib, abs=0.5)


def test_the_evidence_passes_only_if_neither_node_grows() -> None:
    flat, growing = kept(MOST_KIB_PER_BLOCK / 2), kept(2 * MOST_KIB_PER_BLOCK)
    assert conclude([finding(flat, flat)])["passed"]
    assert not conclude([finding(flat, flat), finding(growing, flat)])["passed"]
    assert not conclude([finding(flat, growing), finding(flat, flat)])["passed"]
