"""Ed25519 (RFC 8032): 32-byte keys, 64-byte signatures; computational, and broken by a quantum computer."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from qkdlink.common.authentication.pinned_signature import PinnedSignature, pinned
from qkdlink.common.authentication.scheme import SchemeName

PRIVATE_KEY_BYTES = PUBLIC_KEY_BYTES = 32


def new_private_key() -> bytes:
    """Draw a private key (32 bytes) from the operating system."""
    return Ed25519PrivateKey.generate().private_bytes_raw()


def public_key(private_key: bytes) -> bytes:
    """Return the public key (32 bytes) of a private one."""
    return Ed25519PrivateKey.from_private_bytes(private_key).public_key().public_bytes_raw()


def ed25519(private_key: bytes, peer_public_key: bytes) -> PinnedSignature:
    """Sign with our key and verify with the pinned one; ValueError if either is none."""
    own = Ed25519PrivateKey.from_private_bytes(private_key)
    peer = Ed25519PublicKey.from_public_bytes(peer_public_key)
    return pinned(SchemeName.ED25519, own.sign, peer)
