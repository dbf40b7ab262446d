"""Derived keys and their names: recomputed with nothing but HMAC, told apart by every field, refused when misshapen."""

import hmac
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkdlink.common.keys.derivation import (
    LONGEST_IDENTITY_BYTES,
    Label,
    bootstrap_identity,
    bootstrap_psk,
    key_id,
    link_psk,
    parse_bootstrap_identity,
    parse_identity,
    pre_shared_file_name,
    psk_identity,
    resume_proof_key,
    session_key,
)
from qkdlink.common.keys.identifiers import BlockId

MATERIAL = bytes(range(32))
SESSION = "00112233445566778899aabbccddeeff"
BLOCK = BlockId("link-1", SESSION, 7)
KEY_ID = f"{SESSION}/7"


def hkdf_sha256(material: bytes, info: str) -> bytes:
    """RFC 5869 with an empty salt and one block of output, by hand."""
    extracted = hmac.digest(bytes(32), material, "sha256")
    return hmac.digest(extracted, info.encode() + b"\x01", "sha256")


def test_the_hand_made_hkdf_agrees_with_rfc_5869_where_that_has_no_salt() -> None:
    # RFC 5869, A.3, first 32 bytes of the output
    expected = "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
    assert hkdf_sha256(b"\x0b" * 22, "").hex() == expected


@pytest.mark.parametrize(
    ("derived", "info", "worked_example"),
    [
        (
            link_psk(MATERIAL, "link-1", KEY_ID),
            f"qkdlink v1 link psk|link-1|alice->bob|{KEY_ID}|sha256",
            "e73750f5ea63b5dd30f64fb8c23cdba933c8e0524331454a05e6f926c89d3e1a",
        ),
        (
            session_key(Label.CHECKPOINT_TAGS, MATERIAL, SESSION),
            f"qkdlink v1 checkpoint tags|{SESSION}|sha256",
            "6fa96bd7603909420b77e7c976a1dcfbfa329005910f806590793cccd611591b",
        ),
        (
            session_key(Label.CHECKPOINT_GMAC, MATERIAL, SESSION),
            f"qkdlink v1 checkpoint gmac|{SESSION}|sha256",
            "d9e00d9c0b5073c599dbb7a4a7a259b5dc434a276ad2142d07a20a35365f8879",
        ),
        (
            bootstrap_psk(MATERIAL, "link-1", 3328),
            "qkdlink v1 bootstrap psk|link-1|alice->bob|3328|sha256",
            "19e96f870fa0746ec9b4391cc19d7407ce68c8c0043ebc0c8fa91451708d79c0",
        ),
        (
            session_key(Label.BOOTSTRAP_TAGS, MATERIAL, SESSION),
            f"qkdlink v1 bootstrap tags|{SESSION}|sha256",
            "932b4031a72ebed38b895feaf4fb8f374e25b7868b2ca58f68ff1829e27f509d",
        ),
        (
            bytes.fromhex(pre_shared_file_name(MATERIAL, "link-1")),
            "qkdlink v1 pre-shared file|link-1|sha256",
            "f015d53ad136255298d622fb308975c83c21fd7db711bd9210737c528f7c66dc",
        ),
        (
            resume_proof_key(MATERIAL),
            "qkdlink v1 resume proof|sha256",
            "2ca1cbb873d746b7f2d2a0b1eb73a3d7fa8eb8d7248fc8253e90a35c8d7e2381",
        ),
    ],
)
def test_every_derived_key_is_hkdf_over_its_written_label(
    derived: bytes, info: str, worked_example: str
) -> None:
    assert derived == hkdf_sha256(MATERIAL, info)
    assert derived.hex() == worked_example


def test_every_purpose_field_and_bit_of_material_gives_another_key() -> None:
    keys = {
        link_psk(MATERIAL, "link-1", KEY_ID),
        link_psk(MATERIAL, "link-2", KEY_ID),
        link_psk(MATERIAL, "link-1", f"{SESSION}/8"),
        link_psk(MATERIAL, "link-1", f"{SESSION[::-1]}/7"),
        link_psk(MATERIAL[:-1] + b"\x9f", "link-1", KEY_ID),
        session_key(Label.CHECKPOINT_TAGS, MATERIAL, SESSION),
        session_key(Label.CHECKPOINT_TAGS, MATERIAL, SESSION[::-1]),
        session_key(Label.CHECKPOINT_GMAC, MATERIAL, SESSION),
        session_key(Label.BOOTSTRAP_TAGS, MATERIAL, SESSION),
        bootstrap_psk(MATERIAL, "link-1", 256),
        bootstrap_psk(MATERIAL, "link-2", 256),
        bootstrap_psk(MATERIAL, "link-1", 3328),
        bytes.fromhex(pre_shared_file_name(MATERIAL, "link-1")),
        bytes.fromhex(pre_shared_file_name(MATERIAL, "link-2")),
        resume_proof_key(MATERIAL),
    }
    assert len(keys) == 15
    assert all(len(key) == 32 for key in keys)


def test_no_two_purposes_share_a_label_and_no_field_can_hold_the_separator() -> None:
    assert len({label.value for label in Label}) == len(Label)
    assert all("|" not in label for label in Label)
    for derive in (lambda link: bootstrap_psk(MATERIAL, link, 256), partial(pre_shared_file_name, MATERIAL)):
        with pytest.raises(ValueError, match="does not name"):
            derive("a|b")
    for link, identifier in (("a|b", KEY_ID), ("link-1", f"{SESSION}/7|x")):
        with pytest.raises(ValueError, match="does not name"):
            link_psk(MATERIAL, link, identifier)


@pytest.mark.parametrize("length", [0, 16, 31, 33, 64])
def test_material_of_another_length_than_256_bits_is_refused(length: int) -> None:
    for derive in (
        lambda material: link_psk(material, "link-1", KEY_ID),
        lambda material: session_key(Label.CHECKPOINT_TAGS, material, SESSION),
        lambda material: bootstrap_psk(material, "link-1", 256),
        lambda material: pre_shared_file_name(material, "link-1"),
        resume_proof_key,
    ):
        with pytest.raises(ValueError, match=f"from 32 bytes, not from {length}"):
            derive(bytes(length))


@pytest.mark.parametrize("session", ["", SESSION.upper(), SESSION[1:], SESSION + "\n", f"{SESSION}0"])
def test_a_checkpoint_key_needs_the_name_of_a_session(session: str) -> None:
    with pytest.raises(ValueError, match="does not name a session"):
        session_key(Label.CHECKPOINT_TAGS, MATERIAL, session)


def test_an_identity_says_version_link_dialling_role_and_key_and_nothing_else() -> None:
    assert psk_identity("link-1", key_id(BLOCK)) == f"qkd1:link-1:alice:{SESSION}/7"
    assert parse_identity(f"qkd1:link-1:alice:{SESSION}/7", "link-1") == KEY_ID


def test_the_bootstrap_has_one_identity_and_neither_port_takes_the_others() -> None:
    assert bootstrap_identity("link-1") == "qkd1:link-1:alice:bootstrap"
    assert parse_bootstrap_identity("qkd1:link-1:alice:bootstrap", "link-1") == "bootstrap"
    assert parse_identity("qkd1:link-1:alice:bootstrap", "link-1") is None
    assert parse_bootstrap_identity(psk_identity("link-1", KEY_ID), "link-1") is None


@pytest.mark.parametrize(
    "identity",
    [
        "qkd1:link-1:bob:bootstrap",
        "qkd1:link-2:alice:bootstrap",
        "qkd2:link-1:alice:bootstrap",
        "qkd1:link-1:alice:Bootstrap",
        "qkd1:link-1:alice:bootstrap\n",
        "qkd1:link-1:alice:bootstrap/1",
        "qkd1:link-1:alice:",
        "bootstrap",
        "",
    ],
)
def test_an_identity_that_is_nearly_the_bootstraps_names_no_key(identity: str) -> None:
    assert parse_bootstrap_identity(identity, "link-1") is None
    assert parse_identity(identity, "link-1") is None


def test_what_is_no_link_has_no_bootstrap_identity() -> None:
    with pytest.raises(ValueError, match="does not name a link"):
        bootstrap_identity("Link:1")


def test_the_longest_identity_still_fits_where_openssl_would_drop_it_silently() -> None:
    link = "l" * 63
    longest = psk_identity(link, key_id(BlockId(link, SESSION, 2**63 - 1)))
    assert len(longest.encode()) <= LONGEST_IDENTITY_BYTES


@pytest.mark.parametrize("number", [0, -1, 10**19])
def test_a_block_without_a_proper_number_has_no_key_id(number: int) -> None:
    with pytest.raises(ValueError, match="does not name a block's key"):
        key_id(BlockId("link-1", SESSION, number))


@pytest.mark.parametrize(
    ("link", "identifier"),
    [
        ("Link", KEY_ID),
        ("", KEY_ID),
        ("a:b", KEY_ID),
        ("link-1", ""),
        ("link-1", "7"),
        ("link-1", f"link-1/{KEY_ID}"),
    ],
)
def test_what_is_no_link_or_key_id_gets_no_identity(link: str, identifier: str) -> None:
    with pytest.raises(ValueError, match="does not name"):
        psk_identity(link, identifier)


@pytest.mark.parametrize(
    "identity",
    [
        f"qkd1:link-1:bob:{KEY_ID}",
        f"qkd1:link-1:eve:{KEY_ID}",
        f"qkd1:link-1:ALICE:{KEY_ID}",
        f"qkd1:link-2:alice:{KEY_ID}",
        f"qkd1:link-1x:alice:{KEY_ID}",
        f"qkd2:link-1:alice:{KEY_ID}",
        f"qkd1:link-1:alice:{SESSION}/07",
        f"qkd1:link-1:alice:{SESSION}/0",
        f"qkd1:link-1:alice:{SESSION}/-7",
        f"qkd1:link-1:alice:{SESSION}/\u0667",
        f"qkd1:link-1:alice:{SESSION.upper()}/7",
        f"qkd1:link-1:alice:{KEY_ID}\n",
        f"qkd1:link-1:alice:{KEY_ID}\0",
        f" qkd1:link-1:alice:{KEY_ID}",
        f"qkd1:link-1:alice:{KEY_ID}:alice:{KEY_ID}",
        f"qkd1:link-1:alice:{SESSION}/{'1' * 300}",
        KEY_ID,
        "",
    ],
)
def test_an_identity_of_another_role_link_version_or_form_names_no_key(identity: str) -> None:
    assert parse_identity(identity, "link-1") is None


@given(st.text())
def test_whatever_a_stranger_writes_either_is_an_identity_of_ours_or_names_no_key(identity: str) -> None:
    found = parse_identity(identity, "link-1")
    assert found is None or psk_identity("link-1", found) == identity


@given(st.from_regex(r"qkd1:[a-z0-9]{1,8}:(alice|bob):[0-9a-f]{32}/[0-9]{1,4}", fullmatch=True))
def test_one_key_has_one_identity(identity: str) -> None:
    link = identity.split(":")[1]
    found = parse_identity(identity, link)
    assert found is None or psk_identity(link, found) == identity
