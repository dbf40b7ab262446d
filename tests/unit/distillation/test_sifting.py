import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkdlink.common.distillation.sifting import KEY_BASIS, Sifter, sift
from qkdlink.common.distillation.stages import count_classes

detections = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 1), st.integers(0, 2), st.booleans()), max_size=60
)


@given(detections)
def test_matched_detections_are_parted_by_basis_in_their_order(made: list[tuple[int, int, int, bool]]):
    bits, bases, classes, matched = (
        (np.array(column) for column in zip(*made, strict=True)) if made else [[]] * 4
    )
    matched = np.asarray(matched, np.bool_)
    bits, bases, classes = (np.asarray(column, np.uint8) for column in (bits, bases, classes))
    key = sift(bits, bases, classes[matched], 3, matched)
    assert (key.key_bits.tolist(), key.key_classes.tolist()) == (
        [bit for bit, basis, _, same in made if same and basis == KEY_BASIS],
        [each for _, basis, each, same in made if same and basis == KEY_BASIS],
    )
    assert (key.test_bits.tolist(), key.test_classes.tolist()) == (
        [bit for bit, basis, _, same in made if same and basis != KEY_BASIS],
        [each for _, basis, each, same in made if same and basis != KEY_BASIS],
    )


@given(detections, st.lists(st.integers(0, 60), max_size=5))
def test_settings_are_parted_piece_by_piece_as_detections_are_at_once(
    made: list[tuple[int, int, int, bool]], cuts: list[int]
):
    settings = np.array([bit | basis << 1 | each << 2 for bit, basis, each, _ in made], np.uint8)
    sifter = Sifter(len(made), 3)
    for piece in np.split(settings, sorted(cut for cut in cuts if cut <= len(made))):
        sifter.add(piece)
    apart, whole = sifter.key(), sift(settings & 1, settings >> 1 & 1, settings >> 2, 3)
    for name in ("key_bits", "key_classes", "test_bits", "test_classes", "key_detections", "test_detections"):
        assert list(getattr(apart, name)) == list(getattr(whole, name))


def test_a_sifter_takes_no_more_than_it_has_room_for_and_shows_nothing():
    sifter = Sifter(3, 2)
    sifter.add(np.array([0, 2], np.uint8))
    with pytest.raises(ValueError, match="more matched detections than 3"):
        sifter.add(np.array([1, 1], np.uint8))
    assert repr(sifter) == "Sifter(1 of the key, 1 of the test, redacted)"


def test_without_marks_all_detections_are_matched():
    bits, bases = np.array([1, 0, 1], np.uint8), np.array([0, 1, 0], np.uint8)
    key = sift(bits, bases, np.array([0, 1, 1], np.uint8), 2)
    assert key.key_bits.tolist() == [1, 1]
    assert key.test_bits.tolist() == [0]
    assert (key.key_detections, key.test_detections) == ((1, 1), (0, 1))


def test_classes_of_another_number_of_detections_are_refused():
    some = np.zeros(3, np.uint8)
    for classes in (2, 4):
        with pytest.raises(ValueError, match="cannot be of 3 matched detections"):
            sift(some, some, np.zeros(classes, np.uint8), 2)


@given(st.lists(st.integers(0, 4), max_size=80))
def test_classes_are_counted_one_by_one(classes: list[int]):
    assert count_classes(np.array(classes, np.uint8), 5) == tuple(classes.count(each) for each in range(5))
