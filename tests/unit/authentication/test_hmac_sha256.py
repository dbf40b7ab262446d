import hashlib

import pytest

from qkdlink.common.authentication.hmac_sha256 import HmacSha256
from qkdlink.common.authentication.transcript import Transcript


def by_hand(key: bytes, message: bytes) -> bytes:
    """RFC 2104, section 2."""
    padded = (key if len(key) <= 64 else hashlib.sha256(key).digest()).ljust(64, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in padded) + message).digest()
    return hashlib.sha256(bytes(byte ^ 0x5C for byte in padded) + inner).digest()


@pytest.mark.parametrize(
    ("key", "message", "tag"),
    [
        (b"\x0b" * 20, b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
        (
            b"Jefe",
            b"what do ya want for nothing?",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        (
            b"\xaa" * 131,
            b"Test Using Larger Than Block-Size Key - Hash Key First",
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        ),
    ],
)
def test_the_definition_gives_the_tags_of_rfc_4231(key: bytes, message: bytes, tag: str):
    assert by_hand(key, message).hex() == tag


async def test_a_tag_is_that_of_label_place_and_digest_of_the_transcript():
    said = Transcript(b"heading")
    said.append(1, b"word")
    key = bytes(range(32))
    digest = hashlib.sha256(b"heading" + b"\1" + (4).to_bytes(8) + b"word").digest()
    tag = await HmacSha256(key).of_block(9).tag(1, 5, said)
    assert tag.value == by_hand(key, b"qkdlink checkpoint hmac v1\0" + b"\1\5" + digest)
    assert tag.pad == ""
