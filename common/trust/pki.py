"""A small certificate authority: it vouches, once per node, that a key belongs to a name.

ECDSA on P-256 with SHA-256 throughout. Certificates follow RFC 5280, section 4.2: critical basic constraints
and key usage, subject and authority key identifiers, the node's name as the first DNS name of the subject
alternative name (RFC 9525 no longer looks for it in the common name). A node may dial on one link and listen
on another, hence both extended key usages.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from common.errors import CredentialsError
from common.trust.certificates import is_authority
from common.trust.pem import (
    AUTHORITY_FILE,
    CERTIFICATE_FILE,
    PRIVATE_KEY_FILE,
    read_certificate,
    read_private_key,
)
from common.trust.private_files import PUBLIC_MODE, NewFile, private_folder, write_new

AUTHORITY_DAYS = 3652
NODE_DAYS = 365
DEFAULT_AUTHORITY_NAME = "qkdlink-authority"
CLOCK_SKEW = timedelta(minutes=5)
"""Validity begins this much in the past, so that a peer with a slow clock accepts a new certificate."""

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Validity:
    """From when until when a certificate is valid; both are aware datetimes."""

    begins: datetime
    ends: datetime

    @classmethod
    def days(cls, count: int, now: datetime | None = None) -> Self:
        """`count` days from `now` (by default the system clock's), begun a little early for slow clocks."""
        start = now or datetime.now(UTC)
        return cls(start - CLOCK_SKEW, start + timedelta(days=count))


def check_name(name: str) -> None:
    """Refuse, with a CredentialsError, a node's or authority's name that is not one lower-case DNS label."""
    if not _LABEL.fullmatch(name):
        raise CredentialsError(
            f'the name "{name}" cannot be used: a name is 1 to 63 lower-case letters, digits and hyphens, '
            "without a hyphen at either end"
        )


def create_authority(
    folder: Path, name: str = DEFAULT_AUTHORITY_NAME, validity: Validity | None = None
) -> x509.Certificate:
    """Make a self-signed authority in `folder` (mode 0700): its certificate and its private key (0600).

    `validity` is ten years from now unless given. Returns the certificate. Raises CredentialsError if the
    name cannot be used, an authority exists there already, or the disk refuses: then nothing was written.
    """
    check_name(name)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _authority_certificate(name, key, validity or Validity.days(AUTHORITY_DAYS))
    with private_folder(folder):
        _refuse_open_folder(folder)
        write_new(
            NewFile(folder / PRIVATE_KEY_FILE, _private_pem(key)),
            NewFile(folder / CERTIFICATE_FILE, certificate.public_bytes(Encoding.PEM), PUBLIC_MODE),
        )
    return certificate


def issue(
    authority_folder: Path,
    name: str,
    out_folder: Path,
    hosts: Sequence[str] = (),
    validity: Validity | None = None,
) -> x509.Certificate:
    """Make a key for the node `name`, certified by the authority, with the authority's certificate beside it.

    `hosts` are further DNS names or addresses; `validity` is one year from now unless given; `out_folder` is
    made with mode 0700 if it is missing. Returns the certificate. Raises CredentialsError if a name cannot be
    used, the authority cannot be read or ends earlier than the certificate would, credentials exist there
    already, or the disk refuses: then nothing was written.
    """
    check_name(name)
    validity = validity or Validity.days(NODE_DAYS)
    authority = read_certificate(authority_folder / CERTIFICATE_FILE)
    authority_key = read_private_key(authority_folder / PRIVATE_KEY_FILE)
    _check_authority(authority, authority_key, authority_folder, validity)
    key = ec.generate_private_key(ec.SECP256R1())
    names = _alternative_names(name, hosts)
    certificate = _node_certificate(names, key.public_key(), validity, authority, authority_key)
    with private_folder(out_folder):
        write_new(
            NewFile(out_folder / PRIVATE_KEY_FILE, _private_pem(key)),
            NewFile(out_folder / CERTIFICATE_FILE, certificate.public_bytes(Encoding.PEM), PUBLIC_MODE),
            NewFile(out_folder / AUTHORITY_FILE, authority.public_bytes(Encoding.PEM), PUBLIC_MODE),
        )
    return certificate


def _authority_certificate(
    name: str, key: ec.EllipticCurvePrivateKey, validity: Validity
) -> x509.Certificate:
    subject = _common_name(name)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        _unsigned(subject, subject, key.public_key(), validity)
        # Path length 0: this authority certifies nodes, and no node's key can certify another.
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False
        )
        .sign(key, hashes.SHA256())
    )


def _node_certificate(
    names: Sequence[x509.GeneralName],
    key: ec.EllipticCurvePublicKey,
    validity: Validity,
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    issuer = x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key())
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
    return (
        _unsigned(_common_name(str(names[0].value)), authority.subject, key, validity)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer), critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def _unsigned(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, validity: Validity
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(validity.begins)
        .not_valid_after(validity.ends)
    )


def _common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative_names(name: str, hosts: Sequence[str]) -> list[x509.GeneralName]:
    further = [_general_name(host) for host in hosts]
    return list(dict.fromkeys([x509.DNSName(name), *further]))


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        labels = host.lower().split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise CredentialsError(
            f'the host "{host}" is neither an IP address nor a DNS name (wildcards are not issued)'
        )
    return x509.DNSName(host.lower())


def _check_authority(
    authority: x509.Certificate, key: ec.EllipticCurvePrivateKey, folder: Path, validity: Validity
) -> None:
    if not is_authority(authority) or authority.public_key() != key.public_key():
        raise CredentialsError(f"{folder} does not hold an authority: certificate and key do not match")
    if validity.ends > authority.not_valid_after_utc:
        raise CredentialsError(
            f"the authority in {folder} ends on {authority.not_valid_after_utc:%Y-%m-%d}, before the "
            f"certificate would ({validity.ends:%Y-%m-%d}): ask for fewer days, or make a new authority"
        )


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _refuse_open_folder(folder: Path) -> None:
    mode = folder.stat().st_mode & 0o777
    if mode & 0o077:
        raise CredentialsError(f"{folder} is open to others (mode {mode:04o}): an authority needs mode 0700")
