"""Keys at rest: sealed to their place, under a store key that only its owner can read."""

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkdlink.common.errors import ConfigurationError
from qkdlink.common.store.sealing import StoreSeal


@pytest.fixture
def seal(tmp_path: Path) -> StoreSeal:
    return StoreSeal.open(tmp_path / "store.key")


@given(st.binary(max_size=100), st.text(max_size=20))
def test_what_is_sealed_opens_at_its_place(material: bytes, place: str) -> None:
    one = StoreSeal(bytes(32))
    assert one.unseal(one.seal(material, place), place) == material


def test_sealing_the_same_twice_shows_no_likeness(seal: StoreSeal) -> None:
    assert seal.seal(b"material", "place") != seal.seal(b"material", "place")


def test_sealed_material_opens_neither_elsewhere_nor_changed_nor_cut_short(seal: StoreSeal) -> None:
    sealed = seal.seal(b"material", "alice/link-1/here/link-psk")
    spoilt = [bytes([*sealed[:at], sealed[at] ^ 1, *sealed[at + 1 :]]) for at in range(len(sealed))]
    attempts = [(each, "alice/link-1/here/link-psk") for each in (*spoilt, sealed[:-1], sealed[:12], b"")]
    for found, place in [*attempts, (sealed, "alice/link-1/there/link-psk"), (sealed, "")]:
        with pytest.raises(ConfigurationError, match="does not open: the store or its key was replaced"):
            seal.unseal(found, place)


def test_another_store_key_opens_nothing(seal: StoreSeal, tmp_path: Path) -> None:
    other = StoreSeal.open(tmp_path / "other.key")
    with pytest.raises(ConfigurationError, match="does not open"):
        other.unseal(seal.seal(b"material", "place"), "place")


def test_the_store_key_is_made_once_for_its_owner_alone(seal: StoreSeal, tmp_path: Path) -> None:
    path = tmp_path / "store.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(bytes.fromhex(path.read_text())) == 32
    assert StoreSeal.open(path).unseal(seal.seal(b"material", "place"), "place") == b"material"


@pytest.mark.parametrize(
    ("text", "mode", "sentence"),
    [
        ("ab" * 32, 0o640, r"is open to others: run 'chmod 600 .*store\.key'"),
        ("ab" * 31, 0o600, "does not hold 32 bytes in hexadecimal"),
        ("", 0o600, "does not hold 32 bytes in hexadecimal"),
        ("not hexadecimal", 0o600, "cannot be read"),
    ],
    ids=["open to others", "too short", "empty", "not hexadecimal"],
)
def test_a_store_key_that_is_none_is_refused_in_a_sentence(
    tmp_path: Path, text: str, mode: int, sentence: str
) -> None:
    path = tmp_path / "store.key"
    path.write_text(text)
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match=sentence):
        StoreSeal.open(path)


def test_a_seal_does_not_show_its_key(seal: StoreSeal, tmp_path: Path) -> None:
    assert (tmp_path / "store.key").read_text().strip() not in repr(seal)
    assert "_key" not in repr(seal)
