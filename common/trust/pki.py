"""A small certificate authority: it vouches, once per node, that a key belongs to a name.

A *plain* authority is one self-signed certificate that issues. The nodes' authority has two floors
(`qkdlink.deployment.certificates.hierarchy`): what issues is there an *issuing* authority, for which a root vouches.
Certificates follow RFC 5280, section 4.2: critical basic constraints and key usage, subject and authority key
identifiers, the node's name as the first DNS name of the subject alternative name (RFC 9525 no longer looks for it in
the common name). A node may dial on one link and listen on another, hence both extended key usages.
"""

import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from qkdlink.common.errors import CredentialsError
from qkdlink.common.trust.algorithms import (
    KeyAlgorithm,
    PrivateKey,
    PublicKey,
    new_private_key,
    signature_hash,
)
from qkdlink.common.trust.certificates import is_authority, serial
from qkdlink.common.trust.pem import (
    AUTHORITY_FILE,
    CERTIFICATE_FILE,
    PRIVATE_KEY_FILE,
    REVOCATIONS_FILE,
    read_certificate,
    read_chain,
    read_private_key,
    read_revocation_lists,
)
from qkdlink.common.trust.private_files import PUBLIC_MODE, NewFile, private_folder, write_new, write_over

AUTHORITY_DAYS = 3652
NODE_DAYS = 365
DEFAULT_AUTHORITY_NAME = "qkdlink-authority"
ISSUED_FOLDER = "issued"
"""Where an issuing authority keeps what it has issued, by name: whatever is in doubt later can be revoked."""
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


@dataclass(frozen=True, slots=True)
class Authority:
    """What vouches for others: a certificate and its private key."""

    certificate: x509.Certificate
    key: PrivateKey = field(repr=False)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the authority in `folder`; CredentialsError if there is none."""
        certificate, *further = read_chain(folder / CERTIFICATE_FILE)
        key = read_private_key(folder / PRIVATE_KEY_FILE)
        if further or not is_authority(certificate) or certificate.public_key() != key.public_key():
            raise CredentialsError(f"{folder} does not hold an authority: certificate and key do not match")
        return cls(certificate, key)

    @classmethod
    def self_signed(cls, name: str, validity: Validity, algorithm: KeyAlgorithm, path_length: int) -> Self:
        """Make, but not write, an authority that stands for itself, over at most `path_length` further ones."""
        check_name(name)
        key = new_private_key(algorithm)
        subject = _common_name(name)
        return cls(_authority_certificate(subject, key, validity, subject, key, path_length), key)

    def subordinate(self, name: str, validity: Validity, algorithm: KeyAlgorithm) -> "Authority":
        """Make, but not write, an authority for which this one vouches, and which vouches for no further one."""
        check_name(name)
        key = new_private_key(algorithm)
        issuer = self.certificate.subject
        return Authority(
            _authority_certificate(_common_name(name), key, validity, issuer, self.key, path_length=0), key
        )

    def files(self, folder: Path) -> tuple[NewFile, NewFile]:
        """Return the files in which `read` finds it, its key first."""
        return (
            NewFile(folder / PRIVATE_KEY_FILE, _private_pem(self.key)),
            NewFile(folder / CERTIFICATE_FILE, pem(self.certificate), PUBLIC_MODE),
        )


def check_name(name: str) -> None:
    """Refuse, with a CredentialsError, a node's or authority's name that is not one lower-case DNS label."""
    if not _LABEL.fullmatch(name):
        raise CredentialsError(
            f'the name "{name}" cannot be used: a name is 1 to 63 lower-case letters, digits and hyphens, '
            "without a hyphen at either end"
        )


def create_authority(
    folder: Path,
    name: str = DEFAULT_AUTHORITY_NAME,
    validity: Validity | None = None,
    algorithm: KeyAlgorithm = KeyAlgorithm.P256,
) -> x509.Certificate:
    """Make a plain authority in `folder` (mode 0700): its certificate and its private key (0600).

    `validity` is ten years from now unless given. Returns the certificate. Raises CredentialsError if the
    name cannot be used, an authority exists there already, or the disk refuses: then nothing was written.
    """
    # Path length 0: this authority certifies nodes, and no node's key can certify another.
    authority = Authority.self_signed(
        name, validity or Validity.days(AUTHORITY_DAYS), algorithm, path_length=0
    )
    with private_folder(folder):
        refuse_open_folder(folder)
        write_new(*authority.files(folder))
    return authority.certificate


def issue(
    authority_folder: Path,
    name: str,
    out_folder: Path,
    hosts: Sequence[str] = (),
    validity: Validity | None = None,
    algorithm: KeyAlgorithm = KeyAlgorithm.P256,
) -> x509.Certificate:
    """Make a key for the node `name`, certified by the authority in `authority_folder`, in `out_folder`.

    Beside it stands whom to believe: a plain authority itself; or the root of an issuing one, which follows in the
    node's chain, and the revocation lists of both. `hosts` are further DNS names or addresses; `validity` is one year
    from now unless given; `out_folder` is made with mode 0700 if it is missing. Returns the certificate. Raises
    CredentialsError if a name cannot be used, the authority cannot be read or ends earlier than the certificate
    would, credentials exist there already, or the disk refuses: then nothing was written.
    """
    check_name(name)
    validity = validity or Validity.days(NODE_DAYS)
    authority = Authority.read(authority_folder)
    refuse_to_outlive(authority.certificate, authority_folder, validity)
    key = new_private_key(algorithm)
    names = _alternative_names(name, hosts)
    certificate = _node_certificate(names, key.public_key(), validity, authority)
    with ExitStack() as folders:
        folders.enter_context(private_folder(out_folder))
        files = [NewFile(out_folder / PRIVATE_KEY_FILE, _private_pem(key))]
        if (authority_folder / AUTHORITY_FILE).exists():
            record = folders.enter_context(private_folder(authority_folder / ISSUED_FOLDER / name))
            files += _beside_a_chain(certificate, authority, authority_folder, out_folder)
            files.append(NewFile(record / f"{serial(certificate)}.pem", pem(certificate), PUBLIC_MODE))
        else:
            files.append(NewFile(out_folder / CERTIFICATE_FILE, pem(certificate), PUBLIC_MODE))
            files.append(NewFile(out_folder / AUTHORITY_FILE, pem(authority.certificate), PUBLIC_MODE))
        write_new(*files)
    return certificate


def refuse_to_outlive(authority: x509.Certificate, folder: Path, validity: Validity) -> None:
    """Refuse, with a CredentialsError, a validity that ends after that of the authority in `folder`."""
    if validity.ends > authority.not_valid_after_utc:
        raise CredentialsError(
            f"the authority in {folder} ends on {authority.not_valid_after_utc:%Y-%m-%d}, before the "
            f"certificate would ({validity.ends:%Y-%m-%d}): ask for fewer days, or make a new authority"
        )


def refuse_open_folder(folder: Path) -> None:
    """Refuse, with a CredentialsError, to keep an authority in a folder that others can look into."""
    mode = folder.stat().st_mode & 0o777
    if mode & 0o077:
        raise CredentialsError(f"{folder} is open to others (mode {mode:04o}): an authority needs mode 0700")


def pem(*certificates: x509.Certificate) -> bytes:
    """Return a chain in PEM form."""
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def lists_pem(lists: Sequence[x509.CertificateRevocationList]) -> bytes:
    """Return revocation lists in PEM form."""
    return b"".join(each.public_bytes(Encoding.PEM) for each in lists)


def _beside_a_chain(
    certificate: x509.Certificate, authority: Authority, authority_folder: Path, out_folder: Path
) -> list[NewFile]:
    lists = NewFile(
        out_folder / REVOCATIONS_FILE,
        lists_pem(read_revocation_lists(authority_folder / REVOCATIONS_FILE)),
        PUBLIC_MODE,
    )
    return [
        NewFile(out_folder / CERTIFICATE_FILE, pem(certificate, authority.certificate), PUBLIC_MODE),
        NewFile(
            out_folder / AUTHORITY_FILE, pem(read_certificate(authority_folder / AUTHORITY_FILE)), PUBLIC_MODE
        ),
        *_unless_there(lists),
    ]


def _unless_there(lists: NewFile) -> tuple[NewFile, ...]:
    """Return lists that have to be written; renew them at once where older ones stand, which nobody misses."""
    if not lists.path.exists():
        return (lists,)
    write_over(lists)
    return ()


def _authority_certificate(
    subject: x509.Name,
    key: PrivateKey,
    validity: Validity,
    issuer: x509.Name,
    issuer_key: PrivateKey,
    path_length: int,
) -> x509.Certificate:
    return (
        _unsigned(subject, issuer, key.public_key(), validity)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(issuer_identifier(issuer_key), critical=False)
        .sign(issuer_key, signature_hash(issuer_key))
    )


def _node_certificate(
    names: Sequence[x509.GeneralName], key: PublicKey, validity: Validity, authority: Authority
) -> x509.Certificate:
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
    return (
        _unsigned(_common_name(str(names[0].value)), authority.certificate.subject, key, validity)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(issuer_identifier(authority.key), critical=False)
        .sign(authority.key, signature_hash(authority.key))
    )


def issuer_identifier(key: PrivateKey) -> x509.AuthorityKeyIdentifier:
    """Return the extension that says whose key has signed a certificate or a list."""
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _unsigned(
    subject: x509.Name, issuer: x509.Name, key: PublicKey, validity: Validity
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


def _private_pem(key: PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
