import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import ECB
from hypothesis import given, settings
from hypothesis import strategies as st

from qkdlink.common.authentication.gmac import Gmac, gmac
from qkdlink.common.authentication.transcript import Transcript

_POLYNOMIAL = 0xE1 << 120
MACSEC_HEADER = "d609b1f056637a0d46df998d88e5222ab2c2846512153524c0895e8108000f10"
MACSEC_DATA = bytes(range(0x11, 0x35)).hex() + "0001"


def ghash(key: bytes, data: bytes) -> bytes:
    """The definition (NIST SP 800-38D, algorithms 1 and 2): 16-byte blocks, bit 0 first, multiplied in GF(2^128)."""
    value, factor = 0, int.from_bytes(key)
    for start in range(0, len(data), 16):
        value = _product(value ^ int.from_bytes(data[start : start + 16]), factor)
    return value.to_bytes(16)


def _product(one: int, other: int) -> int:
    result = 0
    for bit in range(127, -1, -1):
        if one >> bit & 1:
            result ^= other
        other = other >> 1 ^ (_POLYNOMIAL if other & 1 else 0)
    return result


def by_hand(key: bytes, nonce: bytes, data: bytes) -> bytes:
    def encrypted(block: bytes) -> bytes:
        return Cipher(AES256(key), ECB()).encryptor().update(block)  # noqa: S305 - one block, as the mode says

    lengths = (8 * len(data)).to_bytes(8) + bytes(8)
    padded = data + bytes(-len(data) % 16)
    hashed = ghash(encrypted(bytes(16)), padded + lengths)
    mask = encrypted(nonce + b"\0\0\0\1")
    return bytes(a ^ b for a, b in zip(hashed, mask, strict=True))


def test_ghash_by_hand_is_that_of_the_mode_s_proposers():
    """McGrew, Viega 2004, test case 2."""
    key = bytes.fromhex("66e94bd4ef8a2c3b884cfa59ca342b2e")
    data = bytes.fromhex("0388dace60b6a392f328c2b971b2fe78") + bytes(8) + (128).to_bytes(8)
    assert ghash(key, data).hex() == "f38cbb1ad69223dcc3457ae5b6b0f885"


@pytest.mark.parametrize(
    ("key", "nonce", "data", "tag"),
    [
        # McGrew, Viega 2004, test case 13
        ("00" * 32, "00" * 12, "", "530f8afbc74536b9a963b4f1c4cb738b"),
        # IEEE 802.1AE (MACsec), 54-byte packet authenticated by GCM-AES-256
        (
            "e3c08a8f06c6e3ad95a70557b23f75483ce33021a9c72b7025666204c69c0b72",
            "12153524c0895e81b2c28465",
            MACSEC_HEADER + MACSEC_DATA,
            "2f0bc5af409e06d609ea8b7d0fa5ea50",
        ),
    ],
)
def test_published_tags(key: str, nonce: str, data: str, tag: str):
    assert gmac(bytes.fromhex(key), bytes.fromhex(nonce), [bytes.fromhex(data)]).hex() == tag
    assert by_hand(bytes.fromhex(key), bytes.fromhex(nonce), bytes.fromhex(data)).hex() == tag


@settings(max_examples=25)
@given(
    key=st.binary(min_size=32, max_size=32),
    nonce=st.binary(min_size=12, max_size=12),
    parts=st.lists(st.binary(max_size=40), max_size=4),
)
def test_a_tag_runs_over_the_bytes_themselves_however_they_are_cut(
    key: bytes, nonce: bytes, parts: list[bytes]
):
    assert gmac(key, nonce, parts) == by_hand(key, nonce, b"".join(parts))


async def test_no_two_tags_of_a_session_have_the_same_nonce(monkeypatch: pytest.MonkeyPatch):
    nonces: list[bytes] = []

    def recorded(key: bytes, nonce: bytes, parts: object) -> bytes:
        del key, parts
        nonces.append(nonce)
        return bytes(16)

    monkeypatch.setattr("qkdlink.common.authentication.gmac.gmac", recorded)
    session = Gmac(bytes(32))
    for number in (1, 2, 256, 2**32, 2**48):
        for position in range(8):
            for speaker in (0, 1):
                await session.of_block(number).tag(speaker, position, Transcript(b"the same"))
    assert len(set(nonces)) == len(nonces) == 5 * 8 * 2
    assert {len(nonce) for nonce in nonces} == {12}


async def test_a_tag_is_that_of_transcript_and_place_under_block_number_and_place():
    said = Transcript(b"heading")
    said.append(1, b"word")
    tag = await Gmac(bytes(range(32))).of_block(258).tag(1, 5, said)
    nonce = bytes.fromhex("0000000000000102" + "0105" + "0000")
    assert tag.value == by_hand(bytes(range(32)), nonce, b"".join(said.parts()) + b"\1\5")
    assert tag.pad == ""
