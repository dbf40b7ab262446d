"""The real scheme of bootstrap blocks, with keys of its own for a test."""

from collections.abc import Callable
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from common.authentication.certificate_signature import CertificateSignature


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


def _verifier(key: Ed25519PublicKey) -> Callable[[bytes, bytes], bool]:
    def verify(data: bytes, signature: bytes) -> bool:
        try:
            key.verify(signature, data)
        except InvalidSignature:
            return False
        return True

    return verify
