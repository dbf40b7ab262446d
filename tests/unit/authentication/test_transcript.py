import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkdlink.common.authentication.transcript import Transcript

entries = st.lists(st.tuples(st.integers(0, 1), st.binary(max_size=20)), max_size=6)


def recorded(said: list[tuple[int, bytes]], heading: bytes = b"heading") -> Transcript:
    transcript = Transcript(heading)
    for speaker, frame in said:
        transcript.append(speaker, frame)
    return transcript


@given(one=entries, other=entries)
def test_two_conversations_have_the_same_bytes_only_if_they_are_the_same(
    one: list[tuple[int, bytes]], other: list[tuple[int, bytes]]
):
    same = b"".join(recorded(one).parts()) == b"".join(recorded(other).parts())
    assert same == (one == other)
    assert (recorded(one).sha256() == recorded(other).sha256()) == (one == other)


@given(said=entries)
def test_the_digest_is_that_of_all_bytes_in_order(said: list[tuple[int, bytes]]):
    transcript = recorded(said)
    written = b"".join(transcript.parts())
    assert transcript.sha256() == hashlib.sha256(written).digest()
    assert len(transcript) == len(written)


def test_an_entry_is_written_as_the_protocol_says():
    transcript = recorded([(1, b"abc")])
    assert b"".join(transcript.parts()) == b"heading" + b"\1" + b"\0\0\0\0\0\0\0\3" + b"abc"


def test_reading_the_digest_does_not_end_the_transcript():
    transcript = recorded([(0, b"a")])
    assert transcript.sha256() == transcript.sha256()
    transcript.append(1, b"b")
    assert transcript.sha256() == recorded([(0, b"a"), (1, b"b")]).sha256()


def test_what_is_never_asked_for_is_never_digested(monkeypatch: pytest.MonkeyPatch):
    digested: list[bytes] = []

    class Listening:
        def update(self, part: bytes) -> None:
            digested.append(part)

        def copy(self) -> "Listening":
            return self

        def digest(self) -> bytes:
            return b"".join(digested)

    monkeypatch.setattr(hashlib, "sha256", Listening)
    transcript = recorded([(0, b"a")])
    assert digested == []
    transcript.sha256()
    transcript.append(1, b"b")
    assert transcript.sha256() == b"".join(transcript.parts())
