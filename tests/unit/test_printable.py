"""Text and JSON that somebody else wrote: what a terminal might obey is escaped, and no member stands twice."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkdlink.common.printable import LONGEST_TEXT, printable
from qkdlink.common.unique_json import members_once, refuse_repeated_members


@given(st.text(), st.integers(3, 50))
def test_what_is_made_printable_is_printable_bounded_and_stays_as_it_is(text: str, longest: int) -> None:
    shown = printable(text, longest)
    assert shown.isprintable()
    assert len(shown) <= longest
    assert printable(shown, longest) == shown
    if text.isprintable() and len(text) <= longest:
        assert shown == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", r"\x1b[31mred"),
        ("a\nb\tc", r"a\nb\tc"),
        ("\u202eabc", r"\u202eabc"),
        ("\ud800", r"\ud800"),
        ("grün, 量子", "grün, 量子"),
        ("x" * (LONGEST_TEXT + 1), "x" * (LONGEST_TEXT - 3) + "..."),
    ],
)
def test_an_escape_says_which_character_it_stands_for(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(
    "text", ['{"a":1,"a":1}', '[{"b":{"a":1,"a":2}}]', b'{"\\u0061":1,"a":2}', '{"a":[[{"a":1,"a":[]}]]}']
)
def test_a_member_stands_once_at_every_depth_and_in_every_spelling(text: str | bytes) -> None:
    with pytest.raises(ValueError, match='the member "a" stands twice'):
        refuse_repeated_members(text)


@pytest.mark.parametrize("text", ["{", "[" * 100_000, b"\xff", b"\xef\xbb\xbf{}"])
def test_what_is_no_json_is_refused_in_printable_words(text: str | bytes) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - whatever it says, it has to be fit to be shown
        refuse_repeated_members(text)
    assert str(refused.value).isprintable()


def test_json_whose_members_stand_once_is_read_as_ever() -> None:
    text = '{"a":{"b":1},"c":[{"b":2},{"b":3}]}'
    refuse_repeated_members(text)
    assert json.loads(text, object_pairs_hook=members_once) == json.loads(text)
