"""Certificates and private keys read from files; whatever is wrong with a file is one sentence."""

import os
import stat
from pathlib import Path
from typing import TypeIs

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from common.errors import CredentialsError

CERTIFICATE_FILE = "certificate.pem"
PRIVATE_KEY_FILE = "private-key.pem"
AUTHORITY_FILE = "authority.pem"


def read_certificate(path: Path) -> x509.Certificate:
    """Read the one certificate in a PEM file.

    Raises CredentialsError if the file cannot be read or does not hold exactly one certificate: a second one
    would widen trust without anybody noticing.
    """
    try:
        certificates = x509.load_pem_x509_certificates(_read(path))
    except ValueError as error:
        raise CredentialsError(f"{path} is not a certificate in PEM form") from error
    if len(certificates) != 1:
        raise CredentialsError(f"{path} holds {len(certificates)} certificates where one is expected")
    return certificates[0]


def read_private_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Read an ECDSA P-256 key in unencrypted PKCS#8 PEM form.

    Raises CredentialsError if the file cannot be read, is open to others than its owner, or holds anything
    else.
    """
    try:
        key = load_pem_private_key(_read(path, secret=True), password=None)
    except TypeError as error:
        raise CredentialsError(f"{path} is encrypted, but nodes start unattended: issue a new key") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CredentialsError(f"{path} is not a private key in PEM form") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not is_p256(key.public_key()):
        raise CredentialsError(f"{path} is not an ECDSA key on the curve P-256")
    return key


def is_p256(key: object) -> TypeIs[ec.EllipticCurvePublicKey]:
    """Whether `key` is an ECDSA public key on the curve P-256."""
    return isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)


def _read(path: Path, *, secret: bool = False) -> bytes:
    try:
        with path.open("rb") as stream:
            if secret:
                _refuse_open_mode(path, os.fstat(stream.fileno()).st_mode)
            return stream.read()
    except FileNotFoundError as error:
        raise CredentialsError(f"{path} does not exist: credentials are made with `qkdlink ca`") from error
    except OSError as error:
        raise CredentialsError(f"cannot read {path}: {error.strerror}") from error


def _refuse_open_mode(path: Path, mode: int) -> None:
    if stat.S_IMODE(mode) & 0o077:
        raise CredentialsError(
            f"{path} is open to others (mode {stat.S_IMODE(mode):04o}): issue a new key, or chmod 600 it"
        )
