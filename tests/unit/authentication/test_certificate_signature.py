from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from qkdlink.common.authentication.certificate_signature import CertificateSignature
from qkdlink.common.authentication.scheme import Tag
from qkdlink.common.authentication.transcript import Transcript
from qkdlink.common.trust import pki
from qkdlink.common.trust.credentials import CredentialFiles, NodeCredentials, verify_signature
from qkdlink.deployment.certificates.hierarchy import create_authorities
from tests.support.pair import Pair

NODES = ("alice", "bob")


@pytest.fixture(scope="module")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> dict[str, NodeCredentials]:
    home: Path = tmp_path_factory.mktemp("signatures")
    create_authorities(home / "ca")
    for name in NODES:
        pki.issue(home / "ca", name, home / name)
    files = {name: CredentialFiles.in_folder(home / name) for name in NODES}
    return {name: NodeCredentials.load(files[name], name, datetime.now(UTC)) for name in NODES}


@pytest.fixture
def ends(credentials: dict[str, NodeCredentials]) -> tuple[CertificateSignature, CertificateSignature]:
    fingerprints = tuple(bytes.fromhex(credentials[name].fingerprint) for name in NODES)

    def end(own: str, peer: str) -> CertificateSignature:
        certificate = credentials[peer].certificate_der
        return CertificateSignature(
            sign=credentials[own].sign,
            verify_peer=lambda data, signature: verify_signature(certificate, data, signature),
            fingerprints=(fingerprints[0], fingerprints[1]),
        )

    return end("alice", "bob"), end("bob", "alice")


def transcript(*frames: bytes) -> Transcript:
    said = Transcript(b"heading")
    for frame in frames:
        said.append(0, frame)
    return said


async def test_a_tag_of_alice_is_verified_by_bob(ends: tuple[CertificateSignature, CertificateSignature]):
    alice, bob = ends
    tag = await alice.tag(0, 3, transcript(b"a"))
    assert await bob.verify(0, 3, transcript(b"a"), tag)


async def test_a_tag_holds_for_one_direction_one_position_and_one_transcript(
    ends: tuple[CertificateSignature, CertificateSignature],
):
    alice, bob = ends
    tag = await alice.tag(0, 3, transcript(b"a"))
    assert not await bob.verify(1, 3, transcript(b"a"), tag)
    assert not await bob.verify(0, 4, transcript(b"a"), tag)
    assert not await bob.verify(0, 3, transcript(b"b"), tag)
    assert not await bob.verify(0, 3, transcript(b"a", b""), tag)


async def test_a_tag_that_is_sent_back_is_not_the_peers(
    ends: tuple[CertificateSignature, CertificateSignature],
):
    alice, _ = ends
    tag = await alice.tag(0, 3, transcript(b"a"))
    assert not await alice.verify(0, 3, transcript(b"a"), tag)
    assert not await alice.verify(1, 3, transcript(b"a"), tag)


@pytest.mark.parametrize("place", [0, 1])
async def test_a_tag_made_towards_one_certificate_is_worth_nothing_towards_another(
    ends: tuple[CertificateSignature, CertificateSignature], place: int
):
    alice, bob = ends
    fingerprints = list(bob.fingerprints)
    fingerprints[place] = bytes(32)
    elsewhere = replace(bob, fingerprints=(fingerprints[0], fingerprints[1]))
    assert not await elsewhere.verify(0, 3, transcript(b"a"), await alice.tag(0, 3, transcript(b"a")))


@pytest.mark.parametrize("value", [b"", b"\0" * 64, b"\x30\x06\x02\x01\x00\x02\x01\x00", b"\xff" * 1000])
async def test_anything_else_is_not_a_tag_and_no_error(
    ends: tuple[CertificateSignature, CertificateSignature], value: bytes
):
    assert not await ends[1].verify(0, 3, transcript(b"a"), Tag(value))


async def test_every_bit_of_a_tag_counts(ends: tuple[CertificateSignature, CertificateSignature]):
    alice, bob = ends
    tag = await alice.tag(0, 0, transcript(b"a"))
    for position in range(0, 8 * len(tag.value), 7):
        broken = bytearray(tag.value)
        broken[position // 8] ^= 1 << position % 8
        assert not await bob.verify(0, 0, transcript(b"a"), Tag(bytes(broken)))


async def test_what_is_signed_never_begins_as_what_tls_has_signed(
    ends: tuple[CertificateSignature, CertificateSignature],
):
    signed: list[bytes] = []

    def sign(data: bytes) -> bytes:
        signed.append(data)
        return b""

    watched = replace(ends[0], sign=sign)
    await watched.tag(0, 3, transcript(b"a"))
    (statement,) = signed
    assert statement.startswith(b"qkdlink checkpoint signature v1\0")
    assert len(statement) == 32 + 2 * 32 + 2 + 32


async def test_a_block_is_made_under_the_certificates_that_an_authority_issued(
    ends: tuple[CertificateSignature, CertificateSignature],
):
    ending = await Pair(schemes=ends).play()
    assert ending.alice.key == ending.bob.key
