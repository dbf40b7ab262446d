"""TLS 1.3 with certificates on both ends: who is trusted, and whose name the peer must carry.

Python checks the server's name for a client, but never the client's name for a server: any certificate of the
authority would do. `check_peer` compares the name on both ends, before any application byte. Nothing is
resumed: a session ticket would outlive the credentials (and, later, the key) that it was made with. Contexts
are made here and not by `ssl.create_default_context`, which believes the system's authorities and honours
SSLKEYLOGFILE.

A context serves one handshake: it is made with the revocation lists as they lie on disk at that moment, so that
whoever is revoked while a node runs is refused at the next handshake.
"""

import os
import ssl
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from qkdlink.common.errors import CredentialsError
from qkdlink.common.trust.algorithms import tls_has, tls_has_not
from qkdlink.common.trust.certificates import dns_names, fingerprint, purposes
from qkdlink.common.trust.credentials import NodeCredentials
from qkdlink.common.trust.pem import openssl_file
from qkdlink.common.trust.pki import lists_pem


@dataclass(frozen=True, slots=True)
class PeerIdentity:
    """Who is at the other end, as its certificate says and our authority vouches."""

    name: str
    certificate_der: bytes = field(repr=False)
    fingerprint: str
    """SHA-256 of the certificate (DER), 64 hexadecimal digits."""
    chain_der: tuple[bytes, ...] = field(repr=False)
    """The certificate, and each that vouches for the one before it, up to the authority that is believed."""


def dialler_context(credentials: NodeCredentials) -> ssl.SSLContext:
    """Return the context of the end that dials; the name to expect goes into `server_hostname`.

    Raises CredentialsError if the files of `credentials` cannot be loaded or have changed, if a revocation list is
    missing or out of date, or if the TLS library does not have the algorithm of a key.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = True
    context.hostname_checks_common_name = False
    return _mutual(context, credentials)


def listener_context(credentials: NodeCredentials) -> ssl.SSLContext:
    """Return the context of the end that listens: only a certificate of our authority gets in.

    Raises CredentialsError if the files of `credentials` cannot be loaded or have changed, if a revocation list is
    missing or out of date, or if the TLS library does not have the algorithm of a key.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.num_tickets = 0
    return _mutual(context, credentials)


def check_peer(ssl_object: ssl.SSLObject | ssl.SSLSocket, expected_name: str, own_name: str) -> PeerIdentity:
    """Return who is at the other end of a finished handshake; to be called on both ends.

    Raises CredentialsError, saying what is wrong, unless the line is fresh TLS 1.3 and the peer's certificate
    carries `expected_name`, does not carry `own_name` (a line that leads back to us), and is meant for the
    peer's end.
    """
    der = ssl_object.getpeercert(binary_form=True)
    if ssl_object.version() != "TLSv1.3" or ssl_object.session_reused or der is None:
        raise CredentialsError("the line is not a fresh TLS 1.3 session with a certificate")
    names, meant_for = _read(der)
    whose = ", ".join(f'"{name}"' for name in names) or "no name"
    if own_name in names:
        raise CredentialsError(
            f"the peer's certificate is for {whose}: the line leads back to this very node"
        )
    if expected_name not in names:
        raise CredentialsError(
            f'the peer\'s certificate is for {whose}, but this node expects "{expected_name}"'
        )
    if _purpose_of_peer(ssl_object) not in meant_for:
        raise CredentialsError(f'the certificate of "{expected_name}" is not meant for its end of a TLS line')
    return PeerIdentity(expected_name, der, fingerprint(der), tuple(ssl_object.get_verified_chain()))


def _mutual(context: ssl.SSLContext, credentials: NodeCredentials) -> ssl.SSLContext:
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    # the whole chain: VERIFY_CRL_CHECK_LEAF would let in whatever a revoked issuing authority has issued
    context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_CRL_CHECK_CHAIN
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET
    credentials.check_unchanged()
    _refuse_unknown_algorithms(credentials)
    try:
        with (
            openssl_file(credentials.files.certificate) as certificate,
            openssl_file(credentials.files.private_key) as private_key,
        ):
            context.load_cert_chain(certificate, private_key)
    except OSError as error:
        raise CredentialsError(
            f"{credentials.files.certificate} and {credentials.files.private_key} cannot be used: {error}"
        ) from error
    context.load_verify_locations(cadata=credentials.authority_der)
    _load_lists(context, credentials.lists_in_force(datetime.now(UTC)))
    return context


def _refuse_unknown_algorithms(credentials: NodeCredentials) -> None:
    for algorithm in credentials.algorithms:
        if algorithm is not None and not tls_has(algorithm):
            raise CredentialsError(f"the chain in {credentials.files.certificate} {tls_has_not(algorithm)}")


def _load_lists(context: ssl.SSLContext, lists: Sequence[x509.CertificateRevocationList]) -> None:
    """Load lists that were checked, and nothing that stands beside them in their file.

    `ssl` takes lists from a path only, and believes every certificate it finds there. The path is that of a pipe: a
    temporary file would make a handshake depend on a disk that is not full.
    """
    reading, writing = os.pipe()
    writer = threading.Thread(target=_fill, args=(writing, lists_pem(lists)), name="revocation lists")
    writer.start()
    try:
        context.load_verify_locations(f"/dev/fd/{reading}")
    except OSError as error:
        raise CredentialsError(f"the TLS library cannot read the revocation lists: {error}") from error
    finally:
        os.close(reading)
        writer.join()


def _fill(writing: int, data: bytes) -> None:
    with suppress(BrokenPipeError), os.fdopen(writing, "wb") as pipe:
        pipe.write(data)


def _read(certificate_der: bytes) -> tuple[tuple[str, ...], frozenset[x509.ObjectIdentifier]]:
    try:
        certificate = x509.load_der_x509_certificate(certificate_der)
        return dns_names(certificate), purposes(certificate)
    except (ValueError, x509.DuplicateExtension) as error:
        raise CredentialsError(f"the peer's certificate cannot be read: {error}") from error


def _purpose_of_peer(ssl_object: ssl.SSLObject | ssl.SSLSocket) -> x509.ObjectIdentifier:
    return ExtendedKeyUsageOID.CLIENT_AUTH if ssl_object.server_side else ExtendedKeyUsageOID.SERVER_AUTH
