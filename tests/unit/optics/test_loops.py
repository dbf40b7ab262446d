import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from qkdlink.common.optics import gate_loops, loops
from tests.support import slow_optics


def test_draws_are_splitmix64():
    # Outputs for seed 1234567 as published with the algorithm's many ports (Rosetta Code, "Splitmix64").
    lane = np.uint64(1234567)
    assert [int(loops.draw(lane, np.uint64(i))) for i in range(5)] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


@given(lane=st.integers(0, 2**64 - 1), index=st.integers(0, 2**32 - 1))
def test_every_bit_of_a_draw_agrees_with_the_slow_one(lane: int, index: int):
    assert int(loops.draw(np.uint64(lane), np.uint64(index))) == slow_optics.draw(lane, index)


def test_lanes_differ_and_follow_from_the_generator_alone():
    once, again = (loops.lane_keys(np.random.default_rng(5), 3) for _ in range(2))
    assert once.tolist() == again.tolist()
    assert len(set(once.tolist())) == 3


def test_thresholds_are_probabilities_times_two_to_the_64():
    assert loops.thresholds([0.0, 2**-64, 2**-30, 0.5, 1.0]).tolist() == [0, 1, 2**34, 2**63, 2**64 - 1]


@settings(max_examples=40)
@given(
    cumulated=st.lists(st.integers(0, 2**64 - 1), min_size=3, max_size=3).map(sorted),
    rest=st.integers(0, 2**56 - 1),
)
def test_a_verdict_is_what_every_chance_with_this_first_byte_comes_to(cumulated: list[int], rest: int):
    verdicts = gate_loops.verdicts(np.tile(np.array(cumulated, np.uint64), (2, 256, 1)))
    assert (verdicts == verdicts[0, 0]).all()
    row = np.array(cumulated, np.uint64)
    for first_byte, verdict in enumerate(verdicts[0, 0].tolist()):
        outcomes = {
            int(gate_loops.fired_by_light(np.uint64(first_byte << 56 | low), row))
            for low in (0, rest, 2**56 - 1)
        }
        assert verdict == gate_loops.UNSURE or outcomes == {verdict}
        assert verdict != gate_loops.UNSURE or any(t >> 56 == first_byte for t in cumulated)
