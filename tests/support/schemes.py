"""The real schemes, with keys of their own for a test: Alice's end and Bob's."""

import hashlib
from collections.abc import Callable
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from qkdlink.common.authentication import ed25519, ml_dsa_65
from qkdlink.common.authentication.certificate_signature import CertificateSignature
from qkdlink.common.authentication.gmac import Gmac
from qkdlink.common.authentication.hmac_sha256 import HmacSha256
from qkdlink.common.authentication.none import NoAuthentication
from qkdlink.common.authentication.pinned_signature import PinnedSignature
from qkdlink.common.authentication.scheme import Authentication, SchemeName
from qkdlink.common.authentication.wegman_carter import WegmanCarter
from tests.support.pads import pads

type Ends = tuple[Authentication, Authentication]

KEY = hashlib.sha256(b"the key of a session").digest()
"""What both sides of a test have derived for their MACs."""


@lru_cache
def signature_schemes() -> tuple[CertificateSignature, CertificateSignature]:
    """The real scheme of bootstrap blocks, with fresh keys: Alice's end and Bob's."""
    keys = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    fingerprints = b"A" * 32, b"B" * 32
    alice_end, bob_end = (
        CertificateSignature(own.sign, _verifier(peer.public_key()), fingerprints)
        for own, peer in (keys, keys[::-1])
    )
    return alice_end, bob_end


@lru_cache
def ed25519_schemes() -> tuple[PinnedSignature, PinnedSignature]:
    """Ed25519 with fresh keys, which both sides have pinned."""
    alices, bobs = ed25519.new_private_key(), ed25519.new_private_key()
    return (
        ed25519.ed25519(alices, ed25519.public_key(bobs)),
        ed25519.ed25519(bobs, ed25519.public_key(alices)),
    )


@lru_cache
def ml_dsa_65_schemes() -> tuple[PinnedSignature, PinnedSignature]:
    """ML-DSA-65 with fresh keys, which both sides have pinned."""
    alices, bobs = ml_dsa_65.new_private_key(), ml_dsa_65.new_private_key()
    return (
        ml_dsa_65.ml_dsa_65(alices, ml_dsa_65.public_key(bobs)),
        ml_dsa_65.ml_dsa_65(bobs, ml_dsa_65.public_key(alices)),
    )


def wegman_carter(units: int = 8) -> tuple[WegmanCarter, WegmanCarter]:
    """The default scheme, with so many units on each side; new ones at every call."""
    alices, bobs = pads(units)
    return WegmanCarter(alices), WegmanCarter(bobs)


SCHEMES: dict[str, Callable[[], Ends]] = {
    SchemeName.WEGMAN_CARTER: wegman_carter,
    SchemeName.HMAC_SHA256: lambda: (HmacSha256(KEY), HmacSha256(KEY)),
    SchemeName.GMAC: lambda: (Gmac(KEY), Gmac(KEY)),
    SchemeName.ED25519: ed25519_schemes,
    SchemeName.ML_DSA_65: ml_dsa_65_schemes,
    "certificate-signature": signature_schemes,
}
"""Every scheme that refuses anything, made anew for each block that is played."""

NO_SCHEME: Ends = (NoAuthentication(), NoAuthentication())


def _verifier(key: Ed25519PublicKey) -> Callable[[bytes, bytes], bool]:
    def verify(data: bytes, signature: bytes) -> bool:
        try:
            key.verify(signature, data)
        except InvalidSignature:
            return False
        return True

    return verify
