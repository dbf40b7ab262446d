"""Certificates and private keys read from files; whatever is wrong with a file is one sentence."""

import codecs
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from qkdlink.common.errors import CredentialsError
from qkdlink.common.trust.algorithms import KeyAlgorithm, PrivateKey, algorithm_of

CERTIFICATE_FILE = "certificate.pem"
PRIVATE_KEY_FILE = "private-key.pem"
AUTHORITY_FILE = "authority.pem"
REVOCATIONS_FILE = "revocations.pem"

_LONGEST_CHAIN = 4
_LARGEST_FILE_BYTES = 4 * 1024 * 1024
"""A list of some ten thousand revocations; whatever is larger was not made by us."""
_LIST_BEGINS = b"-----BEGIN X509 CRL-----"
_LIST_ENDS = b"-----END X509 CRL-----"


def read_certificate(path: Path) -> x509.Certificate:
    """Read the one certificate in a PEM file.

    Raises CredentialsError if the file cannot be read or does not hold exactly one certificate: a second one
    would widen trust without anybody noticing.
    """
    certificates = _certificates(path)
    if len(certificates) != 1:
        raise CredentialsError(f"{path} holds {len(certificates)} certificates where one is expected")
    return certificates[0]


def read_chain(path: Path) -> tuple[x509.Certificate, ...]:
    """Read a certificate and those of the authorities between it and the one that is believed, in this order.

    Raises CredentialsError if the file cannot be read, or does not hold between one and four certificates.
    """
    certificates = _certificates(path)
    if len(certificates) > _LONGEST_CHAIN:
        raise CredentialsError(
            f"{path} holds {len(certificates)} certificates, and a chain has at most {_LONGEST_CHAIN}"
        )
    return certificates


def read_revocation_lists(path: Path) -> tuple[x509.CertificateRevocationList, ...]:
    """Read the revocation lists in a PEM file, and nothing else that it may hold.

    Raises CredentialsError if the file cannot be read, holds no list, or one that does not parse.
    """
    data = _read(path, made_with="qkdlink ca revocations")
    blocks = [block for block in data.split(_LIST_BEGINS)[1:] if _LIST_ENDS in block]
    try:
        lists = tuple(
            x509.load_pem_x509_crl(_LIST_BEGINS + block.partition(_LIST_ENDS)[0] + _LIST_ENDS + b"\n")
            for block in blocks
        )
    except ValueError as error:
        raise CredentialsError(
            f"{path} does not hold revocation lists in PEM form: bring the file that `qkdlink ca revocations` writes"
        ) from error
    if not lists:
        raise CredentialsError(
            f"{path} holds no revocation list: bring the file that `qkdlink ca revocations` writes"
        )
    return lists


def read_private_key(path: Path) -> PrivateKey:
    """Read a private key of a known algorithm in unencrypted PKCS#8 PEM form.

    Raises CredentialsError if the file cannot be read, is open to others than its owner, or holds anything
    else.
    """
    try:
        key = load_pem_private_key(_read(path, secret=True), password=None)
    except TypeError as error:
        raise CredentialsError(f"{path} is encrypted, but nodes start unattended: issue a new key") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CredentialsError(f"{path} is not a private key in PEM form") from error
    if algorithm_of(key) is None:
        raise CredentialsError(f"{path} is not a key of one of the algorithms {', '.join(KeyAlgorithm)}")
    return cast("PrivateKey", key)


@contextmanager
def openssl_file(path: Path) -> Iterator[str]:
    """Name a PEM file for the TLS library, which reads nothing behind a byte order mark: then it is a copy in memory.

    Raises OSError if the file cannot be read.
    """
    data = path.read_bytes()
    if not data.startswith(codecs.BOM_UTF8):
        yield str(path)
        return
    copy = os.memfd_create(path.name)
    try:
        os.write(copy, data.removeprefix(codecs.BOM_UTF8))
        yield f"/dev/fd/{copy}"
    finally:
        os.close(copy)


def _certificates(path: Path) -> tuple[x509.Certificate, ...]:
    try:
        return tuple(x509.load_pem_x509_certificates(_read(path)))
    except ValueError as error:
        raise CredentialsError(f"{path} is not a certificate in PEM form") from error


def _read(path: Path, *, secret: bool = False, made_with: str = "qkdlink ca") -> bytes:
    try:
        with path.open("rb") as stream:
            if secret:
                _refuse_open_mode(path, os.fstat(stream.fileno()).st_mode)
            data = stream.read(_LARGEST_FILE_BYTES + 1).removeprefix(codecs.BOM_UTF8)
    except FileNotFoundError as error:
        raise CredentialsError(f"{path} does not exist: it is made with `{made_with}`") from error
    except OSError as error:
        raise CredentialsError(f"cannot read {path}: {error.strerror}") from error
    if len(data) > _LARGEST_FILE_BYTES:
        raise CredentialsError(f"{path} is larger than anything `qkdlink ca` writes")
    return data


def _refuse_open_mode(path: Path, mode: int) -> None:
    if stat.S_IMODE(mode) & 0o077:
        raise CredentialsError(
            f"{path} is open to others (mode {stat.S_IMODE(mode):04o}): issue a new key, or chmod 600 it"
        )
