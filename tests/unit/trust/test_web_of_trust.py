import asyncio
import re
import stat
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkdlink.common.errors import CredentialsError
from qkdlink.common.protocol.roles import Role
from qkdlink.common.trust import openpgp
from qkdlink.common.trust.algorithms import KeyAlgorithm
from qkdlink.common.trust.card_holder import CardHolder
from qkdlink.common.trust.node_card import LARGEST_CARD_BYTES, CardRole, NodeCard, SignedCard, user_id
from qkdlink.common.trust.openpgp import Keyring
from qkdlink.common.trust.pki import Validity
from qkdlink.common.trust.self_signed import self_signed
from qkdlink.common.trust.web_of_trust import check_place, check_user_id, signing_key, verify_card
from qkdlink.deployment.certificates.openpgp_signing import signing_in
from tests.support.processes import until
from tests.support.society import LINK, Person, Society, introduce, meet, needs_gpg, person, society

YEAR = Validity.days(365)
ALICE_ID = user_id(LINK, "alice")
FINGERPRINT = "835B7C469A6969165CC95E291C98FC0898B36318"


# --- what gpg says ----------------------------------------------------------------------------------------


def status(*lines: str) -> str:
    return "".join(f"[GNUPG:] {line}\n" for line in lines)


GOOD = (
    "NEWSIG",
    f"KEY_CONSIDERED {FINGERPRINT} 0",
    f"GOODSIG 1C98FC0898B36318 {ALICE_ID}",
    f"VALIDSIG {FINGERPRINT} 2026-11-22 1795336433 0 4 0 22 8 00 {FINGERPRINT}",
    "TRUST_FULLY 0 pgp",
)


def test_one_good_valid_and_fully_trusted_signature_names_its_key() -> None:
    assert signing_key(status(*GOOD)) == FINGERPRINT
    assert signing_key(status(*GOOD[:-1], "TRUST_ULTIMATE 0 pgp")) == FINGERPRINT


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ((*GOOD[:-1], "TRUST_MARGINAL 0 pgp"), "marginal trust only"),
        ((*GOOD[:-1], "TRUST_UNDEFINED 0 pgp"), "no introducer"),
        ((*GOOD[:-1], "TRUST_NEVER 0 pgp"), "never to be trusted"),
        (GOOD[:-1], "no introducer"),
        ((*GOOD, "REVKEYSIG 1C98FC0898B36318 x"), "has been revoked"),
        ((*GOOD, "EXPKEYSIG 1C98FC0898B36318 x"), "has expired"),
        ((*GOOD, "EXPSIG 1C98FC0898B36318 x"), "its signature has expired"),
        ((*GOOD, "BADSIG 1C98FC0898B36318 x"), "was altered"),
        (("NEWSIG", "ERRSIG 1C98 22 8 00 1 9 -", "NO_PUBKEY 1C98"), "does not have the key"),
        ((*GOOD, *GOOD), "several signatures"),
        ((*GOOD, GOOD[2]), "could not judge"),
        ((*GOOD, GOOD[3]), "could not judge"),
        ((*GOOD[:2], *GOOD[3:]), "could not judge"),
        ((*GOOD[:3], GOOD[4]), "could not judge"),
        ((*GOOD[:3], "VALIDSIG short", GOOD[4]), "could not judge"),
        (("NODATA 4",), "no OpenPGP signature"),
        ((*GOOD, "PLAINTEXT 62 0 d"), "something else than a detached"),
        ((*GOOD, "FAILURE gpg-exit 33554433"), "could not judge"),
        ((), "could not judge"),
        ((*GOOD[:3], GOOD[3].replace(" 00 ", " 01 "), GOOD[4]), "not one over the bytes"),
    ],
)
def test_whatever_speaks_against_a_signature_refuses_it(lines: tuple[str, ...], reason: str) -> None:
    with pytest.raises(CredentialsError, match=reason):
        signing_key(status(*lines))


@given(st.permutations(GOOD), st.data())
def test_no_part_of_the_verdict_may_be_missing(lines: list[str], data: st.DataObject) -> None:
    missing = data.draw(st.sampled_from(GOOD[2:]))
    with pytest.raises(CredentialsError):
        signing_key(status(*(line for line in lines if line != missing)))


def test_words_that_are_not_status_lines_count_for_nothing() -> None:
    with pytest.raises(CredentialsError, match="could not judge"):
        signing_key("\n".join(GOOD))


def listing(*uids: tuple[str, str], capabilities: str = "scSC") -> str:
    key = f"pub:f:255:22:1C98FC0898B36318:1795336432:1826872432::-:::{capabilities}:::::ed25519:::0:\n"
    return key + "".join(f"uid:{validity}::::1795336432::01::{uid}::::::::::0:\n" for validity, uid in uids)


@pytest.mark.parametrize("validity", ["f", "u"])
def test_a_user_id_counts_if_it_is_fully_valid(validity: str) -> None:
    check_user_id(listing(("-", "somebody"), (validity, ALICE_ID)), ALICE_ID)


@pytest.mark.parametrize(
    ("shown", "reason"),
    [
        (listing(("f", "qkdlink node mallory of link-1"), ("-", ALICE_ID)), "no introducer .* the user id"),
        (listing(("m", ALICE_ID)), "no introducer"),
        (listing(("r", ALICE_ID)), "no introducer"),
        (listing(("e", ALICE_ID)), "no introducer"),
        (listing(("f", f"{ALICE_ID} and of others")), "has no user id"),
        (listing(("f", "qkdlink node alice of link-2")), "has no user id"),
        (listing(("f", ALICE_ID), capabilities="scSCD"), "disabled"),
        (listing(("f", ALICE_ID)) * 2, "could not find"),
        ("", "could not find"),
    ],
)
def test_a_user_id_that_is_not_fully_valid_is_refused(shown: str, reason: str) -> None:
    with pytest.raises(CredentialsError, match=reason):
        check_user_id(shown, ALICE_ID)


# --- cards ------------------------------------------------------------------------------------------------


def card(link: str = LINK, node: str = "alice", role: CardRole = CardRole.ALICE) -> NodeCard:
    return NodeCard.about(link, node, role, YEAR, self_signed(node, YEAR, KeyAlgorithm.P256)[1])


SIGNED = SignedCard(card=card(), signature="-----BEGIN PGP SIGNATURE-----\n")


def test_a_card_says_the_same_after_its_way_through_a_file() -> None:
    again = SignedCard.parse(SIGNED.to_bytes())
    assert again == SIGNED
    assert again.card.signed_bytes() == SIGNED.card.signed_bytes()
    assert again.card.signed_bytes().startswith(b"qkdlink node card v1\n{")


def test_each_value_of_a_card_is_under_the_signature() -> None:
    mine, others = card(), (card(link="link-2"), card(node="bob"), card(role=CardRole.BOB), card())
    later = mine.model_copy(update={"ends": "2999-01-01T00:00:00Z"})
    earlier = mine.model_copy(update={"begins": "1999-01-01T00:00:00Z"})
    signed = [each.signed_bytes() for each in (mine, *others, later, earlier)]
    assert len(set(signed)) == len(signed)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda text: text.replace('"link"', '"lunk"'), "not a node card"),
        (lambda text: text.replace("link-1", "Link 1"), "card.link"),
        (lambda text: text.replace('"role": "alice"', '"role": "eve"'), "card.role"),
        (lambda text: text.replace("-----BEGIN CERT", "-----BEGIN SERT"), "not a node card"),
        (lambda text: text.replace('"node": "alice"', '"node": "bob"'), "another name than the card"),
        (lambda text: re.sub(r'"ends": "[^"]*"', '"ends": "1999-01-01T00:00:00Z"', text), "ends after it"),
        (lambda text: re.sub(r'"ends": "[^"]*"', '"ends": "2999-02-31T00:00:00Z"', text), "not a node card"),
        (lambda text: re.sub(r'"ends": "[^"]*"', '"ends": "tomorrow"', text), "card.ends"),
        (lambda text: text.replace('"signature": "', '"signature": "\\u0000'), "signature"),
        (lambda text: text + " " * LARGEST_CARD_BYTES, "at most"),
        (lambda _: "[]", "not a node card"),
        (lambda _: "{", "not a node card"),
        (lambda _: "\x00\xff", "not a node card"),
    ],
)
def test_a_strangers_card_with_a_fault_is_one_sentence(spoil: Callable[[str], str], reason: str) -> None:
    with pytest.raises(CredentialsError, match=reason) as refused:
        SignedCard.parse(spoil(SIGNED.to_bytes().decode()).encode("latin-1"))
    assert "\n" not in str(refused.value)


@given(st.binary(max_size=200))
def test_no_bytes_of_a_stranger_are_a_fault_of_ours(data: bytes) -> None:
    with pytest.raises(CredentialsError):
        SignedCard.parse(data)


def test_two_certificates_on_a_card_are_one_too_many() -> None:
    certificate = self_signed("alice", YEAR, KeyAlgorithm.P256)[1]
    with pytest.raises(CredentialsError, match="one certificate"):
        NodeCard.about(LINK, "alice", CardRole.ALICE, YEAR, certificate * 2)


NOW = datetime.now(UTC)


@pytest.mark.parametrize(
    ("shown", "when", "reason"),
    [
        (card(link="link-2"), NOW, 'for the link "link-2", but this link is "link-1"'),
        (card(node="eve"), NOW, 'for the node "eve", but this node expects "alice"'),
        (card(role=CardRole.BOB), NOW, "alice is the link's bob, but it has to be its alice"),
        (card(), NOW + timedelta(days=366), "expired at"),
        (card(), NOW - timedelta(days=1), "not valid before"),
    ],
)
def test_a_card_for_another_place_or_time_is_refused(shown: NodeCard, when: datetime, reason: str) -> None:
    with pytest.raises(CredentialsError, match=reason):
        check_place(shown, LINK, "alice", CardRole.ALICE, when)


def test_a_card_for_this_place_and_time_is_not_refused() -> None:
    check_place(card(), LINK, "alice", CardRole.ALICE, NOW)


# --- GnuPG itself -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Society:
    return society(tmp_path_factory.mktemp("society"))


def alices_card(people: Society) -> SignedCard:
    return SignedCard.read(people.alice.files().card)


async def refused(shown: SignedCard, keyring: Path, reason: str) -> None:
    with pytest.raises(CredentialsError, match=f"the card of .* is not accepted: .*{reason}"):
        await verify_card(shown, Keyring.open(keyring))


def signed_by(who: Person, *options: str, of: str = "alice") -> SignedCard:
    """Alice's card, but signed by somebody else, or otherwise."""
    shown = card(node=of, role=CardRole.ALICE)
    with who.hand() as hand:
        kind = () if "--sign" in options else ("--detach-sign",)
        signature = hand.gpg("--armor", *options, *kind, data=shown.signed_bytes())
    return SignedCard(card=shown, signature=signature.decode())


@needs_gpg
async def test_a_card_is_accepted_on_the_word_of_an_introducer_who_is_trusted_fully(people: Society) -> None:
    await verify_card(alices_card(people), Keyring.open(people.bob.keyring))
    await verify_card(SignedCard.read(people.bob.files().card), Keyring.open(people.alice.keyring))


@needs_gpg
async def test_without_an_introducer_a_card_is_refused(people: Society) -> None:
    alone = person(people.folder, "alone", "somebody")
    await refused(alices_card(people), alone.keyring, "does not have the key")
    with alone.hand() as hand:
        hand.gpg("--import", data=people.alice.public)
    await refused(alices_card(people), alone.keyring, "no introducer whom this node's keyring trusts")
    with alone.hand() as hand:  # knowing an introducer is not trusting one
        hand.gpg("--import", data=people.introducer.public)
        hand.gpg("--quick-lsign-key", people.introducer.key)
    await refused(alices_card(people), alone.keyring, "no introducer whom this node's keyring trusts")


@needs_gpg
async def test_a_marginal_introducer_is_not_enough(people: Society) -> None:
    keyring = people.keyring("marginal", people.bob)
    with signing_in(keyring) as hand:
        hand.gpg("--import-ownertrust", data=f"{people.introducer.key}:4:\n".encode())
    await refused(alices_card(people), keyring, "marginal trust only")


@needs_gpg
async def test_a_revoked_key_is_refused(people: Society) -> None:
    keyring = people.keyring("revoked", people.bob)
    with signing_in(keyring) as hand:
        hand.gpg("--import", data=revocation(people.alice))
    await refused(alices_card(people), keyring, "has been revoked")


@needs_gpg
async def test_a_revoked_introducer_vouches_for_nobody(people: Society) -> None:
    keyring = people.keyring("revoked-introducer", people.bob)
    with signing_in(keyring) as hand:
        hand.gpg("--import", data=revocation(people.introducer))
    await refused(alices_card(people), keyring, "no introducer")


def revocation(who: Person) -> bytes:
    """The certificate that gpg prepares for every new key, made usable as it says itself."""
    text = (who.keyring / "openpgp-revocs.d" / f"{who.key}.rev").read_text()
    return text.replace(":-----BEGIN", "-----BEGIN").encode()


@needs_gpg
async def test_an_expired_key_and_an_expired_signature_are_refused(people: Society) -> None:
    then = ("--faked-system-time", "20200101T120000!")
    old = person(people.folder, "old", "nobody yet")
    keyring = people.keyring("knows-the-old", people.bob)
    for ends, options, reason in (
        ("1d", (), "the key that signed it has expired"),
        ("0", ("--default-sig-expire", "1d"), "its signature has expired"),
    ):
        with old.hand() as hand:
            hand.gpg(
                *(*then, "--pinentry-mode", "loopback", "--passphrase", ""),
                *("--quick-generate-key", f"old for {ends}", "ed25519", "sign", ends),
            )
            public = hand.gpg("--export", f"=old for {ends}")
        shown = signed_by(old, *then, *options, "--local-user", f"=old for {ends}")
        with signing_in(keyring) as hand:
            hand.gpg("--import", data=public)
        await refused(shown, keyring, reason)


@needs_gpg
async def test_an_altered_card_is_refused(people: Society) -> None:
    shown = alices_card(people)
    altered = shown.model_copy(update={"card": card()})
    await refused(altered, people.bob.keyring, "was altered")


@needs_gpg
async def test_a_strangers_signature_is_refused_whomever_the_card_names(people: Society) -> None:
    stranger = person(people.folder, "stranger", ALICE_ID)
    await refused(signed_by(stranger), people.bob.keyring, "does not have the key")


@needs_gpg
async def test_a_node_that_the_introducer_knows_cannot_show_a_card_of_another(people: Society) -> None:
    await refused(signed_by(people.bob), people.bob.keyring, f'has no user id "{ALICE_ID}"')


@needs_gpg
async def test_a_user_id_that_a_known_key_gives_itself_is_refused_although_gpg_trusts_the_key(
    people: Society,
) -> None:
    mallory = person(people.folder, "mallory", user_id(LINK, "mallory"))
    introduce(people.introducer, mallory)
    keyring = people.keyring("knows-mallory", people.bob)
    with mallory.hand() as hand:
        hand.gpg("--quick-add-uid", mallory.key, ALICE_ID)
        renamed = hand.gpg("--export", mallory.key)
    with people.introducer.hand() as hand:
        known = hand.gpg("--export", mallory.key)
    with signing_in(keyring) as hand:
        hand.gpg("--import", data=known)
        hand.gpg("--import", data=renamed)
    shown = signed_by(mallory)
    said = await Keyring.open(keyring).verify(shown.card.signed_bytes(), shown.signature)
    assert signing_key(said) == mallory.key, "gpg itself would be content"
    await refused(shown, keyring, f'no introducer .* certified the user id "{ALICE_ID}"')
    await verify_card(signed_by(mallory, of="mallory"), Keyring.open(keyring))


@needs_gpg
async def test_a_key_that_was_disabled_is_refused(people: Society) -> None:
    keyring = people.keyring("disabled", people.bob)
    with signing_in(keyring) as hand:
        hand.gpg("--edit-key", people.alice.key, "disable", "save")
    await refused(alices_card(people), keyring, "has been disabled")


@needs_gpg
async def test_several_signatures_or_none_or_another_kind_are_refused(people: Society) -> None:
    keyring = people.bob.keyring
    shown = signed_by(people.alice)
    await verify_card(shown, Keyring.open(keyring))
    with people.alice.hand() as hand:
        hand.gpg(
            *("--pinentry-mode", "loopback", "--passphrase", ""),
            *("--quick-generate-key", "a second key", "ed25519", "sign", "1y"),
        )
    twice = signed_by(people.alice, "--local-user", people.alice.key, "--local-user", "=a second key")
    await refused(twice, keyring, "several signatures")
    await refused(
        signed_by(people.alice, "--sign"), keyring, "something else than a detached|could not judge"
    )
    await refused(signed_by(people.alice, "--textmode"), keyring, "not one over the bytes")
    await refused(shown.model_copy(update={"signature": "x\n"}), keyring, "no OpenPGP signature")
    await refused(shown.model_copy(update={"signature": people.alice.public.hex()}), keyring, "no OpenPGP")


@needs_gpg
@pytest.mark.parametrize("temporary", ["", "t" * 120])
def test_a_home_and_a_tmpdir_of_any_length_can_sign_and_no_agent_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, temporary: str
) -> None:
    (tmp_path / temporary).mkdir(exist_ok=True)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / temporary))
    long = tmp_path / ("a" * 120)
    who = person(long, "alice", ALICE_ID)
    assert signed_by(who).card.node == "alice"
    deadline = time.monotonic() + 10
    while list(who.keyring.glob("S.gpg-agent*")):  # an agent that ends takes its sockets with it
        assert time.monotonic() < deadline, "an agent was left"
        time.sleep(0.01)


# --- a gpg that misbehaves --------------------------------------------------------------------------------


def fake_gpg(folder: Path, body: str) -> Keyring:
    program = folder / "gpg"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    return Keyring(folder, str(program))


def pid(folder: Path) -> str:
    file = folder / "pid"
    return file.read_text().strip() if file.exists() else ""


def has_ended(folder: Path) -> bool:
    return pid(folder) != "" and not Path("/proc", pid(folder)).exists()


async def test_a_gpg_that_does_not_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openpgp, "TIME_LIMIT_S", 0.2)
    keyring = fake_gpg(tmp_path, f"echo $$ > {tmp_path}/pid; exec sleep 60")
    with pytest.raises(CredentialsError, match=r"has not judged the signature within 0\.2 s"):
        await keyring.verify(b"card", "signature")
    assert has_ended(tmp_path)


async def test_a_gpg_that_talks_without_end_is_ended(tmp_path: Path) -> None:
    keyring = fake_gpg(tmp_path, f"echo $$ > {tmp_path}/pid; exec yes '[GNUPG:] NEWSIG'")
    with pytest.raises(CredentialsError, match="more to say"):
        await keyring.verify(b"card", "signature")
    assert has_ended(tmp_path)


async def test_whoever_is_given_up_takes_the_gpg_with_it(tmp_path: Path) -> None:
    keyring = fake_gpg(tmp_path, f"echo $$ > {tmp_path}/pid; exec sleep 60")
    waiting = asyncio.create_task(keyring.verify(b"card", "signature"))
    await until(lambda: pid(tmp_path) != "", "the start of gpg")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert has_ended(tmp_path)


async def test_strangers_cannot_have_more_than_two_at_work(tmp_path: Path) -> None:
    """Each run leaves how many it has seen beside itself."""
    (tmp_path / "now").mkdir()
    keyring = fake_gpg(
        tmp_path, f"touch {tmp_path}/now/$$; sleep 0.05; ls {tmp_path}/now | wc -l; rm {tmp_path}/now/$$"
    )
    seen = await asyncio.gather(*(keyring.listing(FINGERPRINT) for _ in range(12)))
    assert max(int(count) for count in seen) <= openpgp.MOST_AT_ONCE


async def test_gpg_is_told_to_ask_nobody_and_to_read_no_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GNUPGHOME", "/elsewhere")
    said = await fake_gpg(tmp_path, 'echo "$@"; echo "home:$GNUPGHOME"').listing(FINGERPRINT)
    for option in ("--no-options", "--batch", "--disable-dirmngr", "--no-auto-key-retrieve", "--no-tty"):
        assert option in said.split()
    assert f"--homedir {tmp_path}" in said
    assert "home:\n" in said


def test_without_gnupg_the_anchor_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CredentialsError, match="no gpg here: install the package gnupg"):
        Keyring.open(tmp_path)


@needs_gpg
@pytest.mark.parametrize("mode", [0o750, 0o705, 0o777])
def test_a_keyring_that_others_can_look_into_is_refused(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    with pytest.raises(CredentialsError, match="chmod 700"):
        Keyring.open(tmp_path)
    with pytest.raises(CredentialsError, match="cannot be opened"):
        Keyring.open(tmp_path / "missing")


# --- what a node has --------------------------------------------------------------------------------------


@needs_gpg
def test_a_node_starts_with_its_own_card_alone(people: Society, tmp_path: Path) -> None:
    files = people.alice.files()
    own = people.holder(Role.ALICE)
    assert stat.S_IMODE(files.private_key.stat().st_mode) == 0o600
    assert "PRIVATE" not in repr(own)
    for link, names, role, reason in (
        ("link-2", ("alice", "bob"), Role.ALICE, "for the link"),
        (LINK, ("eve", "bob"), Role.ALICE, "for the node"),
        (LINK, ("alice", "bob"), Role.BOB, "it has to be its bob"),
        (LINK, ("alice", "alice"), Role.ALICE, "both called"),
    ):
        with pytest.raises(CredentialsError, match=reason):
            CardHolder.load(files, link, names, role, datetime.now(UTC))
    with pytest.raises(CredentialsError, match="expired at"):
        CardHolder.load(files, LINK, ("alice", "bob"), Role.ALICE, datetime.now(UTC) + timedelta(days=400))
    bobs = people.bob.files()
    for spoilt, reason in (
        ({"card": tmp_path / "none"}, "qkdlink web-of-trust card"),
        ({"certificate": bobs.certificate}, "is not the certificate on"),
        ({"private_key": bobs.private_key}, "is not the key of"),
    ):
        with pytest.raises(CredentialsError, match=reason):
            CardHolder.load(replace(files, **spoilt), LINK, ("alice", "bob"), Role.ALICE, datetime.now(UTC))


@needs_gpg
async def test_a_nodes_own_card_that_comes_back_is_refused(people: Society) -> None:
    with pytest.raises(CredentialsError, match="leads back to this very node"):
        await people.holder(Role.ALICE).accept(alices_card(people), datetime.now(UTC))


@needs_gpg
async def test_whoever_meets_the_introducer_later_is_known_from_then_on(people: Society) -> None:
    late = person(people.folder, "late", "somebody who is late")
    await refused(alices_card(people), late.keyring, "does not have the key")
    meet(late, people.introducer)
    await verify_card(alices_card(people), Keyring.open(late.keyring))
