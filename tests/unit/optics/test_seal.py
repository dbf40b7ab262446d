import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from qkdlink.common.errors import ConfigurationError, RemoteProtocolError
from qkdlink.common.optics import seal
from qkdlink.common.optics.fibre import Fibre
from qkdlink.common.optics.pulses import PulseTrain
from qkdlink.common.optics.seal import AlreadyOpened, ImpossibleLight, LightSeal, SealBroken
from qkdlink.common.optics.states import States
from tests.support.forged_light import forged_frame

KEY = bytes(range(32))
FIBRE = Fibre(12.5, 0.21, 0.033)
HEADER = b"link-1|block-7|frame-3"
OVERHEAD = 88
FALSE_ALARM = 1e-6


def states(count: int = 1000, seed: int = 1) -> States:
    return np.random.default_rng(seed).integers(0, 32, count, np.uint8)


def frame(sender: LightSeal, count: int = 1000) -> bytes:
    return sender.seal(PulseTrain(states(count), FIBRE, 4096), HEADER)


@pytest.fixture
def alice() -> LightSeal:
    return LightSeal(KEY, "alice")


@pytest.fixture
def bob() -> LightSeal:
    return LightSeal(KEY, "bob")


def test_light_arrives_as_it_was_sealed(alice: LightSeal, bob: LightSeal):
    train = bob.unseal(frame(alice), HEADER)
    assert (len(train), train.first_pulse, train.medium) == (1000, 4096, FIBRE)
    np.testing.assert_array_equal(train.absorb(), states())


def test_the_light_of_two_senders_may_interleave(alice: LightSeal, bob: LightSeal):
    eve = LightSeal(KEY, "eve")
    for frames in ([frame(alice), frame(eve)], [frame(eve), frame(alice)], [frame(alice), frame(alice)]):
        for sealed in frames:
            assert len(bob.unseal(sealed, HEADER)) == 1000


@given(position=st.integers(0, OVERHEAD + 99), flip=st.integers(1, 255))
def test_one_changed_bit_anywhere_breaks_the_seal(position: int, flip: int):
    sealed = bytearray(frame(LightSeal(KEY, "alice"), 100))
    sealed[position] ^= flip
    with pytest.raises(SealBroken):
        LightSeal(KEY, "bob").unseal(bytes(sealed), HEADER)


@given(length=st.integers(0, OVERHEAD + 49))
def test_a_truncated_frame_breaks_the_seal(length: int):
    with pytest.raises(SealBroken):
        LightSeal(KEY, "bob").unseal(frame(LightSeal(KEY, "alice"), 50)[:length], HEADER)


@pytest.mark.parametrize(
    "change",
    [
        lambda sealed: sealed + b"\0",
        lambda sealed: b"\0" + sealed,
        lambda sealed: sealed[:100] + sealed[101:],
        lambda sealed: sealed[:1] + b"eve".ljust(15, b"\0") + sealed[16:],
        lambda _: b"",
        lambda _: bytes(1000),
    ],
    ids=["longer", "shifted", "a pulse cut out", "another sender's name", "empty", "zeros"],
)
def test_what_is_not_the_whole_frame_breaks_the_seal(
    alice: LightSeal, bob: LightSeal, change: Callable[[bytes], bytes]
):
    with pytest.raises(SealBroken):
        bob.unseal(change(frame(alice)), HEADER)


def test_a_foreign_key_opens_nothing(alice: LightSeal):
    with pytest.raises(SealBroken, match="belongs to another link"):
        LightSeal(bytes(32), "bob").unseal(frame(alice), HEADER)


def test_a_frame_under_another_header_is_refused(alice: LightSeal, bob: LightSeal):
    with pytest.raises(SealBroken):
        bob.unseal(frame(alice), HEADER + b"x")


def test_a_frame_opens_once_per_process(alice: LightSeal, bob: LightSeal):
    sealed = frame(alice)
    bob.unseal(sealed, HEADER)
    for opener in (bob, LightSeal(KEY, "bob"), LightSeal(KEY, "eve")):
        with pytest.raises(AlreadyOpened):
            opener.unseal(sealed, HEADER)


def test_a_refused_frame_does_not_count_as_opened(alice: LightSeal, bob: LightSeal):
    sealed = frame(alice)
    with pytest.raises(SealBroken):
        bob.unseal(sealed, b"wrong header")
    assert len(bob.unseal(sealed, HEADER)) == 1000


@pytest.mark.parametrize("counter", [0, 1, 2, 5, 2**32, 2**64 - 1])
def test_no_frame_in_a_senders_name_keeps_one_of_its_own_from_opening(
    alice: LightSeal, bob: LightSeal, counter: int
):
    before, *later = [frame(alice) for _ in range(5)]
    bob.unseal(before, HEADER)
    forged = forged_frame(KEY, HEADER, before[16:32], counter=counter, payload=bytes(10))
    assert len(bob.unseal(forged, HEADER)) == 10
    for sealed in later:
        assert len(bob.unseal(sealed, HEADER)) == 1000
    for sealed in (before, *later):
        with pytest.raises(AlreadyOpened):
            bob.unseal(sealed, HEADER)


def test_what_is_remembered_of_opened_frames_is_bounded_however_many_senders_there_are(
    monkeypatch: pytest.MonkeyPatch, alice: LightSeal, bob: LightSeal
):
    opened: dict[bytes, None] = {}
    monkeypatch.setattr(seal, "MOST_REMEMBERED", 8)
    monkeypatch.setattr(seal, "_opened", opened)
    for number in range(50):
        bob.unseal(forged_frame(KEY, HEADER, number.to_bytes(16), counter=0, payload=b"\x08"), HEADER)
    last = frame(alice)
    bob.unseal(last, HEADER)
    assert len(opened) == 8
    with pytest.raises(AlreadyOpened):
        bob.unseal(last, HEADER)


NAN, INFINITE = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"fibre": (NAN, 0.2, 0.01)}, "a fibre's length cannot be nan km"),
        ({"fibre": (-1.0, 0.2, 0.01)}, "a fibre's length cannot be -1.0 km"),
        ({"fibre": (INFINITE, 0.2, 0.01)}, "a fibre's length cannot be inf km"),
        ({"fibre": (10.0, NAN, 0.01)}, "a fibre's attenuation cannot be nan"),
        ({"fibre": (10.0, -0.2, 0.01)}, "a fibre's attenuation cannot be -0.2"),
        ({"fibre": (10.0, INFINITE, 0.01)}, "a fibre's attenuation cannot be inf"),
        ({"fibre": (10.0, 0.2, NAN)}, "a misalignment cannot be nan"),
        ({"fibre": (10.0, 0.2, -0.01)}, "a misalignment cannot be -0.01"),
        ({"fibre": (10.0, 0.2, 0.51)}, "a misalignment cannot be 0.51"),
        ({"fibre": (1e308, 1e308, 0.01)}, "lets no photon through"),
        ({"fibre": (20000.0, 0.2, 0.01)}, "lets no photon through"),
        ({"first_pulse": 2**32 - 2}, "lies beyond them"),
        ({"first_pulse": 2**64 - 1}, "lies beyond them"),
        ({"version": 2, "payload": b"\x08" * 3}, "two bytes for each pulse"),
    ],
)
def test_what_no_light_can_be_is_refused_under_a_good_seal(
    bob: LightSeal, content: dict[str, Any], sentence: str
):
    sealed = forged_frame(KEY, HEADER, bytes(16), **{"counter": 7, "payload": bytes(4), **content})
    with pytest.raises(ImpossibleLight, match=sentence):
        bob.unseal(sealed, HEADER)


def test_a_broken_seal_is_a_breach_by_the_other_side():
    assert issubclass(SealBroken, RemoteProtocolError)


def test_no_two_frames_share_key_and_nonce_not_even_across_a_restart():
    # The same light sealed again and again: a repeated key stream would repeat the ciphertext.
    boots = [LightSeal(KEY, "alice"), LightSeal(KEY, "alice"), LightSeal(KEY, "eve")]
    frames = [frame(boot) for boot in boots for _ in range(20)]
    slots = {(sealed[:32], sealed[32:40]) for sealed in frames}
    assert len(slots) == len({sealed[40:] for sealed in frames}) == 60
    assert len({sealed[:32] for sealed in frames}) == 3


def test_a_sealed_frame_is_as_long_as_its_light_and_shows_none_of_it(alice: LightSeal):
    sealed = frame(alice, 2**16)
    assert len(sealed) == 2**16 + OVERHEAD
    assert not any(states(2**16)[i : i + 8].tobytes() in sealed for i in range(0, 2**16, 512))
    assert np.frombuffer(sealed[40:], np.uint8).max() > 31


def test_darkness_looks_like_noise_once_it_is_sealed(alice: LightSeal):
    sealed = alice.seal(PulseTrain(np.zeros(2**18, np.uint8), FIBRE, 0), HEADER)
    counts = np.bincount(np.frombuffer(sealed[40:], np.uint8), minlength=256)
    assert stats.chisquare(counts).pvalue > FALSE_ALARM  # a key from the operating system: 1e-6 false alarm
    assert len(zlib.compress(sealed, 9)) >= len(sealed)


def test_a_frame_grows_by_one_byte_per_pulse_whatever_light_it_carries(bob: LightSeal):
    # What Alice's source puts into one, and that nothing regenerates it, is tested in unit/alice/test_frames.py.
    random = np.random.default_rng(3).integers(0, 256, 4096, np.uint8)
    sealed = LightSeal(KEY, "alice").seal(PulseTrain(random.copy(), FIBRE, 0), HEADER)
    assert len(sealed) - OVERHEAD == len(random)
    np.testing.assert_array_equal(bob.unseal(sealed, HEADER).absorb(), random)


def test_a_seal_shows_its_owner_and_no_key(alice: LightSeal):
    assert repr(alice) == "LightSeal(alice, redacted)"


@pytest.mark.parametrize(
    ("key", "sender", "sentence"),
    [
        (bytes(31), "alice", "a seal key has 32 bytes, not 31"),
        (KEY, "", "named by 1 to 15 ASCII characters"),
        (KEY, "a" * 16, "named by 1 to 15"),
        (KEY, "élise", "named by 1 to 15"),
        (KEY, "a\0", "named by 1 to 15"),
    ],
)
def test_an_impossible_seal_is_refused_in_one_sentence(key: bytes, sender: str, sentence: str):
    with pytest.raises(ConfigurationError, match=sentence):
        LightSeal(key, sender)
