"""TLS between a node's apparatus and the broker, which stands in for the quantum channel.

An infrastructure of its own: its authority vouches for brokers and their clients and is believed here alone, and what
is believed here opens nothing on the classical channel. Light is sealed besides; TLS keeps strangers from the broker.
"""

import ssl
from pathlib import Path

from qkdlink.common.errors import CredentialsError
from qkdlink.common.trust.pem import openssl_file, read_certificate, read_private_key


def apparatus_context(
    authority: Path, certificate: Path | None = None, private_key: Path | None = None
) -> ssl.SSLContext:
    """Return the context of a client of the broker: TLS 1.3, the broker's certificate and host name checked.

    `certificate` and `private_key` say who we are to a broker that asks. Raises CredentialsError, naming the file, if
    one is missing or not what it should be, or if the key is open to others or belongs to another certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.hostname_checks_common_name = False
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    read_certificate(authority)
    with openssl_file(authority) as file:
        context.load_verify_locations(file)
    if certificate is not None and private_key is not None:
        _show(context, certificate, private_key)
    return context


def _show(context: ssl.SSLContext, certificate: Path, private_key: Path) -> None:
    if read_certificate(certificate).public_key() != read_private_key(private_key).public_key():
        raise CredentialsError(f"{private_key} is not the key of {certificate}: issue a new pair")
    with openssl_file(certificate) as shown, openssl_file(private_key) as proof:
        context.load_cert_chain(shown, proof)
