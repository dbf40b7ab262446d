"""What a node asks of its revocation lists, and how the nodes' authority takes back what it has issued."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from qkdlink.common.errors import CredentialsError
from qkdlink.common.trust import pki
from qkdlink.common.trust.certificates import serial
from qkdlink.common.trust.credentials import CredentialFiles, NodeCredentials
from qkdlink.common.trust.pem import read_chain, read_revocation_lists
from qkdlink.common.trust.revocation import read_lists_in_force
from qkdlink.deployment.certificates.hierarchy import Hierarchy, create_authorities


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A link's home of this test's own: what was issued elsewhere is on no list of it."""
    home = tmp_path / "own"
    home.mkdir(mode=0o700)
    create_authorities(home / "ca")
    create_authorities(home / "stranger")
    for node in ("alice", "bob"):
        pki.issue(home / "ca", node, home / node)
    return home


def bring(home: Path, *nodes: str) -> None:
    for node in nodes:
        shutil.copy(home / "ca" / "revocations.pem", home / node / "revocations.pem")


def load(home: Path, node: str, at: datetime | None = None) -> NodeCredentials:
    return NodeCredentials.load(CredentialFiles.in_folder(home / node), node, at or now())


def refuse(home: Path, sentence: str, at: datetime | None = None) -> None:
    with pytest.raises(CredentialsError, match=sentence) as caught:
        load(home, "alice", at)
    assert "\n" not in str(caught.value)


def lists_of(home: Path, folder: str = "ca") -> list[bytes]:
    lists = read_revocation_lists(home / folder / "revocations.pem")
    return [each.public_bytes(Encoding.PEM) for each in lists]


def put(home: Path, *lists: bytes) -> None:
    (home / "alice" / "revocations.pem").write_bytes(b"".join(lists))


def test_a_missing_file_of_lists_is_refused(own: Path) -> None:
    (own / "alice" / "revocations.pem").unlink()
    refuse(own, r"revocations\.pem does not exist")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "holds no revocation list"),
        (b"nonsense", "holds no revocation list"),
        (
            b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n",
            "does not hold revocation lists in PEM form",
        ),
        (b"x" * (4 * 1024 * 1024 + 1), "is larger than anything"),
    ],
    ids=["empty", "nonsense", "malformed", "huge"],
)
def test_a_file_that_holds_no_list_is_refused(own: Path, content: bytes, sentence: str) -> None:
    put(own, content)
    refuse(own, rf"revocations\.pem {sentence}")


def test_a_list_is_needed_of_every_authority_of_the_chain(own: Path) -> None:
    root, issuing = lists_of(own)
    put(own, root)
    refuse(own, r'holds no revocation list of the authority "qkdlink-authority-issuing"')
    put(own, issuing)
    refuse(own, r'holds no revocation list of the authority "qkdlink-authority":')
    put(own, issuing, root)
    load(own, "alice")


def test_the_list_of_another_authority_of_the_same_name_is_refused(own: Path) -> None:
    put(own, lists_of(own)[0], lists_of(own, "stranger")[1])
    refuse(
        own, r'in the name of the authority "qkdlink-authority-issuing", which that authority has not signed'
    )


def test_an_altered_list_is_refused(own: Path) -> None:
    root, issuing = read_revocation_lists(own / "ca" / "revocations.pem")
    der = bytearray(issuing.public_bytes(Encoding.DER))
    der[-1] ^= 1
    altered = x509.load_der_x509_crl(bytes(der)).public_bytes(Encoding.PEM)
    put(own, root.public_bytes(Encoding.PEM), altered)
    refuse(own, "which that authority has not signed")


def test_two_lists_of_one_authority_are_refused(own: Path) -> None:
    put(own, *lists_of(own), lists_of(own)[1])
    refuse(own, "holds 2 lists of .*issuing.* where one is expected")


def test_a_list_is_good_for_thirty_days_and_the_roots_for_a_year(own: Path) -> None:
    shutil.rmtree(own / "alice")
    pki.issue(own / "ca", "alice", own / "alice", validity=pki.Validity.days(800))
    load(own, "alice", now() + timedelta(days=29))
    refuse(
        own, r'out of date: the list of the authority "qkdlink-authority-issuing"', now() + timedelta(days=31)
    )
    Hierarchy.at(own / "ca").renew_lists(days=400)
    bring(own, "alice")
    refuse(
        own, r'out of date: the list of the authority "qkdlink-authority" was', now() + timedelta(days=366)
    )


def test_a_list_of_the_future_is_refused_with_both_dates(own: Path) -> None:
    authorities, an_hour_ago = load(own, "alice").chain[1:], now() - timedelta(hours=1)
    with pytest.raises(
        CredentialsError, match=rf"comes from the future: .*clock says {an_hour_ago:%Y-%m-%d %H:%M}: set"
    ):
        read_lists_in_force(own / "alice" / "revocations.pem", authorities, an_hour_ago)


def test_a_revoked_node_is_told_so_at_its_next_start(own: Path) -> None:
    revoked = Hierarchy.at(own / "ca").revoke("alice")
    assert [certificate.subject.rfc4514_string() for certificate in revoked] == ["CN=alice"]
    bring(own, "alice", "bob")
    refuse(own, rf"certificate\.pem was revoked on {now():%Y}-.* issue a new one")
    load(own, "bob")


def test_one_certificate_is_revoked_by_its_serial_number(own: Path) -> None:
    pki.issue(own / "ca", "alice", own / "second")
    Hierarchy.at(own / "ca").revoke(serial(read_chain(own / "second" / "certificate.pem")[0]).upper())
    bring(own, "alice", "second")
    load(own, "alice")
    with pytest.raises(CredentialsError, match="was revoked on"):
        NodeCredentials.load(CredentialFiles.in_folder(own / "second"), "alice", now())


def test_whatever_was_revoked_stays_revoked(own: Path) -> None:
    authority = Hierarchy.at(own / "ca")
    authority.revoke("alice")
    authority.revoke("bob")
    authority.revoke("alice")
    root, issuing = authority.renew_lists()
    assert (len(root), len(issuing)) == (0, 2)
    number = issuing.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    assert number == 5


def test_nobody_of_that_name_is_one_sentence_and_changes_nothing(own: Path) -> None:
    before = lists_of(own)
    for unknown in ("carol", "ali", "*", "..", "0"):
        with pytest.raises(CredentialsError, match="has issued nothing to"):
            Hierarchy.at(own / "ca").revoke(unknown)
    assert lists_of(own) == before


def test_a_revoked_issuing_authority_ends_what_it_has_issued_and_the_root_makes_another(own: Path) -> None:
    authority = Hierarchy.at(own / "ca")
    old = authority.revoke_issuing()
    bring(own, "alice")
    refuse(
        own, r'the authority "qkdlink-authority-issuing" that issued .* was revoked on .*`qkdlink ca init`'
    )
    with pytest.raises(CredentialsError, match="does not exist"):
        pki.issue(own / "ca", "carol", own / "carol")
    made = create_authorities(own / "ca")
    assert made.issuing != old
    pki.issue(own / "ca", "carol", own / "carol")
    load(own, "carol")
    load(own, "carol", now() + timedelta(days=29))
    refuse(own, "was revoked on", now() + timedelta(days=300))


def test_the_root_can_be_taken_away_and_is_missed_only_when_it_is_needed(own: Path, tmp_path: Path) -> None:
    safe = (own / "ca" / "root").rename(tmp_path / "safe")
    authority = Hierarchy.at(own / "ca")
    pki.issue(own / "ca", "carol", own / "carol")
    authority.revoke("carol")
    before = lists_of(own)[0]
    authority.renew_lists()
    assert lists_of(own)[0] == before
    with pytest.raises(CredentialsError, match=r"root/certificate\.pem does not exist"):
        authority.revoke_issuing()
    Hierarchy.at(own / "ca", safe).revoke_issuing()
    assert lists_of(own)[0] != before
    create_authorities(own / "ca", root_folder=safe)


def test_the_root_of_another_link_cannot_revoke_here(own: Path) -> None:
    with pytest.raises(CredentialsError, match="is not the root of the authority"):
        Hierarchy.at(own / "ca", own / "stranger" / "root").revoke_issuing()


def test_path_lengths_let_the_root_make_authorities_and_these_only_nodes(own: Path) -> None:
    lengths = {
        folder: read_chain(own / folder / "certificate.pem")[0]
        .extensions.get_extension_for_class(x509.BasicConstraints)
        .value.path_length
        for folder in ("ca/root", "ca", "alice")
    }
    assert lengths == {"ca/root": 1, "ca": 0, "alice": None}


@pytest.mark.parametrize(
    ("spoil", "days", "sentence"),
    [
        (None, 0, None),
        ("bob", 0, "the peer's certificate was revoked on "),
        (
            "issuing",
            0,
            'the authority "qkdlink-authority-issuing" that issued the peer\'s certificate was revoked',
        ),
        (None, 400, "the peer's certificate expired on "),
        (None, 99, r"revocations\.pem is out of date"),
    ],
)
def test_a_peer_that_was_let_in_is_refused_once_its_chain_is_no_longer_in_force(
    own: Path, spoil: str | None, days: int, sentence: str | None
) -> None:
    alice, bob = load(own, "alice"), load(own, "bob")
    chain = [each.public_bytes(Encoding.DER) for each in bob.chain]
    authorities = Hierarchy.at(own / "ca")
    if spoil == "issuing":
        authorities.revoke_issuing()
    elif spoil is not None:
        authorities.revoke(spoil)
    bring(own, "alice")
    later = now() + timedelta(days=days)
    if sentence is None:
        alice.check_peer_in_force(chain, later)
        return
    with pytest.raises(CredentialsError, match=sentence):
        alice.check_peer_in_force(chain, later)
