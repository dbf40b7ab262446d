"""A certificate that vouches for nothing but its own key: who believes it has heard of it elsewhere."""

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from qkdlink.common.trust.algorithms import KeyAlgorithm, PrivateKey, new_private_key, signature_hash
from qkdlink.common.trust.pki import Validity, check_name


def self_signed(name: str, validity: Validity, algorithm: KeyAlgorithm) -> tuple[bytes, bytes]:
    """Make a key for the node `name` and a certificate of it, by itself; private key first, both in PEM form.

    It is for both ends of a TLS line, and may not vouch for others (RFC 5280, section 4.2.1.9). Raises
    CredentialsError if the name cannot be used.
    """
    check_name(name)
    key = new_private_key(algorithm)
    private_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private_pem, _certificate(name, key, validity).public_bytes(Encoding.PEM)


def _certificate(name: str, key: PrivateKey, validity: Validity) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(validity.begins)
        .not_valid_after(validity.ends)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_SIGNS_HANDSHAKES, critical=True)
        .add_extension(_BOTH_ENDS, critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(identifier, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False
        )
        .sign(key, signature_hash(key))
    )


_BOTH_ENDS = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH])
_SIGNS_HANDSHAKES = x509.KeyUsage(
    digital_signature=True,
    key_cert_sign=False,
    crl_sign=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)
