import re

import pytest

from qkdlink.common.keys.identifiers import FIRST_SESSION, SESSION_PATTERN, BlockId, is_name, session_id

A, B = "a" * 32, "b" * 32


@pytest.mark.parametrize("name", ["a", "alice", "link-1", "0", "a" * 63, "a-b--c"])
def test_names_are_lower_case_letters_digits_and_hyphens_within(name: str):
    assert is_name(name)


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a b", "a/b", "a.b", "a\n", "a" * 64, "ä", "a#", "+"])
def test_what_could_mean_something_in_a_topic_or_a_path_is_no_name(name: str):
    assert not is_name(name)


def test_both_ends_find_the_same_session_of_the_same_greetings():
    session = session_id("link", A, B)
    assert re.fullmatch(SESSION_PATTERN, session)
    assert session == session_id("link", A, B)
    assert session != FIRST_SESSION


def test_a_session_is_new_if_either_nonce_the_link_or_the_direction_is():
    sessions = [
        session_id("link", A, B),
        session_id("link", B, A),
        session_id("link", A, A),
        session_id("link", B, B),
        session_id("other", A, B),
    ]
    assert len(set(sessions)) == len(sessions)


def test_blocks_are_named_by_link_session_and_number_and_ordered_by_number():
    blocks = [BlockId("link", FIRST_SESSION, number) for number in (10, 9, 1)]
    assert str(blocks[0]) == f"link/{FIRST_SESSION}/10"
    assert [block.number for block in sorted(blocks)] == [1, 9, 10]
    assert len({*blocks, BlockId("link", FIRST_SESSION, 9)}) == 3
