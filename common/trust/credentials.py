"""A node's credentials: its key, its certificate's chain, the one authority it believes and what that has revoked."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from qkdlink.common.errors import CredentialsError
from qkdlink.common.trust import algorithms
from qkdlink.common.trust.algorithms import KeyAlgorithm, PrivateKey, algorithm_of
from qkdlink.common.trust.certificates import dns_names, fingerprint, is_authority, purposes
from qkdlink.common.trust.pem import (
    AUTHORITY_FILE,
    CERTIFICATE_FILE,
    PRIVATE_KEY_FILE,
    REVOCATIONS_FILE,
    read_certificate,
    read_chain,
    read_private_key,
)
from qkdlink.common.trust.revocation import common_name, read_lists_in_force, refuse_revoked

SIGNATURE_CONTEXT = b"qkdlink v1 signature\x00"
"""Stands before whatever a node signs, so that no signature of ours is one that TLS asks for, or the reverse
(RFC 8446, section 4.4.3, begins with 64 spaces for the same reason)."""


@dataclass(frozen=True, slots=True)
class CredentialFiles:
    """Where a node's credentials lie."""

    certificate: Path
    """The node's certificate, and after it that of each authority up to the one that is believed."""
    private_key: Path
    authority: Path
    """The one certificate that is believed."""
    revocations: Path
    """What every authority of the chain has revoked."""

    @classmethod
    def in_folder(cls, folder: Path) -> Self:
        """Return the places at which `qkdlink ca issue` writes them."""
        names = (CERTIFICATE_FILE, PRIVATE_KEY_FILE, AUTHORITY_FILE, REVOCATIONS_FILE)
        return cls(*(folder / name for name in names))

    def state(self) -> tuple[tuple[int, int, int] | None, ...]:
        """Return what differs once one of the files is written or replaced; None for one that is not there."""
        return tuple(
            _state_of(path) for path in (self.certificate, self.private_key, self.authority, self.revocations)
        )


def _state_of(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


@dataclass(frozen=True, slots=True, eq=False)
class NodeCredentials:
    """What one node shows and what it believes; build it with `load`, which checks everything."""

    name: str
    files: CredentialFiles = field(repr=False)
    chain: tuple[x509.Certificate, ...] = field(repr=False)
    """This node's certificate, the authorities that lead to the one that is believed, and that one."""
    _private_key: PrivateKey = field(repr=False)

    @classmethod
    def load(cls, files: CredentialFiles, name: str, now: datetime) -> Self:
        """Read and check the credentials of the node called `name` at the time `now` (aware).

        Raises CredentialsError, naming the file, if one is missing, unreadable or not what it should be, if
        the key is open to others or belongs to another certificate, if the certificate is not valid now, is
        revoked, does not lead to this authority, is for another name or not for both ends of a line, and if the
        revocation list of an authority is missing, out of date or not its own.
        """
        shown = read_chain(files.certificate)
        private_key = read_private_key(files.private_key)
        authority = read_certificate(files.authority)
        _check_authority(files.authority, authority)
        _check_validity(files.authority, authority, now)
        _check_key(files, shown[0], private_key)
        _check_validity(files.certificate, shown[0], now)
        for above in shown[1:]:
            _check_authority(files.certificate, above)
            _check_validity(files.certificate, above, now)
        _check_issuers(files, (*shown, authority))
        _check_name(files.certificate, shown[0], name)
        _check_purposes(files.certificate, shown[0])
        credentials = cls(name, files, (*shown, authority), private_key)
        refuse_revoked(files.certificate, credentials.chain, credentials.lists_in_force(now))
        return credentials

    @property
    def certificate_der(self) -> bytes:
        """This node's certificate (DER)."""
        return self.chain[0].public_bytes(Encoding.DER)

    @property
    def authority_der(self) -> bytes:
        """The certificate (DER) of the authority that is believed."""
        return self.chain[-1].public_bytes(Encoding.DER)

    @property
    def algorithms(self) -> frozenset[KeyAlgorithm | None]:
        """The algorithms of all keys of the chain; None stands for one that no certificate may have here."""
        return frozenset(algorithm_of(certificate.public_key()) for certificate in self.chain)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of this node's certificate (DER), as 64 hexadecimal digits."""
        return fingerprint(self.certificate_der)

    def sign(self, data: bytes) -> bytes:
        """Sign SIGNATURE_CONTEXT and `data` with the certificate's key, by its algorithm (`algorithms.sign`)."""
        return algorithms.sign(self._private_key, SIGNATURE_CONTEXT + data)

    def lists_in_force(self, now: datetime) -> tuple[x509.CertificateRevocationList, ...]:
        """Read the revocation lists as they lie on disk now; CredentialsError if one that is needed does not do."""
        return read_lists_in_force(self.files.revocations, self.chain[1:], now)

    def check_peer_in_force(self, chain_der: Sequence[bytes], now: datetime) -> None:
        """Refuse, with a CredentialsError, a peer's verified chain in which a certificate is not in force `now`."""
        chain = [x509.load_der_x509_certificate(each) for each in chain_der]
        for certificate in chain:
            _check_validity("the peer's certificate", certificate, now)
        refuse_revoked("the peer's certificate", chain, self.lists_in_force(now))

    def check_unchanged(self) -> None:
        """Refuse, with a CredentialsError, to go on with files that were replaced since they were loaded.

        TLS reads the files itself; showing a certificate other than the one this node signs with would make
        every signature invalid.
        """
        if read_chain(self.files.certificate) != self.chain[:-1]:
            raise CredentialsError(f"{self.files.certificate} was replaced meanwhile: restart this node")


def verify_signature(certificate_der: bytes, data: bytes, signature: bytes) -> bool:
    """Whether `signature` over `data` was made by `NodeCredentials.sign` with this certificate's key.

    The certificate itself must have been verified before; False also for a key of an unknown algorithm.
    """
    key = x509.load_der_x509_certificate(certificate_der).public_key()
    return algorithms.verify(key, SIGNATURE_CONTEXT + data, signature)


def _check_authority(path: Path, authority: x509.Certificate) -> None:
    if not is_authority(authority):
        raise CredentialsError(
            f'{path} is not an authority\'s certificate: "{common_name(authority.subject)}" may not vouch for any node'
        )


def _check_key(files: CredentialFiles, certificate: x509.Certificate, key: PrivateKey) -> None:
    if certificate.public_key() != key.public_key():
        raise CredentialsError(f"{files.private_key} is not the key of {files.certificate}: issue a new pair")


def _check_validity(path: Path | str, certificate: x509.Certificate, now: datetime) -> None:
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


def _check_issuers(files: CredentialFiles, chain: Sequence[x509.Certificate]) -> None:
    for certificate, issuer in pairwise(chain):
        try:
            certificate.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature) as error:
            raise CredentialsError(
                f"{files.certificate} was not issued by the authority in {files.authority}, nor by one that it "
                "vouches for: use the files that `qkdlink ca issue` wrote together"
            ) from error


def _check_name(path: Path, certificate: x509.Certificate, name: str) -> None:
    names = dns_names(certificate)
    if name not in names:
        whose = ", ".join(f'"{other}"' for other in names) or "nobody"
        raise CredentialsError(f'{path} is for {whose}, but this node is "{name}"')


def _check_purposes(path: Path, certificate: x509.Certificate) -> None:
    if not purposes(certificate) >= {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}:
        raise CredentialsError(f"{path} is not for both ends of a TLS line: issue it with `qkdlink ca issue`")
