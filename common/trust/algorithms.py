"""The key algorithms of certificates: how each makes a key, signs and verifies, and whether TLS can use it."""

import ssl
from enum import StrEnum

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA65PublicKey

type PrivateKey = EllipticCurvePrivateKey | Ed25519PrivateKey | MLDSA65PrivateKey
type PublicKey = EllipticCurvePublicKey | Ed25519PublicKey | MLDSA65PublicKey

_OPENSSL_WITH_ML_DSA = (3, 5)
"""The first OpenSSL with FIPS 204 (its CHANGES, 3.5.0)."""


class KeyAlgorithm(StrEnum):
    """What a certificate's key may be."""

    P256 = "p256"
    """ECDSA on P-256 with SHA-256 (FIPS 186-5)."""
    ED25519 = "ed25519"
    """Ed25519 (RFC 8032)."""
    ML_DSA_65 = "ml-dsa-65"
    """ML-DSA-65 (FIPS 204; in certificates RFC 9881), believed to resist quantum computers."""


def new_private_key(algorithm: KeyAlgorithm) -> PrivateKey:
    """Draw a private key from the operating system."""
    match algorithm:
        case KeyAlgorithm.P256:
            return generate_private_key(SECP256R1())
        case KeyAlgorithm.ED25519:
            return Ed25519PrivateKey.generate()
        case KeyAlgorithm.ML_DSA_65:
            return MLDSA65PrivateKey.generate()


def algorithm_of(key: object) -> KeyAlgorithm | None:
    """Return the algorithm of a private or public key; None if it is of no kind that a certificate may have here."""
    match key:
        case EllipticCurvePrivateKey(curve=SECP256R1()) | EllipticCurvePublicKey(curve=SECP256R1()):
            return KeyAlgorithm.P256
        case Ed25519PrivateKey() | Ed25519PublicKey():
            return KeyAlgorithm.ED25519
        case MLDSA65PrivateKey() | MLDSA65PublicKey():
            return KeyAlgorithm.ML_DSA_65
        case _:
            return None


def signature_hash(key: PrivateKey) -> hashes.SHA256 | None:
    """Return the hash with which `key` signs certificates and lists; None where the algorithm brings its own."""
    return hashes.SHA256() if isinstance(key, EllipticCurvePrivateKey) else None


def sign(key: PrivateKey, data: bytes) -> bytes:
    """Sign `data`; the signature has at most 72 bytes (P-256, in DER form), 64 (Ed25519) or 3309 (ML-DSA-65)."""
    if isinstance(key, EllipticCurvePrivateKey):
        return key.sign(data, ECDSA(hashes.SHA256()))
    return key.sign(data)


def verify(key: object, data: bytes, signature: bytes) -> bool:
    """Whether `signature` over `data` was made with the private key of `key`; False for a key of another kind."""
    if algorithm_of(key) is None:
        return False
    try:
        match key:
            case EllipticCurvePublicKey():
                key.verify(signature, data, ECDSA(hashes.SHA256()))
            case Ed25519PublicKey() | MLDSA65PublicKey():
                key.verify(signature, data)
            case _:
                return False
    except InvalidSignature:
        return False
    return True


def tls_has(algorithm: KeyAlgorithm) -> bool:
    """Whether this Python's TLS library can show and verify certificates with such keys."""
    return algorithm is not KeyAlgorithm.ML_DSA_65 or ssl.OPENSSL_VERSION_INFO >= _OPENSSL_WITH_ML_DSA


def tls_has_not(algorithm: KeyAlgorithm) -> str:
    """Return the sentence for an algorithm that `tls_has` denies; its subject comes before it."""
    first = ".".join(str(number) for number in _OPENSSL_WITH_ML_DSA)
    return (
        f"has a key of the algorithm {algorithm}, which this Python's TLS library ({ssl.OPENSSL_VERSION}) does not "
        f"have: use a Python with OpenSSL {first} or later, or credentials of another algorithm"
    )
