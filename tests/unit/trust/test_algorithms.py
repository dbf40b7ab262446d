"""Keys of every algorithm make chains, lists and signatures; what TLS cannot do is said, and what is no key refused."""

import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, x25519

from qkdlink.common.trust import algorithms, pki
from qkdlink.common.trust.algorithms import KeyAlgorithm, algorithm_of, new_private_key, tls_has
from qkdlink.common.trust.credentials import CredentialFiles, NodeCredentials, verify_signature
from qkdlink.deployment.certificates.hierarchy import create_authorities


@pytest.mark.parametrize("algorithm", KeyAlgorithm)
def test_a_chain_of_every_algorithm_loads_signs_and_verifies(tmp_path: Path, algorithm: KeyAlgorithm) -> None:
    create_authorities(tmp_path / "ca", algorithm=algorithm)
    pki.issue(tmp_path / "ca", "alice", tmp_path / "alice", algorithm=algorithm)
    alice = NodeCredentials.load(CredentialFiles.in_folder(tmp_path / "alice"), "alice", datetime.now(UTC))
    assert alice.algorithms == {algorithm}
    signature = alice.sign(b"checkpoint 1")
    assert verify_signature(alice.certificate_der, b"checkpoint 1", signature)
    assert not verify_signature(alice.certificate_der, b"checkpoint 2", signature)
    assert not verify_signature(alice.certificate_der, b"checkpoint 1", signature[:-1])
    assert not verify_signature(alice.certificate_der, b"checkpoint 1", b"")


@pytest.mark.parametrize("algorithm", KeyAlgorithm)
def test_no_algorithm_takes_the_signature_of_another(algorithm: KeyAlgorithm) -> None:
    key, data = new_private_key(algorithm), b"data"
    signature = algorithms.sign(key, data)
    for other in KeyAlgorithm:
        assert not algorithms.verify(new_private_key(other).public_key(), data, signature)
    assert algorithms.verify(key.public_key(), data, signature)


def test_a_key_of_another_kind_has_no_algorithm_and_verifies_nothing() -> None:
    for key in (
        ec.generate_private_key(ec.SECP384R1()).public_key(),
        x25519.X25519PrivateKey.generate(),
        None,
    ):
        assert algorithm_of(key) is None
        assert not algorithms.verify(key, b"data", b"")


@pytest.mark.parametrize(("version", "has"), [((3, 0, 19), False), ((3, 4, 9), False), ((3, 5, 0), True)])
def test_ml_dsa_is_in_tls_since_openssl_3_5(
    monkeypatch: pytest.MonkeyPatch, version: tuple[int, ...], *, has: bool
) -> None:
    monkeypatch.setattr(ssl, "OPENSSL_VERSION_INFO", version)
    assert tls_has(KeyAlgorithm.ML_DSA_65) is has
    assert tls_has(KeyAlgorithm.P256)
    assert tls_has(KeyAlgorithm.ED25519)
