import itertools
import secrets

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from qkdlink.common.randomness import Choice, ChoiceStream, Nature, Randomness

KEY = bytes(range(32))
BITS = 8 * 2**17
SIX_SIGMA = 6 * np.sqrt(BITS) / 2
"""Equality within 6 standard deviations of a fair coin; a fair one fails with probability 2e-9."""


@given(start=st.integers(0, 200) | st.integers(2**40, 2**40 + 40), count=st.integers(0, 100))
def test_a_stream_is_read_from_anywhere_and_is_the_same_at_every_call(start: int, count: int):
    stream = ChoiceStream(KEY)
    read = stream.read(start, count)
    assert read.dtype == np.uint8
    assert len(read) == count
    aligned = start - start % 16
    longer = stream.read(aligned, start - aligned + count)
    np.testing.assert_array_equal(read, longer[start - aligned :])
    np.testing.assert_array_equal(read, stream.read(start, count))


def test_a_stream_is_aes_256_in_counter_mode_from_counter_zero():
    # NIST SP 800-38A, F.5.5 uses another first counter: compare with the library's own mode instead.
    expected = Cipher(algorithms.AES(KEY), modes.CTR(bytes(16))).encryptor().update(bytes(100))
    assert ChoiceStream(KEY).bytes(100) == expected
    assert ChoiceStream(KEY).read(37, 50).tobytes() == expected[37:87]


def test_a_stream_needs_a_key_of_thirty_two_bytes():
    for key in (b"", KEY[:16], KEY + b"\0"):
        with pytest.raises(ValueError, match="32 bytes"):
            ChoiceStream(key)


def test_a_stream_does_not_print_its_key():
    assert repr(ChoiceStream(KEY)) == "ChoiceStream(redacted)"


def test_a_seed_is_not_printed():
    assert "12345" not in repr(Randomness("alice", 12345))


def test_only_a_seeded_run_is_reproducible():
    assert Randomness("alice", 0).reproducible
    assert not Randomness("alice").reproducible


def test_every_key_of_an_unseeded_stream_is_drawn_from_the_operating_system(monkeypatch: pytest.MonkeyPatch):
    drawn: list[bytes] = []
    original = secrets.token_bytes

    def watched(count: int) -> bytes:
        drawn.append(original(count))
        return drawn[-1]

    monkeypatch.setattr("qkdlink.common.randomness.secrets.token_bytes", watched)
    for purpose in Choice:
        stream = Randomness("alice").choices(purpose, 1)
        assert len(drawn[-1]) == 32
        assert stream.bytes(64) == ChoiceStream(drawn[-1]).bytes(64)
    assert len(drawn) == len(set(drawn)) == len(Choice)


def test_unseeded_choices_touch_no_seedable_generator(monkeypatch: pytest.MonkeyPatch):
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("a secret choice was drawn from a seedable generator")

    for name in ("default_rng", "Generator", "PCG64DXSM", "PCG64", "RandomState", "SeedSequence"):
        monkeypatch.setattr(np.random, name, forbidden)
    monkeypatch.setattr(Randomness, "_derive", forbidden)
    for purpose in Choice:
        assert len(Randomness("alice").choices(purpose, 1).bytes(1000)) == 1000


def test_without_a_seed_the_same_place_is_never_the_same_twice():
    alice = Randomness("alice")
    assert len({alice.choices(Choice.PULSES, 1).bytes(16) for _ in range(50)}) == 50
    assert len({alice.nature(Nature.SOURCE, 1).bytes(16) for _ in range(50)}) == 50


def places(seed: int | None = 7) -> dict[tuple[str, str, int], bytes]:
    """The first bytes of every stream of two nodes and three blocks."""
    found: dict[tuple[str, str, int], bytes] = {}
    for node, block in itertools.product(("alice", "bob"), (1, 2, 11)):
        randomness = Randomness(node, seed)
        for choice in Choice:
            found[node, choice, block] = randomness.choices(choice, block).bytes(32)
        for nature in Nature:
            found[node, nature, block] = randomness.nature(nature, block).bytes(32)
    return found


def test_with_a_seed_every_place_has_one_stream_whoever_asks_first():
    first = places()
    assert places() == first
    backwards = {
        place: Randomness(node, 7).choices(Choice(purpose), block).bytes(32)
        for place in reversed(first)
        for node, purpose, block in [place]
        if purpose in list(Choice)
    }
    assert backwards.items() <= first.items()


def test_streams_of_other_nodes_purposes_blocks_and_seeds_are_others():
    found = [*places(7).values(), *places(8).values(), *places(0).values(), *places(-1).values()]
    assert len(set(found)) == len(found)


def test_a_seed_of_text_that_looks_the_same_is_another():
    one, other = Randomness("alice", 1), Randomness("alice", 11)
    assert one.choices(Choice.PULSES, 11).bytes(32) != other.choices(Choice.PULSES, 1).bytes(32)


def test_streams_of_different_places_are_uncorrelated_and_fair():
    seeded = Randomness("alice", 7)
    streams = [
        np.unpackbits(seeded.choices(purpose, block).read(0, BITS // 8))
        for purpose in (Choice.PULSES, Choice.MEASUREMENTS)
        for block in (1, 2)
    ]
    for stream in streams:
        assert abs(int(stream.sum()) - BITS / 2) < SIX_SIGMA
    for one, other in itertools.combinations(streams, 2):
        assert abs(int((one ^ other).sum()) - BITS / 2) < SIX_SIGMA
