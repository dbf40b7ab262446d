"""Pauses between attempts."""

from qkdlink.common.growing_pause import GrowingPause


def test_a_pause_doubles_up_to_the_longest_and_begins_anew():
    pause = GrowingPause(0.25, 1.5)
    assert [pause.take() for _ in range(5)] == [0.25, 0.5, 1.0, 1.5, 1.5]
    pause.reset()
    assert (pause.seconds, pause.take(), pause.seconds) == (0.25, 0.25, 0.5)
