import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID

from qkdlink.common.errors import CredentialsError
from qkdlink.common.trust import pki
from qkdlink.common.trust.credentials import CredentialFiles, NodeCredentials, verify_signature
from qkdlink.common.trust.pem import read_chain


def load(folder: Path, name: str = "alice", now: datetime | None = None) -> NodeCredentials:
    return NodeCredentials.load(CredentialFiles.in_folder(folder), name, now or datetime.now(UTC))


@pytest.fixture
def alice(home: Path, tmp_path: Path) -> CredentialFiles:
    """Copies of Alice's files, free to be spoiled."""
    shutil.copytree(home / "alice", tmp_path / "alice")
    return CredentialFiles.in_folder(tmp_path / "alice")


def refuse(files: CredentialFiles, sentence: str, name: str = "alice", now: datetime | None = None) -> None:
    with pytest.raises(CredentialsError, match=sentence) as caught:
        NodeCredentials.load(files, name, now or datetime.now(UTC))
    assert "\n" not in str(caught.value)


def test_what_was_issued_is_accepted_and_has_a_fingerprint(home: Path) -> None:
    credentials = load(home / "alice")
    assert credentials.name == "alice"
    assert len(credentials.fingerprint) == 64
    assert credentials.fingerprint != load(home / "bob", "bob").fingerprint


def test_nothing_secret_can_be_printed(home: Path) -> None:
    credentials = load(home / "alice")
    assert repr(credentials) == str(credentials) == "NodeCredentials(name='alice')"


@pytest.mark.parametrize("name", ["certificate", "private_key", "authority"])
def test_a_missing_file_is_named(alice: CredentialFiles, name: str) -> None:
    missing: Path = getattr(alice, name)
    missing.unlink()
    refuse(alice, rf"{missing} does not exist")


@pytest.mark.parametrize("name", ["certificate", "private_key", "authority"])
def test_an_unreadable_file_is_named(alice: CredentialFiles, tmp_path: Path, name: str) -> None:
    refuse(replace(alice, **{name: tmp_path}), rf"cannot read {tmp_path}")


NO_CERTIFICATE = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize("content", [b"", b"garbage", NO_CERTIFICATE])
@pytest.mark.parametrize("name", ["certificate", "authority"])
def test_a_certificate_that_does_not_parse_is_named(
    alice: CredentialFiles, name: str, content: bytes
) -> None:
    spoilt: Path = getattr(alice, name)
    spoilt.write_bytes(content)
    refuse(alice, rf"{spoilt} is not a certificate")


def test_a_second_authority_in_the_file_is_refused(alice: CredentialFiles, home: Path) -> None:
    both = alice.authority.read_bytes() + (home / "stranger" / "certificate.pem").read_bytes()
    alice.authority.write_bytes(both)
    refuse(alice, "holds 2 certificates where one is expected")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o601])
def test_a_key_that_others_can_open_is_refused(alice: CredentialFiles, mode: int) -> None:
    alice.private_key.chmod(mode)
    refuse(alice, rf"private-key\.pem is open to others \(mode {mode:04o}\)")


def test_a_read_only_key_is_accepted(alice: CredentialFiles) -> None:
    alice.private_key.chmod(0o400)
    NodeCredentials.load(alice, "alice", datetime.now(UTC))


UNENCRYPTED = NoEncryption()
P256 = ec.generate_private_key(ec.SECP256R1())


def key_file(
    key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | x25519.X25519PrivateKey,
    cipher: KeySerializationEncryption = UNENCRYPTED,
) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, cipher)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"garbage", "is not a private key"),
        (key_file(P256, BestAvailableEncryption(b"x")), "is encrypted"),
        (
            key_file(ec.generate_private_key(ec.SECP384R1())),
            "is not a key of one of the algorithms p256, ed25519",
        ),
        (key_file(x25519.X25519PrivateKey.generate()), "is not a key of one of the algorithms p256, ed25519"),
        (key_file(ed25519.Ed25519PrivateKey.generate()), r"is not the key of .*certificate\.pem"),
        (key_file(P256), r"is not the key of .*certificate\.pem"),
    ],
    ids=["garbage", "encrypted", "P-384", "X25519", "Ed25519", "another key"],
)
def test_a_key_that_cannot_be_used_is_refused(alice: CredentialFiles, content: bytes, sentence: str) -> None:
    alice.private_key.write_bytes(content)
    refuse(alice, rf"private-key\.pem {sentence}")


def test_an_expired_certificate_is_refused_with_its_date(alice: CredentialFiles) -> None:
    end = read_chain(alice.certificate)[0].not_valid_after_utc
    refuse(alice, rf"certificate\.pem expired on {end:%Y-%m-%d}", now=end + timedelta(days=1))


def test_a_certificate_of_the_future_is_refused_with_both_dates(alice: CredentialFiles, home: Path) -> None:
    shutil.rmtree(alice.certificate.parent)
    now = datetime.now(UTC)
    window = pki.Validity(now + timedelta(days=2), now + timedelta(days=9))
    pki.issue(home / "ca", "alice", alice.certificate.parent, validity=window)
    sentence = rf"is not valid before {window.begins:%Y-%m-%d %H:%M} UTC.*clock says {now:%Y-%m-%d %H:%M}"
    refuse(alice, sentence, now=now)


def test_an_expired_authority_is_refused(alice: CredentialFiles) -> None:
    refuse(alice, r"authority\.pem expired on", now=datetime.now(UTC) + timedelta(days=4000))


def test_a_slow_clock_of_four_minutes_is_no_obstacle(alice: CredentialFiles) -> None:
    NodeCredentials.load(alice, "alice", datetime.now(UTC) - timedelta(minutes=4))


def test_another_authority_of_the_same_name_is_refused(alice: CredentialFiles, home: Path) -> None:
    shutil.copy(home / "stranger" / "certificate.pem", alice.authority)
    refuse(alice, r"certificate\.pem was not issued by the authority in .*authority\.pem")


def test_a_node_cannot_be_its_own_authority(alice: CredentialFiles) -> None:
    alice.authority.write_bytes(read_chain(alice.certificate)[0].public_bytes(Encoding.PEM))
    refuse(alice, r"authority\.pem is not an authority's certificate")


def test_a_certificate_of_another_node_is_refused_with_both_names(alice: CredentialFiles, home: Path) -> None:
    bob = CredentialFiles.in_folder(home / "bob")
    refuse(bob, r'certificate\.pem is for "bob", but this node is "alice"')
    refuse(alice, r'is for "alice", "qkd.example.org", but this node is "bob"', name="bob")


def test_a_certificate_for_one_end_of_a_line_only_is_refused(
    alice: CredentialFiles, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(alice.certificate.parent)
    one_end = SimpleNamespace(
        CLIENT_AUTH=ExtendedKeyUsageOID.CLIENT_AUTH, SERVER_AUTH=ExtendedKeyUsageOID.CODE_SIGNING
    )
    monkeypatch.setattr(pki, "ExtendedKeyUsageOID", one_end)
    pki.issue(home / "ca", "alice", alice.certificate.parent)
    refuse(alice, r"certificate\.pem is not for both ends of a TLS line")


def test_an_authority_cannot_be_a_node(home: Path) -> None:
    ca = home / "ca"
    refuse(CredentialFiles.in_folder(ca), "is for nobody", name="qkdlink-authority-issuing")


def test_a_signature_is_bound_to_its_key_and_its_data(home: Path) -> None:
    alice, bob = load(home / "alice"), load(home / "bob", "bob")
    signature = alice.sign(b"checkpoint 1")
    assert verify_signature(alice.certificate_der, b"checkpoint 1", signature)
    assert not verify_signature(alice.certificate_der, b"checkpoint 2", signature)
    assert not verify_signature(bob.certificate_der, b"checkpoint 1", signature)
    assert not verify_signature(alice.certificate_der, b"checkpoint 1", signature[:-1])
    assert not verify_signature(alice.certificate_der, b"checkpoint 1", b"")


def test_a_signature_cannot_be_one_that_tls_would_ask_for(home: Path) -> None:
    alice = load(home / "alice")
    signature = alice.sign(b"data")
    key = alice._private_key.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    with pytest.raises(InvalidSignature):
        key.verify(signature, b"data", ec.ECDSA(hashes.SHA256()))
