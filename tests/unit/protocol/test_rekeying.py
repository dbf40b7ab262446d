"""When an epoch should end: the policy, from its two numbers and without a clock."""

import pytest

from qkdlink.common.protocol.rekeying import MOST_BOOTSTRAP_KEYS, MOST_LIVE_EPOCHS, RekeyingPolicy

POLICY = RekeyingPolicy(blocks=10, seconds=600.0)


@pytest.mark.parametrize(
    ("epoch", "blocks", "seconds", "due"),
    [
        (0, 0, 0.0, True),
        (0, 100, 1e6, True),
        (1, 0, 0.0, False),
        (1, 9, 599.9, False),
        (1, 10, 0.0, True),
        (1, 0, 600.0, True),
        (7, 11, 601.0, True),
    ],
)
def test_an_epoch_is_over_after_its_blocks_or_its_time_and_the_bootstrap_at_once(
    epoch: int, blocks: int, seconds: float, due: bool
) -> None:
    assert POLICY.is_due(epoch=epoch, blocks=blocks, seconds=seconds) is due


def test_a_policy_of_one_block_ends_an_epoch_with_its_first() -> None:
    policy = RekeyingPolicy(blocks=1, seconds=1e9)
    assert not policy.is_due(epoch=3, blocks=0, seconds=1e6)
    assert policy.is_due(epoch=3, blocks=1, seconds=0.0)


def test_the_bounds_are_those_that_are_promised() -> None:
    assert (MOST_LIVE_EPOCHS, MOST_BOOTSTRAP_KEYS) == (2, 3)
