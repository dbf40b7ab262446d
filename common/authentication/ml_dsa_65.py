"""ML-DSA-65 (FIPS 204): 1952-byte public keys, 3309-byte signatures; computational, and believed quantum-safe."""

from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA65PublicKey

from qkdlink.common.authentication.pinned_signature import PinnedSignature, pinned
from qkdlink.common.authentication.scheme import SchemeName

PRIVATE_KEY_BYTES, PUBLIC_KEY_BYTES = 32, 1952
"""A private key is kept as its seed (FIPS 204, section 6.1)."""


def new_private_key() -> bytes:
    """Draw a private key's seed (32 bytes) from the operating system."""
    return MLDSA65PrivateKey.generate().private_bytes_raw()


def public_key(private_key: bytes) -> bytes:
    """Return the public key (1952 bytes) of a private one's seed."""
    return MLDSA65PrivateKey.from_seed_bytes(private_key).public_key().public_bytes_raw()


def ml_dsa_65(private_key: bytes, peer_public_key: bytes) -> PinnedSignature:
    """Sign with our key and verify with the pinned one; ValueError if either is none."""
    own = MLDSA65PrivateKey.from_seed_bytes(private_key)
    peer = MLDSA65PublicKey.from_public_bytes(peer_public_key)
    return pinned(SchemeName.ML_DSA_65, own.sign, peer)
