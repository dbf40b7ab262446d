import hashlib
from types import ModuleType

import pytest

from qkdlink.common.authentication import ed25519, ml_dsa_65
from qkdlink.common.authentication.pinned_signature import PinnedSignature
from qkdlink.common.authentication.scheme import SchemeName
from qkdlink.common.authentication.transcript import Transcript

MAKERS = {ed25519: ed25519.ed25519, ml_dsa_65: ml_dsa_65.ml_dsa_65}
SIGNATURE_BYTES = {ed25519: 64, ml_dsa_65: 3309}

# RFC 8032, section 7.1, tests 1 to 3: secret key, public key, message, signature
RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0"
            "595bbe24655141438e7a100b"
        ),
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eae"
            "b4302aeeb00d291612bb0c00"
        ),
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9"
            "716ed28dc027beceea1ec40a"
        ),
    ),
]


@pytest.mark.parametrize(("private", "public", "message", "signature"), RFC_8032)
def test_ed25519_is_that_of_rfc_8032(private: str, public: str, message: str, signature: str):
    assert ed25519.public_key(bytes.fromhex(private)).hex() == public
    scheme = ed25519.ed25519(bytes.fromhex(private), bytes.fromhex(public))
    assert scheme.sign(bytes.fromhex(message)).hex() == signature
    assert scheme.verify_peer(bytes.fromhex(message), bytes.fromhex(signature))
    assert not scheme.verify_peer(bytes.fromhex(message) + b"\0", bytes.fromhex(signature))


def test_ml_dsa_65_makes_the_public_key_of_rfc_9881_from_its_seed():
    """RFC 9881, appendix C: the seed is 00 01 ... 1f; of its public key, the beginning and the digest."""
    public = ml_dsa_65.public_key(bytes(range(32)))
    assert public[:32].hex() == "48683d91978e31eb3dddb8b0473482d2b88a5f625949fd8f58a561e696bd4c27"
    digest = "d666806e11cee19a7c989f7445f90dd419cf4d2d51db8c0fdb4c0f0a542238c9"
    assert hashlib.sha256(public).hexdigest() == digest


@pytest.mark.parametrize("module", MAKERS, ids=lambda module: module.__name__)
def test_keys_and_signatures_have_the_sizes_of_the_standard(module: ModuleType):
    private = module.new_private_key()
    public = module.public_key(private)
    assert len(private) == module.PRIVATE_KEY_BYTES == 32
    assert len(public) == module.PUBLIC_KEY_BYTES == {ed25519: 32, ml_dsa_65: 1952}[module]
    signature = MAKERS[module](private, public).sign(b"statement")
    assert len(signature) == SIGNATURE_BYTES[module]


@pytest.mark.parametrize("module", MAKERS, ids=lambda module: module.__name__)
def test_no_private_key_is_drawn_twice(module: ModuleType):
    assert len({module.new_private_key() for _ in range(20)}) == 20


@pytest.mark.parametrize("module", MAKERS, ids=lambda module: module.__name__)
def test_what_is_no_key_is_a_value_error(module: ModuleType):
    private = module.new_private_key()
    for own, peers in (
        (private[:-1], module.public_key(private)),
        (private, module.public_key(private)[:-1]),
    ):
        with pytest.raises(ValueError, match=r"key|seed|bytes|long"):
            MAKERS[module](own, peers)


async def test_what_is_signed_is_a_label_of_its_own_the_place_and_the_digest_of_the_transcript():
    signed: list[bytes] = []

    def sign(statement: bytes) -> bytes:
        signed.append(statement)
        return b"signature"

    said = Transcript(b"heading")
    said.append(1, b"word")
    scheme = PinnedSignature(SchemeName.ED25519, sign, lambda *_: True)
    tag = await scheme.of_block(9).tag(1, 5, said)
    digest = hashlib.sha256(b"heading" + b"\1" + (4).to_bytes(8) + b"word").digest()
    assert signed == [b"qkdlink checkpoint pinned signature v1\0" + b"\1\5" + digest]
    assert (tag.value, tag.pad) == (b"signature", "")
