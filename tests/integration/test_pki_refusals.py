"""Revoked, out of date, without its key, of another algorithm: what the anchor pki refuses, over real sockets."""

import base64
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Self

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from qkdlink.common.errors import CredentialsError, LinkError
from qkdlink.common.transport import tls
from qkdlink.common.transport.certified import dial, listen
from qkdlink.common.transport.connections import Connection
from qkdlink.common.transport.tls import dialler_context, listener_context
from qkdlink.common.trust import pki
from qkdlink.common.trust.algorithms import KeyAlgorithm, signature_hash, tls_has
from qkdlink.common.trust.credentials import CredentialFiles, NodeCredentials, verify_signature
from qkdlink.common.trust.pem import read_chain, read_private_key, read_revocation_lists
from qkdlink.deployment.certificates.hierarchy import Hierarchy, create_authorities

NODES = ("alice", "bob")
CLASSICAL = [algorithm for algorithm in KeyAlgorithm if algorithm is not KeyAlgorithm.ML_DSA_65]
REVOKED = "is revoked, or that of the authority which issued it"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_home(tmp_path_factory.mktemp("pki") / "home")


@pytest.fixture
def home(pristine: Path, tmp_path: Path) -> Path:
    """A link's home of one's own, free to be spoilt."""
    return shutil.copytree(pristine, tmp_path / "home")


def make_home(home: Path, algorithm: KeyAlgorithm = KeyAlgorithm.P256) -> Path:
    create_authorities(home / "ca", algorithm=algorithm)
    for name in NODES:
        pki.issue(home / "ca", name, home / name, algorithm=algorithm)
    return home


def load(home: Path, name: str) -> NodeCredentials:
    return NodeCredentials.load(CredentialFiles.in_folder(home / name), name, datetime.now(UTC))


def bring_lists(home: Path, *names: str) -> None:
    for name in names:
        shutil.copy(home / "ca" / "revocations.pem", home / name / "revocations.pem")


@dataclass
class Door:
    """Bob's end: where he listens, and whom he has refused and why."""

    port: int = 0
    refused: list[str] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)

    async def on_connection(self, connection: Connection) -> None:
        self.accepted.append(connection.peer.name)


@asynccontextmanager
async def at_bob(bob: NodeCredentials) -> AsyncIterator[Door]:
    door = Door()
    async with listen("127.0.0.1", 0, bob, "alice", door.on_connection, door.refused.append) as opened:
        door.port = opened.port
        yield door


async def meet(door: Door, alice: NodeCredentials) -> None:
    await (await dial("127.0.0.1", door.port, alice, "bob")).close()


async def refused_by_bob(door: Door, alice: NodeCredentials, sentence: str) -> None:
    """Let Alice dial: Bob refuses her and says why, and she learns that it was for her certificate."""
    with pytest.raises(CredentialsError, match=r"does not take our certificate .*alice"):
        await meet(door, alice)
    assert len(door.refused) == 1
    assert sentence in door.refused[0]
    assert door.accepted == []


async def refused_by_alice(door: Door, alice: NodeCredentials, sentence: str) -> None:
    with pytest.raises(CredentialsError, match=rf"bob at 127\.0\.0\.1:\d+: .*{sentence}"):
        await meet(door, alice)
    assert door.accepted == []


async def test_a_revoked_leaf_is_refused_by_the_listener_without_a_restart(home: Path) -> None:
    alice = load(home, "alice")
    async with at_bob(load(home, "bob")) as door:
        await meet(door, alice)
        assert door.accepted.pop() == "alice"
        Hierarchy.at(home / "ca").revoke("alice")
        bring_lists(home, "bob")
        await refused_by_bob(door, alice, REVOKED)


async def test_a_revoked_leaf_is_refused_by_the_dialler_without_a_restart(home: Path) -> None:
    alice = load(home, "alice")
    async with at_bob(load(home, "bob")) as door:
        await meet(door, alice)
        door.accepted.clear()
        Hierarchy.at(home / "ca").revoke("bob")
        bring_lists(home, "alice")
        await refused_by_alice(door, alice, REVOKED)


@pytest.fixture
def renewed(home: Path) -> Path:
    """The issuing authority was revoked; Alice has credentials of the next, in "new-alice", as Bob in "new-bob"."""
    Hierarchy.at(home / "ca").revoke_issuing()
    create_authorities(home / "ca")
    for name in NODES:
        pki.issue(home / "ca", name, home / f"new-{name}")
    return home


def renewed_of(home: Path, name: str) -> NodeCredentials:
    files = CredentialFiles.in_folder(home / f"new-{name}")
    return NodeCredentials.load(files, name, datetime.now(UTC))


def both_lists(home: Path) -> Path:
    """The lists from before the revocation and the new authority's: whoever has these believes both authorities."""
    newest = read_revocation_lists(home / "ca" / "revocations.pem")[-1]
    both = home / "both.pem"
    both.write_bytes((home / "alice" / "revocations.pem").read_bytes() + newest.public_bytes(Encoding.PEM))
    return both


def unaware_alice(home: Path) -> NodeCredentials:
    """Alice with the revoked authority's certificate, who has not heard of its revocation."""
    alice = load(home, "alice")
    return replace(alice, files=replace(alice.files, revocations=both_lists(home)))


async def test_what_a_revoked_authority_has_issued_is_refused_by_the_listener(renewed: Path) -> None:
    async with at_bob(renewed_of(renewed, "bob")) as door:
        await refused_by_bob(door, unaware_alice(renewed), REVOKED)


async def test_what_a_revoked_authority_has_issued_is_refused_by_the_dialler(renewed: Path) -> None:
    async with at_bob(load(renewed, "bob")) as door:
        await refused_by_alice(door, renewed_of(renewed, "alice"), REVOKED)


async def test_the_root_vouches_for_a_new_issuing_authority_and_no_node_needs_a_new_root(
    renewed: Path,
) -> None:
    assert (renewed / "alice" / "authority.pem").read_bytes() == (
        renewed / "new-alice" / "authority.pem"
    ).read_bytes()
    async with at_bob(renewed_of(renewed, "bob")) as door:
        await meet(door, renewed_of(renewed, "alice"))
        assert door.accepted == ["alice"]


async def test_checking_the_leaf_alone_would_let_a_revoked_authority_in(
    renewed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason for VERIFY_CRL_CHECK_CHAIN, and the proof that the refusals above are its doing."""
    monkeypatch.setattr(ssl, "VERIFY_CRL_CHECK_CHAIN", ssl.VERIFY_CRL_CHECK_LEAF)
    async with at_bob(renewed_of(renewed, "bob")) as door:
        await meet(door, unaware_alice(renewed))
        assert door.accepted == ["alice"]


async def test_a_peer_whose_authority_has_no_list_here_is_refused_by_the_listener(renewed: Path) -> None:
    new_alice = renewed_of(renewed, "alice")
    knows_both = replace(new_alice, files=replace(new_alice.files, revocations=both_lists(renewed)))
    async with at_bob(load(renewed, "bob")) as door:
        await refused_by_bob(door, knows_both, "whose revocation list this node does not have")


async def test_a_peer_whose_authority_has_no_list_here_is_refused_by_the_dialler(renewed: Path) -> None:
    async with at_bob(renewed_of(renewed, "bob")) as door:
        await refused_by_alice(door, load(renewed, "alice"), "whose revocation list this node does not have")


async def test_a_list_that_goes_bad_while_a_node_runs_keeps_everybody_out_until_it_is_good_again(
    home: Path,
) -> None:
    bob, alice = load(home, "bob"), load(home, "alice")
    good = bob.files.revocations.read_bytes()
    async with at_bob(bob) as door:
        bob.files.revocations.write_bytes(b"nonsense")
        with pytest.raises(LinkError, match="handshake was broken off"):
            await meet(door, alice)
        assert "revocations.pem holds no revocation list" in door.refused[0]
        bob.files.revocations.write_bytes(good)
        await meet(door, alice)
    alice.files.revocations.unlink()
    with pytest.raises(CredentialsError, match=r"revocations\.pem does not exist"):
        await dial("127.0.0.1", 1, alice, "bob")


def test_certificates_beside_the_lists_are_not_believed(home: Path, tmp_path: Path) -> None:
    create_authorities(tmp_path / "stranger")
    alice = load(home, "alice")
    with alice.files.revocations.open("ab") as lists:
        lists.write((tmp_path / "stranger" / "authority.pem").read_bytes())
    context = dialler_context(alice)
    assert context.cert_store_stats() == {"x509": 1, "crl": 2, "x509_ca": 1}


def test_lists_longer_than_a_pipe_reach_the_tls_library(home: Path) -> None:
    root, issuing = read_revocation_lists(home / "ca" / "revocations.pem")
    key = read_private_key(home / "ca" / "private-key.pem")
    many = [x509.RevokedCertificateBuilder(number, datetime.now(UTC)).build() for number in range(1, 6001)]
    builder = x509.CertificateRevocationListBuilder(
        issuing.issuer, issuing.last_update_utc, issuing.next_update_utc, list(issuing.extensions), many
    )
    longest = builder.sign(key, signature_hash(key)).public_bytes(Encoding.PEM)
    assert len(longest) > 2 * 65536
    alice = load(home, "alice")
    alice.files.revocations.write_bytes(root.public_bytes(Encoding.PEM) + longest)
    assert dialler_context(alice).cert_store_stats()["crl"] == 2


def wrong_key(home: Path, name: str) -> None:
    """Give `name` another private key that claims the public key of the certificate: OpenSSL's own check is content."""
    folder = home / name
    right, wrong = read_private_key(folder / "private-key.pem"), ec.generate_private_key(ec.SECP256R1())
    der = wrong.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    claimed, own = (
        key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        for key in (right, wrong)
        if isinstance(key, ec.EllipticCurvePrivateKey)
    )
    body = base64.encodebytes(der.replace(own, claimed))
    (folder / "private-key.pem").write_bytes(
        b"-----BEGIN EC PRIVATE KEY-----\n" + body + b"-----END EC PRIVATE KEY-----\n"
    )


async def test_the_right_certificate_with_the_wrong_key_is_refused_by_the_listener(home: Path) -> None:
    alice = load(home, "alice")
    wrong_key(home, "alice")
    async with at_bob(load(home, "bob")) as door:
        await refused_by_bob(door, alice, "a certificate whose private key it does not have")


async def test_the_right_certificate_with_the_wrong_key_is_refused_by_the_dialler(home: Path) -> None:
    bob = load(home, "bob")
    wrong_key(home, "bob")
    async with at_bob(bob) as door:
        await refused_by_alice(door, load(home, "alice"), "a certificate whose private key it does not have")


@pytest.mark.parametrize("algorithm", CLASSICAL)
async def test_nodes_meet_and_sign_with_keys_of_every_algorithm(
    tmp_path: Path, algorithm: KeyAlgorithm
) -> None:
    home = make_home(tmp_path / "home", algorithm)
    bob = load(home, "bob")
    async with at_bob(bob) as door:
        connection = await dial("127.0.0.1", door.port, load(home, "alice"), "bob")
        await connection.close()
    assert door.accepted == ["alice"]
    assert verify_signature(connection.peer.certificate_der, b"checkpoint", bob.sign(b"checkpoint"))


@pytest.mark.skipif(
    not tls_has(KeyAlgorithm.ML_DSA_65), reason=f"{ssl.OPENSSL_VERSION} has no ML-DSA: it came with 3.5"
)
async def test_nodes_meet_with_ml_dsa_where_the_tls_library_has_it(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home", KeyAlgorithm.ML_DSA_65)
    async with at_bob(load(home, "bob")) as door:
        await meet(door, load(home, "alice"))
    assert door.accepted == ["alice"]


def test_ml_dsa_is_refused_in_one_sentence_where_the_tls_library_has_it_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssl, "OPENSSL_VERSION_INFO", (3, 0, 0, 19, 0))
    alice = load(make_home(tmp_path / "home", KeyAlgorithm.ML_DSA_65), "alice")
    for context in (dialler_context, listener_context):
        with pytest.raises(
            CredentialsError, match=r"ml-dsa-65, which this Python's TLS library .* does not have"
        ):
            context(alice)


class Tomorrow(datetime):
    """A clock that is forty days ahead, for the lists' validity."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return super().now(tz) + timedelta(days=40)


async def test_a_list_that_expires_while_a_node_runs_refuses_everybody(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = load(home, "alice")
    async with at_bob(load(home, "bob")) as door:
        monkeypatch.setattr(tls, "datetime", Tomorrow)
        with pytest.raises(
            CredentialsError, match=r"alice/revocations\.pem is out of date: the list of the auth"
        ):
            await meet(door, alice)


async def test_nothing_that_is_said_of_a_refusal_holds_key_material(home: Path) -> None:
    alice, bob = load(home, "alice"), load(home, "bob")
    Hierarchy.at(home / "ca").revoke("alice")
    bring_lists(home, "bob")
    said = []
    async with at_bob(bob) as door:
        with pytest.raises(CredentialsError) as caught:
            await meet(door, alice)
        said += [str(caught.value), *door.refused, repr(alice), repr(bob)]
    for name in NODES:
        body = (home / name / "private-key.pem").read_text().splitlines()[1:-1]
        assert not any(line in text for text in said for line in body)
    assert len(read_chain(alice.files.certificate)) == 2
