"""Links that begin with a secret delivered by hand, or with nobody's word: a broker, two nodes, real sockets.

Where a test asks what a link comes to, its nodes are processes; elsewhere they are tasks of this one.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from qkdlink.commands import keys as keys_command
from qkdlink.common.authentication.scheme import SchemeName
from qkdlink.common.errors import ConfigurationError
from qkdlink.common.journal.events import BootstrapClosed, EpochBegan, NodeStarted, PeerRefused
from qkdlink.common.keys.allotment import Purpose
from qkdlink.common.keys.identifiers import BlockId
from qkdlink.common.store.key_store import KeyStore
from qkdlink.common.transport.connections import is_anybody_at
from qkdlink.common.trust.anchor import AnchorName
from qkdlink.common.trust.preshared import PADS_FROM_BITS, PRESHARED_FILE, PresharedSecret, create_preshared
from qkdlink.common.trust.private_files import NewFile, write_new
from qkdlink.deployment.homes.home import LinkHome, open_home
from qkdlink.deployment.homes.names import ALICE, BOB
from qkdlink.deployment.homes.security import Security
from qkdlink.deployment.launching.link_result import LinkResult, run_to_the_end
from qkdlink.deployment.launching.link_run import LinkRun
from tests.support.processes import Bench, bench, small_parameters, until

TINY = small_parameters(pulses=60_000)
NODES = (ALICE, BOB)
LONG = PADS_FROM_BITS + 1024


async def run(folder: Path, security: Security, bits: int | None = None, blocks: int = 4) -> LinkResult:
    home = open_home(folder)
    if bits is not None:
        give(home.folder, bits)
    return await run_to_the_end(home, LinkRun(TINY, blocks=blocks, security=security))


def give(home: Path, bits: int) -> PresharedSecret:
    """Make a pre-shared key and carry it to both nodes, in place of the last."""
    for name in NODES:
        (LinkHome(home).node(name) / PRESHARED_FILE).unlink(missing_ok=True)
    hers, his = (LinkHome(home).node(name) / PRESHARED_FILE for name in (ALICE, BOB))
    create_preshared(hers, bits)
    write_new(NewFile(his, hers.read_bytes()))
    return PresharedSecret.load(hers)


@asynccontextmanager
async def psk_link(folder: Path, bits: int = 256, **alice: object) -> AsyncIterator[Bench]:
    async with bench(folder / "home", TINY) as link:
        for name in NODES:
            link.change(name, {"trust": {"anchor": "psk"}})
        link.change(ALICE, {"blocks": 2, "blocks_in_flight": 1, "classical": {"patience_s": 5}, **alice})
        give(link.home.folder, bits)
        yield link


async def to_the_end(link: Bench) -> None:
    """Run both nodes until Alice has made her blocks and Bob has settled them."""
    bob, alice = link.start_here(BOB), link.start_here(ALICE)
    await alice.task
    await until(lambda: len(link.journal(BOB).blocks) == len(link.journal(ALICE).blocks), "Bob's last block")
    await bob.stop()
    assert alice.fingerprint == bob.fingerprint is not None


def kinds(link: Bench, name: str) -> list[str]:
    return [began.authenticated_by for began in link.journal(name).of(EpochBegan)]


def by(link: Bench, name: str) -> list[str]:
    return [ended.authenticated_by for ended in link.journal(name).blocks.values()]


def spellings(secret: PresharedSecret) -> list[str]:
    digits = secret.material.hex()
    return [digits[start : start + 16] for start in range(0, len(digits), 16)]


# --- a pre-shared key --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bits", "named"), [(256, "pre-shared-hmac-sha256"), (LONG, "pre-shared-wegman-carter")]
)
async def test_a_secret_delivered_by_hand_begins_a_link_that_goes_on_by_itself(
    tmp_path: Path, bits: int, named: str
) -> None:
    result = await run(tmp_path / "home", Security(AnchorName.PSK), bits)
    told = result.as_json()
    assert result.keys_equal
    assert told["bootstrap"]["anchor"] == "psk"
    assert told["unauthenticated"] is False
    authenticated_by = [block["authenticated_by"] for block in told["blocks"]]
    assert (authenticated_by[0], authenticated_by[-1]) == (named, "wegman-carter")
    began = [(epoch["authenticated_by"], epoch["key_id"] is None) for epoch in told["epochs"]]
    assert began[:2] == [("tls-psk", True), ("tls-psk", False)]
    secret = PresharedSecret.load(LinkHome(tmp_path / "home").node(ALICE) / PRESHARED_FILE)
    for name in NODES:
        with closing(KeyStore.of(LinkHome(tmp_path / "home").node(name))) as store:
            assert not store.unauthenticated
            assert store.pads.left(Purpose.TAGS_ALICE_TO_BOB) == 0, "what is left is burnt"
            balance = store.balance()
        assert balance.produced_bits == result.secret_bits
        journal = (LinkHome(tmp_path / "home").node(name) / "journal.jsonl").read_text()
        assert not any(digits in journal for digits in spellings(secret))


async def test_another_secret_is_refused_and_both_ends_say_why(tmp_path: Path) -> None:
    async with psk_link(tmp_path) as link:
        secret = give(link.home.folder, 256)
        (link.home.node(ALICE) / PRESHARED_FILE).unlink()
        create_preshared(link.home.node(ALICE) / PRESHARED_FILE, 256)
        link.start_here(BOB)
        await until_listening(link)
        words = await link.start_here(ALICE, classical={"patience_s": 0.5}).last_words()
        assert "line was closed at the offer of the pre-shared key of the bootstrap" in words
        refused = link.journal(BOB).of(PeerRefused)[-1]
        assert "names the pre-shared key of the bootstrap, but has another key" in refused.reason
        assert not any(digits in words + refused.reason for digits in spellings(secret))


async def until_listening(link: Bench) -> None:
    for _ in range(500):
        if await is_anybody_at(link.bootstrap.host, link.bootstrap.port):
            break
    await until(lambda: bool(link.journal(BOB).of(NodeStarted)), "Bob's start")


@pytest.mark.parametrize(
    ("text", "mode", "sentence"),
    [(None, 0o600, "does not exist"), ("5e" * 32, 0o644, "is open to others"), ("5e", 0o600, "holds 8 bits")],
)
async def test_a_file_that_will_not_do_ends_a_node_before_it_has_spoken(
    tmp_path: Path, text: str | None, mode: int, sentence: str
) -> None:
    async with psk_link(tmp_path) as link:
        for name in NODES:
            file = link.home.node(name) / PRESHARED_FILE
            file.unlink()
            if text is not None:
                file.write_text(text)
                file.chmod(mode)
            words = await link.start_here(name).last_words()
            assert f"{PRESHARED_FILE} {sentence}" in words
            assert not link.journal(name).events


async def test_after_the_latch_the_secret_opens_nothing_and_is_not_needed(tmp_path: Path) -> None:
    async with psk_link(tmp_path) as link:
        await to_the_end(link)
        secret = PresharedSecret.load(link.home.node(ALICE) / PRESHARED_FILE)
        for name in NODES:
            (link.home.node(name) / PRESHARED_FILE).unlink()
        await to_the_end(link)
        for name in NODES:
            assert kinds(link, name)[0] == "tls-psk"
            assert link.journal(name).of(EpochBegan)[-1].key_id is not None
        # somebody who has the secret and lost, or never had, the keys
        for file in ("store.db", "store.key"):
            (link.home.node(ALICE) / file).unlink()
        (link.home.node(ALICE) / PRESHARED_FILE).write_text(secret.material.hex())
        (link.home.node(ALICE) / PRESHARED_FILE).chmod(0o600)
        link.start_here(BOB)
        await until(lambda: len(link.journal(BOB).of(NodeStarted)) == 3, "Bob's start")
        assert "bootstrap --again" in await link.start_here(ALICE, classical={"patience_s": 0.5}).last_words()


async def test_the_pads_of_a_file_serve_one_bootstrap_and_a_new_file_the_next(tmp_path: Path) -> None:
    async with psk_link(tmp_path, LONG) as link:
        await to_the_end(link)
        for name in NODES:
            keys_command.bootstrap(link.home.node(name), again=True)
        bob = link.start_here(BOB)
        words = await link.start_here(ALICE).last_words()
        assert "make a new pre-shared key with `qkdlink psk new`" in words
        assert "make a new pre-shared key" in await bob.last_words()
        give(link.home.folder, LONG)
        await to_the_end(link)
        for name in NODES:
            assert by(link, name).count("pre-shared-wegman-carter") >= 2
            assert len(set(link.journal(name).keys)) == len(link.journal(name).keys) == 4


# --- nobody ------------------------------------------------------------------------------------------------------


async def test_a_link_that_trusts_anybody_makes_keys_that_no_application_gets(tmp_path: Path) -> None:
    security = Security(AnchorName.NONE, SchemeName.WEGMAN_CARTER)
    result = await run(tmp_path / "home", security, blocks=3)
    told = result.as_json()
    assert result.keys_equal
    assert told["blocks"][0]["authenticated_by"] == "none"
    assert told["unauthenticated"] is True
    assert told["epochs"][0]["authenticated_by"] == "tls-without-authentication"
    assert told["epochs"][1]["authenticated_by"] == "tls-psk"
    for name in NODES:
        folder = LinkHome(tmp_path / "home").node(name)
        with closing(KeyStore.of(folder)) as store:
            assert store.unauthenticated
            assert store.vouched().anchor == "none"
            for block in told["blocks"]:
                link, session, number = block["block_id"].split("/")
                with pytest.raises(ConfigurationError, match="without authentication"):
                    store.deliver(BlockId(link, session, int(number)), Purpose.APPLICATIONS_AT_ALICE)
        assert '"unauthenticated":true' in (folder / "journal.jsonl").read_text()
    again = await run(tmp_path / "home", Security(AnchorName.PKI), blocks=1)
    assert again.as_json()["bootstrap"]["anchor"] == "none", "certificates have vouched for nothing here"


async def test_what_one_anchor_has_begun_is_not_told_as_another_s(tmp_path: Path) -> None:
    """A block under none, and then certificates, of which none is ever shown: the block's key opens the line."""
    async with bench(tmp_path / "home", TINY) as link:
        nobody: dict[str, Any] = {"trust": {"anchor": "none", "insecure_no_authentication": True}}
        bob, alice = (link.start_here(name, **nobody) for name in (BOB, ALICE))
        await alice.task
        await until(lambda: len(link.journal(BOB).blocks) == 1, "Bob's block")
        await bob.stop()
        assert not link.journal(ALICE).of(BootstrapClosed)
        await to_the_end(link)
        for name in NODES:
            (closed,) = link.journal(name).of(BootstrapClosed)
            assert (closed.anchor, closed.blocks) == ("none", 1)
        for name in NODES:
            keys_command.bootstrap(link.home.node(name), again=True)
        link.change(ALICE, {"blocks": 2, "blocks_in_flight": 1, "rekey_blocks": 1})
        await to_the_end(link)
        for name in NODES:
            _, closed = link.journal(name).of(BootstrapClosed)
            assert (closed.anchor, closed.blocks) == ("pki", 1), "of this bootstrap alone"
