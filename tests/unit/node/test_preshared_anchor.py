"""How a bootstrap with a pre-shared key tags its blocks: by file and scheme, and never twice with one pad."""

import stat
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from qkdlink.common.authentication.hmac_sha256 import HmacSha256
from qkdlink.common.authentication.scheme import Authentication, CheckpointScheme, SchemeName, Tag
from qkdlink.common.authentication.transcript import Transcript
from qkdlink.common.authentication.wegman_carter import WegmanCarter
from qkdlink.common.errors import CredentialsError, OutdatedStoreError, RemoteProtocolError, StarvationError
from qkdlink.common.keys.allotment import OF_ALICE, OF_BOB
from qkdlink.common.node.anchors.preshared import FilePads, PresharedAnchor
from qkdlink.common.node.vault import Vault
from qkdlink.common.protocol.roles import Role
from qkdlink.common.trust.preshared import PADS_FROM_BITS, PresharedSecret
from qkdlink.common.trust.used_marks import is_marked, mark, mark_of
from tests.support.stores import ALICE_OWNER, LINK, SESSION, block, open_store, secret

LONG, SHORT = PADS_FROM_BITS // 8, PADS_FROM_BITS // 8 - 1
TRANSCRIPT = Transcript(b"a block")
type Vaults = dict[Role, Vault]


@pytest.fixture
def vaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vaults]:
    monkeypatch.chdir(tmp_path)  # there both nodes have their file, and its mark
    with opened(tmp_path / "stores") as made:
        yield made


@contextmanager
def opened(folder: Path) -> Iterator[Vaults]:
    folder.mkdir(exist_ok=True)
    with ExitStack() as open_ones:
        made = {}
        for role in Role:
            name = role.word
            store = open_ones.enter_context(
                closing(open_store(folder / name, replace(ALICE_OWNER, node=name)))
            )
            made[role] = Vault(store, LINK, role, lambda *_, **__: None)
        yield made


def anchor(
    role: Role, length: int = LONG, scheme: SchemeName = SchemeName.WEGMAN_CARTER, first: int = 0
) -> PresharedAnchor:
    material = bytes((first + index) % 251 for index in range(length))
    names = role.word, role.peer.word
    return PresharedAnchor(role, LINK, *names, scheme, Path("pre-shared.key"), PresharedSecret(material))


def authentications(vaults: Vaults, **how: object) -> dict[Role, Authentication]:
    # what a line is to the anchor psk: nothing that its tags depend on
    return {role: anchor(role, **how).authentication(None, SESSION, vaults[role]) for role in Role}  # type: ignore[arg-type]


def both(vaults: Vaults, number: int = 1, **how: object) -> tuple[CheckpointScheme, CheckpointScheme]:
    made = authentications(vaults, **how)
    return made[Role.ALICE].of_block(number), made[Role.BOB].of_block(number)


def release(vaults: Vaults, number: int) -> None:
    for vault in vaults.values():
        vault.store.hold(block(number), secret(number, 4_000), 100, tags=True)
        vault.store.release(block(number))


async def ok(speaker: CheckpointScheme, hearer: CheckpointScheme, who: Role, position: int = 0) -> Tag:
    tag = await speaker.tag(who, position, TRANSCRIPT)
    assert await hearer.verify(who, position, TRANSCRIPT, tag)
    return tag


@pytest.mark.parametrize(
    ("length", "scheme", "kind", "name"),
    [
        (LONG, SchemeName.WEGMAN_CARTER, WegmanCarter, "pre-shared-wegman-carter"),
        (SHORT, SchemeName.WEGMAN_CARTER, HmacSha256, "pre-shared-hmac-sha256"),
        (LONG, SchemeName.GMAC, HmacSha256, "pre-shared-hmac-sha256"),
        (LONG, SchemeName.NONE, HmacSha256, "pre-shared-hmac-sha256"),
    ],
)
async def test_what_tags_the_bootstrap_follows_from_file_and_scheme_alike_on_both_sides(
    vaults: Vaults, length: int, scheme: SchemeName, kind: type, name: str
) -> None:
    made = authentications(vaults, length=length, scheme=scheme)
    for each in made.values():
        assert (type(each), each.name) == (kind, name)
    alice, bob = (made[role].of_block(1) for role in Role)
    for position in range(3):
        await ok(alice, bob, Role.ALICE, position)
        await ok(bob, alice, Role.BOB, position)


async def test_another_file_or_session_gives_no_tag_that_is_believed(vaults: Vaults) -> None:
    for length in (SHORT, LONG):
        alice, _ = both(vaults, length=length)
        other = anchor(Role.BOB, length, first=1).authentication(None, SESSION, vaults[Role.BOB]).of_block(1)  # type: ignore[arg-type]
        assert not await other.verify(Role.ALICE, 0, TRANSCRIPT, await alice.tag(Role.ALICE, 0, TRANSCRIPT))
    here, there = (
        anchor(Role.ALICE, SHORT).authentication(None, session, vaults[Role.ALICE]).of_block(1)  # type: ignore[arg-type]
        for session in (SESSION, SESSION[::-1])
    )
    assert not await there.verify(Role.ALICE, 0, TRANSCRIPT, await here.tag(Role.ALICE, 0, TRANSCRIPT))


async def test_no_pad_is_used_twice_over_lines_blocks_and_processes(vaults: Vaults) -> None:
    seen: set[str] = set()
    for number in (1, 2, 3):
        alice, bob = both(vaults, number)  # a line of its own for each
        for position in range(3):
            seen |= {(await ok(alice, bob, Role.ALICE, position)).pad}
    assert len(seen) == 6
    alice, _ = both(vaults, 4)
    used_up = r"the pads in its pre-shared key are used up: .*`qkdlink psk new`.*`qkdlink bootstrap --again` at both"
    with pytest.raises(StarvationError, match=used_up):
        await alice.tag(Role.ALICE, 0, TRANSCRIPT)
    for vault in vaults.values():
        vault.store.reopen_bootstrap()
    with pytest.raises(StarvationError, match="no generated key is left"):
        raise vaults[Role.BOB].starvation()


async def test_a_unit_that_the_peer_has_used_is_not_looked_up_again(vaults: Vaults) -> None:
    authentications(vaults)
    pads, name = FilePads(vaults[Role.BOB], Role.BOB, "bob", "alice"), "pre-shared/tags-alice-to-bob/0"
    assert await pads.look_up(name) is not None
    assert await pads.used(name, 1)
    with pytest.raises(RemoteProtocolError, match="names the unit"):
        await pads.look_up(name)
    assert not await pads.used(name, 1)


async def test_a_tag_that_is_repeated_in_another_block_is_refused(vaults: Vaults) -> None:
    made = authentications(vaults)
    tag = await ok(made[Role.ALICE].of_block(1), made[Role.BOB].of_block(1), Role.ALICE)
    with pytest.raises(RemoteProtocolError, match="which was used before"):
        await made[Role.BOB].of_block(2).verify(Role.ALICE, 0, TRANSCRIPT, tag)
    on_another_line = authentications(vaults)[Role.BOB].of_block(1)
    with pytest.raises(OutdatedStoreError, match="The key store of alice is older than what bob has seen"):
        await on_another_line.verify(Role.ALICE, 0, TRANSCRIPT, tag)


@pytest.mark.parametrize(
    "name",
    [
        "pre-shared/tags-bob-to-alice/0",  # his own
        "pre-shared/tags-alice-to-bob/99",
        "pre-shared/tags-alice-to-bob/00",
        "pre-shared/reserve-at-alice/0",
        "",
    ],
)
async def test_a_name_that_is_not_the_peers_to_use_gives_no_unit(vaults: Vaults, name: str) -> None:
    authentications(vaults)
    pads = FilePads(vaults[Role.BOB], Role.BOB, "bob", "alice")
    with pytest.raises(RemoteProtocolError, match="names the unit"):
        await pads.look_up(name)
    assert not await pads.used(name, 1)


async def test_what_was_said_before_the_latch_is_believed_after_it_and_blocks_go_on_with_generated_key(
    vaults: Vaults,
) -> None:
    alice, bob = both(vaults, 2)
    said = await bob.tag(Role.BOB, 0, TRANSCRIPT)
    release(vaults, 1)
    for vault in vaults.values():
        assert vault.blocks_payable() > 0
        vault.store.begin_epoch(block(1))
        assert not any(map(vault.store.pads.ahead, (*OF_ALICE, *OF_BOB)))
    assert await alice.verify(Role.BOB, 0, TRANSCRIPT, said)
    tag = await ok(alice, bob, Role.ALICE)
    assert tag.pad.startswith(f"{SESSION}/1/tags-alice-to-bob/")
    for position in (1, 2):
        await ok(alice, bob, Role.ALICE, position)
        await ok(bob, alice, Role.BOB, position)


async def test_no_line_of_an_epoch_believes_a_pad_of_the_file(vaults: Vaults) -> None:
    alice, _ = both(vaults)
    tag = await alice.tag(Role.ALICE, 0, TRANSCRIPT)
    keyed = WegmanCarter(vaults[Role.BOB]).of_block(1)
    with pytest.raises(RemoteProtocolError, match="names the unit"):
        await keyed.verify(Role.ALICE, 0, TRANSCRIPT, tag)


async def test_a_file_serves_one_bootstrap_and_the_sentence_asks_for_another(vaults: Vaults) -> None:
    authentications(vaults)
    for vault in vaults.values():
        vault.store.reopen_bootstrap()
    with pytest.raises(CredentialsError, match="make a new pre-shared key with `qkdlink psk new`"):
        authentications(vaults)
    assert authentications(vaults, scheme=SchemeName.GMAC), "as an HMAC's key it may serve again"
    assert authentications(vaults, first=7)


# --- a store that is lost ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", list(Role))
async def test_pads_that_a_lost_store_has_taken_are_refused_by_the_next_one(
    vaults: Vaults, tmp_path: Path, who: Role
) -> None:
    alice, bob = both(vaults)
    await ok(alice, bob, Role.ALICE)
    with opened(tmp_path / "made anew") as next_ones:
        store = next_ones[who].store
        for attempt in (
            lambda: anchor(who).authentication(None, SESSION, next_ones[who]),  # type: ignore[arg-type]
            lambda: anchor(who).check(store),
            lambda: anchor(who).check(None),
        ):
            with pytest.raises(
                CredentialsError, match=r"key\.used beside it says.*`qkdlink psk new`.* both ends"
            ):
                attempt()
        assert store.pads.left(OF_ALICE[0]) == store.pads.left(OF_BOB[0]) == 0
        assert authentications(next_ones, scheme=SchemeName.GMAC), "as an HMAC's key it may serve again"
        assert authentications(next_ones, first=7), "the mark of one file does not stand in another's way"


async def test_the_mark_is_on_disk_before_a_pad_can_be_taken_and_says_nothing_of_the_file(
    vaults: Vaults, tmp_path: Path
) -> None:
    file = tmp_path / "pre-shared.key"
    authentications(vaults, length=SHORT)
    assert not mark_of(file).exists(), "a file without pads is not marked"
    for _ in range(2):  # a second line of the same bootstrap adds nothing
        authentications(vaults)
    text = mark_of(file).read_text()
    assert len(text.split()) == len(set(text.split())) == 2, "each node takes its own half"
    assert stat.S_IMODE(mark_of(file).stat().st_mode) == 0o600
    digits = anchor(Role.ALICE).secret.material.hex()
    assert not any(digits[start : start + 16] in text for start in range(0, len(digits), 16))


async def test_no_pad_is_given_out_that_cannot_be_marked(vaults: Vaults, tmp_path: Path) -> None:
    mark_of(tmp_path / "pre-shared.key").mkdir()
    with pytest.raises(CredentialsError, match=r"pre-shared\.key\.used"):
        authentications(vaults)


async def test_what_a_power_failure_has_cut_short_in_a_mark_does_not_hide_the_next_line(
    tmp_path: Path,
) -> None:
    file = tmp_path / "pre-shared.key"
    mark_of(file).write_text("half a li")
    mark(file, "a-name/tags-alice-to-bob")
    assert is_marked(file, "a-name/tags-alice-to-bob")
    assert not is_marked(file, "a-name/tags-bob-to-alice")
