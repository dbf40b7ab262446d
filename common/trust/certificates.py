"""What a certificate says: whose it is, from whom, for what and until when."""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from qkdlink.common.trust.algorithms import algorithm_of


@dataclass(frozen=True, slots=True)
class CertificateSummary:
    """The lines of a certificate that an operator compares."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    """DNS names and addresses, the node's own name first."""
    begins: datetime
    ends: datetime
    is_authority: bool
    algorithm: str
    """Of its key."""
    serial: str
    """The serial number in hexadecimal, by which it can be revoked."""
    fingerprint: str
    """SHA-256 of the DER encoding, 64 hexadecimal digits."""


def summarise(certificate: x509.Certificate) -> CertificateSummary:
    """Read the lines of `certificate` that an operator compares."""
    return CertificateSummary(
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.rfc4514_string(),
        names=dns_names(certificate) + _addresses(certificate),
        begins=certificate.not_valid_before_utc,
        ends=certificate.not_valid_after_utc,
        is_authority=is_authority(certificate),
        algorithm=algorithm_of(certificate.public_key()) or "another",
        serial=serial(certificate),
        fingerprint=fingerprint(certificate.public_bytes(Encoding.DER)),
    )


def fingerprint(certificate_der: bytes) -> str:
    """SHA-256 of a certificate's DER encoding, as 64 hexadecimal digits."""
    return hashlib.sha256(certificate_der).hexdigest()


def serial(certificate: x509.Certificate) -> str:
    """Return the serial number in lower-case hexadecimal."""
    return f"{certificate.serial_number:x}"


def dns_names(certificate: x509.Certificate) -> tuple[str, ...]:
    """DNS names of the subject alternative name, in lower case; the subject's common name does not count."""
    alternatives = _extension(certificate, x509.SubjectAlternativeName)
    if alternatives is None:
        return ()
    return tuple(name.lower() for name in alternatives.get_values_for_type(x509.DNSName))


def purposes(certificate: x509.Certificate) -> frozenset[x509.ObjectIdentifier]:
    """Return the extended key usages; none where the certificate does not restrict itself to any."""
    return frozenset(_extension(certificate, x509.ExtendedKeyUsage) or ())


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether the certificate may issue others (basic constraints)."""
    constraints = _extension(certificate, x509.BasicConstraints)
    return constraints is not None and constraints.ca


def _addresses(certificate: x509.Certificate) -> tuple[str, ...]:
    alternatives = _extension(certificate, x509.SubjectAlternativeName)
    if alternatives is None:
        return ()
    return tuple(str(address) for address in alternatives.get_values_for_type(x509.IPAddress))


def _extension[E: x509.ExtensionType](certificate: x509.Certificate, kind: type[E]) -> E | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
