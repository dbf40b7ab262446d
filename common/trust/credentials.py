"""A node's credentials: its key, its certificate and the one authority it believes, all checked first."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from common.errors import CredentialsError
from common.trust.certificates import dns_names, fingerprint, is_authority, purposes
from common.trust.pem import (
    AUTHORITY_FILE,
    CERTIFICATE_FILE,
    PRIVATE_KEY_FILE,
    is_p256,
    read_certificate,
    read_private_key,
)

SIGNATURE_CONTEXT = b"qkdlink v1 signature\x00"
"""Stands before whatever a node signs, so that no signature of ours is one that TLS asks for, or the reverse
(RFC 8446, section 4.4.3, begins with 64 spaces for the same reason)."""


@dataclass(frozen=True, slots=True)
class CredentialFiles:
    """Where a node's credentials lie."""

    certificate: Path
    private_key: Path
    authority: Path

    @classmethod
    def in_folder(cls, folder: Path) -> Self:
        """Return the places at which `qkdlink ca issue` writes them."""
        return cls(folder / CERTIFICATE_FILE, folder / PRIVATE_KEY_FILE, folder / AUTHORITY_FILE)


@dataclass(frozen=True, slots=True, eq=False)
class NodeCredentials:
    """What one node shows and what it believes; build it with `load`, which checks everything."""

    name: str
    files: CredentialFiles = field(repr=False)
    certificate_der: bytes = field(repr=False)
    authority_der: bytes = field(repr=False)
    _private_key: ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def load(cls, files: CredentialFiles, name: str, now: datetime) -> Self:
        """Read and check the credentials of the node called `name` at the time `now` (aware).

        Raises CredentialsError, naming the file, if one is missing, unreadable or not what it should be, if
        the key is open to others or belongs to another certificate, if the certificate is not valid now, does
        not come from this authority, is for another name or not for both ends of a line.
        """
        certificate = read_certificate(files.certificate)
        private_key = read_private_key(files.private_key)
        authority = read_certificate(files.authority)
        _check_authority(files.authority, authority)
        _check_validity(files.authority, authority, now)
        _check_key(files, certificate, private_key)
        _check_validity(files.certificate, certificate, now)
        _check_issuer(files, certificate, authority)
        _check_name(files.certificate, certificate, name)
        _check_purposes(files.certificate, certificate)
        der = certificate.public_bytes(Encoding.DER)
        return cls(name, files, der, authority.public_bytes(Encoding.DER), private_key)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of this node's certificate (DER), as 64 hexadecimal digits."""
        return fingerprint(self.certificate_der)

    def sign(self, data: bytes) -> bytes:
        """Sign SIGNATURE_CONTEXT and `data` with the certificate's key: ECDSA P-256, SHA-256, in DER form."""
        return self._private_key.sign(SIGNATURE_CONTEXT + data, ec.ECDSA(hashes.SHA256()))

    def check_unchanged(self) -> None:
        """Refuse, with a CredentialsError, to go on with files that were replaced since they were loaded.

        TLS reads the files itself; showing a certificate other than the one this node signs with would make
        every signature invalid.
        """
        if read_certificate(self.files.certificate).public_bytes(Encoding.DER) != self.certificate_der:
            raise CredentialsError(f"{self.files.certificate} was replaced meanwhile: restart this node")


def verify_signature(certificate_der: bytes, data: bytes, signature: bytes) -> bool:
    """Whether `signature` over `data` was made by `NodeCredentials.sign` with this certificate's key.

    The certificate itself must have been verified before; False also for a key other than ECDSA P-256.
    """
    key = x509.load_der_x509_certificate(certificate_der).public_key()
    if not is_p256(key):
        return False
    try:
        key.verify(signature, SIGNATURE_CONTEXT + data, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def _check_authority(path: Path, authority: x509.Certificate) -> None:
    if not is_authority(authority):
        raise CredentialsError(f"{path} is not an authority's certificate: it may not vouch for any node")


def _check_key(
    files: CredentialFiles, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
) -> None:
    if certificate.public_key() != key.public_key():
        raise CredentialsError(f"{files.private_key} is not the key of {files.certificate}: issue a new pair")


def _check_validity(path: Path, certificate: x509.Certificate, now: datetime) -> None:
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now > ends:
        raise CredentialsError(
            f"{path} expired on {ends:%Y-%m-%d %H:%M} UTC: issue a new one with `qkdlink ca issue`"
        )
    if now < begins:
        raise CredentialsError(
            f"{path} is not valid before {begins:%Y-%m-%d %H:%M} UTC, and this machine's clock says "
            f"{now:%Y-%m-%d %H:%M}: set the clock"
        )


def _check_issuer(files: CredentialFiles, certificate: x509.Certificate, authority: x509.Certificate) -> None:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature) as error:
        raise CredentialsError(
            f"{files.certificate} was not issued by the authority in {files.authority}: use the pair that "
            "`qkdlink ca issue` wrote together"
        ) from error


def _check_name(path: Path, certificate: x509.Certificate, name: str) -> None:
    names = dns_names(certificate)
    if name not in names:
        whose = ", ".join(f'"{other}"' for other in names) or "nobody"
        raise CredentialsError(f'{path} is for {whose}, but this node is "{name}"')


def _check_purposes(path: Path, certificate: x509.Certificate) -> None:
    if not purposes(certificate) >= {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}:
        raise CredentialsError(f"{path} is not for both ends of a TLS line: issue it with `qkdlink ca issue`")
