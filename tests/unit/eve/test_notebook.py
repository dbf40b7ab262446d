import numpy as np
import pytest

from qkdlink.common.optics.adversary import Bench, Counted
from qkdlink.common.optics.fibre import Fibre
from qkdlink.common.optics.states import Basis
from qkdlink.eve.kept_blocks import Notebook
from qkdlink.eve.notebook import BlockNotes, Knowledge, MeasuredPage, StoredPage

NOBODY = Knowledge(np.empty(0, np.uint8), np.empty(0))
GATES = np.arange(4, dtype=np.uint32)
KEY = np.full(4, Basis.KEY, np.uint8)


def counted(zeros: list[int], ones: list[int]) -> Counted:
    return Counted(np.array(zeros, np.uint8), np.array(ones, np.uint8))


def test_a_photon_in_the_right_basis_is_certain_and_in_the_wrong_one_says_nothing():
    notes = BlockNotes()
    notes.add(MeasuredPage.write(0, np.array([0, 0, 2, 2], np.uint8), counted([1, 0, 1, 0], [0, 1, 0, 0])))
    knowledge = notes.known(GATES, KEY)
    assert knowledge.guesses.tolist()[:2] == [0, 1]
    assert knowledge.probabilities.tolist() == [1, 1, 0.5, 0.5]


def test_several_photons_halfway_say_more_than_one():
    notes = BlockNotes()
    halfway = np.ones(4, np.uint8)
    notes.add(MeasuredPage.write(0, halfway, counted([1, 0, 0, 1], [0, 1, 2, 1])))
    p = np.cos(np.pi / 8) ** 2
    two = p**2 / (p**2 + (1 - p) ** 2)
    assert notes.known(GATES, KEY).probabilities == pytest.approx([p, p, two, 0.5])


def test_two_measurements_of_parts_of_one_pulse_add_up_and_the_second_of_new_light_does_not_count():
    part = MeasuredPage.write(0, np.ones(4, np.uint8), counted([1, 0, 0, 0], [0, 1, 0, 0]), replaces=False)
    whole = MeasuredPage.write(0, np.ones(4, np.uint8), counted([1, 0, 1, 0], [0, 0, 0, 1]))
    both, replaced = BlockNotes(), BlockNotes()
    for page in (part, whole):
        both.add(page)
    for page in (whole, part):
        replaced.add(page)
    p = np.cos(np.pi / 8) ** 2
    two = p**2 / (p**2 + (1 - p) ** 2)
    assert both.known(GATES, KEY).probabilities == pytest.approx([two, p, p, p])
    assert replaced.known(GATES, KEY).probabilities == pytest.approx([p, p, p, p])


def test_stored_light_is_silent_before_the_announcement_and_tells_the_bit_afterwards_again_and_again():
    bench = Bench(np.random.default_rng(1))
    states = np.array([0, 4, 2, 6], np.uint8)
    light = bench.prepare((states, np.array([1, 1, 0, 1], np.uint8)), Fibre(0, 0.2, 0), 0)
    notes = BlockNotes()
    notes.add(StoredPage(0, 4, bench.store(light)))
    assert notes.suspected(GATES, 0.5).unknown.all()
    for _ in range(2):
        knowledge = notes.known(GATES, np.array([0, 0, 1, 1], np.uint8))
        assert knowledge.certain.tolist() == [True, True, False, True]
        assert knowledge.guesses[knowledge.certain].tolist() == [0, 1, 1]


def test_a_page_speaks_of_its_own_pulses_only():
    notes = BlockNotes()
    notes.add(MeasuredPage.write(2, np.zeros(1, np.uint8), counted([1], [0])))
    assert notes.known(GATES, KEY).certain.tolist() == [False, False, True, False]


def test_a_suspicion_weighs_both_bases():
    notes = BlockNotes()
    notes.add(MeasuredPage.write(0, np.zeros(4, np.uint8), counted([1] * 4, [0] * 4)))
    assert notes.suspected(GATES, 0.9).probabilities == pytest.approx([0.95] * 4)


def test_what_contradicts_itself_is_not_known():
    notes = BlockNotes()
    bench = Bench(np.random.default_rng(1))
    for polarisation in (0, 4):
        light = bench.prepare((np.full(4, polarisation, np.uint8), np.ones(4, np.uint8)), Fibre(0, 0.2, 0), 0)
        notes.add(StoredPage(0, 4, bench.store(light)))
    assert notes.known(GATES, KEY).unknown.all()


def test_knowledge_is_measured_in_bits():
    knowledge = Knowledge(np.array([0, 1, 1, 0], np.uint8), np.array([1.0, 0.5, 0.75, 1.0]))
    assert knowledge.known_fraction == 0.5
    assert knowledge.guess_probability == 0.8125
    assert knowledge.min_entropy_bits == pytest.approx(1 + np.log2(4 / 3))
    assert knowledge.information == pytest.approx((1 + 0 + 1 - 0.8112781245 + 1) / 4)
    assert (NOBODY.known_fraction, NOBODY.guess_probability, NOBODY.information) == (0, 0.5, 0)


def test_without_announcements_the_oldest_block_is_dropped():
    book = Notebook(most_blocks=2)
    first = book.notes(("s", 1))
    assert book.notes(("s", 1)) is first
    book.notes(("s", 2))
    book.notes(("t", 3))
    assert book.notes(("s", 1)) is not first
    assert repr(book) == "Notebook(2 blocks, redacted)"


INVENTED = {
    "sessions": lambda each: (f"invented {each}", 7),
    "later numbers": lambda each: ("s", 9 + each),
    "earlier numbers": lambda each: ("s", 5 - each),
}


@pytest.mark.parametrize("invented", INVENTED)
@pytest.mark.parametrize("read_late", [False, True])
@pytest.mark.parametrize("begun", [0, 20])
def test_no_invented_block_takes_the_place_of_a_real_one(invented: str, read_late: bool, begun: int):
    """Its light may be there before Eve has read the announcement; the block before was announced then."""
    book = Notebook()
    book.announce(("s", 7))
    if not read_late:
        book.announce(("s", 8))
    before = [INVENTED[invented](each) for each in range(begun)]
    for place in before:
        book.notes(place)
    notes = book.notes(("s", 8))
    for each in range(100):
        book.notes(INVENTED[invented](each))
        assert book.notes(("s", 8)) is notes
    assert repr(book) == "Notebook(8 blocks, redacted)"


def test_what_has_ended_and_what_was_announced_long_ago_makes_room():
    book = Notebook(most_blocks=2)
    kept = {number: book.notes(("s", number)) for number in (1, 2)}
    for number in (1, 2):
        book.announce(("s", number))
    book.end(("s", 1))
    book.notes(("s", 3))
    assert book.notes(("s", 2)) is kept[2]
    assert ("s", 1) not in book
    for number in (4, 5, 6):
        book.announce((str(number), number))
    book.notes(("5", 5))
    book.notes(("6", 6))
    assert ("s", 2) not in book


def test_notes_do_not_print_what_she_knows():
    notes = BlockNotes()
    notes.add(MeasuredPage.write(0, np.zeros(4, np.uint8), counted([1] * 4, [0] * 4)))
    for secret in (notes, notes.known(GATES, KEY), MeasuredPage.write(0, KEY, counted([1] * 4, [0] * 4))):
        assert "[" not in repr(secret)
