"""Whole links over a real broker and real TLS: one per scheme, and links that cannot pay for their tags any more."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from qkdlink.common.authentication import ed25519
from qkdlink.common.authentication.scheme import SchemeName
from qkdlink.common.journal.event import Event
from qkdlink.common.journal.events import BlockEnded, BlockOpened, Entry, EpochBegan, PeerRefused, ReserveLow
from qkdlink.common.keys.allotment import OF_ALICE, OF_BOB
from qkdlink.common.node.vault import Vault
from qkdlink.common.protocol.aborts import AbortReason
from qkdlink.common.store.key_store import KeyStore
from qkdlink.common.store.owner import StoreOwner
from qkdlink.deployment.homes.names import ALICE, BOB
from tests.support.processes import Bench, bench, small_parameters, until
from tests.support.stores import LINK, block, secret

SMALL = small_parameters(pulses=100_000)


def authenticated(scheme: SchemeName) -> dict[str, Any]:
    return {"authentication": {"scheme": scheme}}


async def both_done(link: Bench, scheme: SchemeName) -> tuple[str | None, str | None]:
    """Run both nodes until Alice has made her blocks and Bob has settled them; return their fingerprints."""
    bob, alice = (link.start_here(name, **authenticated(scheme)) for name in (BOB, ALICE))
    await alice.task
    await until(lambda: len(link.journal(BOB).blocks) == len(link.journal(ALICE).blocks), "Bob's last block")
    await bob.stop()
    return alice.fingerprint, bob.fingerprint


@pytest.mark.parametrize("scheme", SchemeName)
async def test_a_link_makes_keys_under_every_scheme(tmp_path: Path, scheme: SchemeName) -> None:
    async with bench(tmp_path / "home", SMALL, blocks=3, blocks_in_flight=1, rekey_blocks=1) as link:
        alices, bobs = await both_done(link, scheme)
        assert alices == bobs is not None
        for name in (ALICE, BOB):
            journal = link.journal(name)
            assert len(journal.keys) == 3
            assert [ended.authenticated_by for ended in journal.blocks.values()] == [
                "certificate-signature",
                scheme,
                scheme,
            ]
            assert [began.epoch for began in journal.of(EpochBegan)] == [0, 1, 2]


STOPS = "stops, because no generated key is left to authenticate with"
UNITS = {ALICE: OF_ALICE, BOB: OF_BOB}


def opened(link: Bench, name: str) -> KeyStore:
    return KeyStore.open(link.home.node(name), StoreOwner(LINK, name, reproducible=False))


@asynccontextmanager
async def latched_link(folder: Path, *, tags: bool = True, **left: int) -> AsyncIterator[Bench]:
    """A link with one key, cut for tags or not; of a node's units so many are left as is said, or all."""
    async with bench(folder, SMALL, blocks=1) as link:
        for name in (ALICE, BOB):
            with closing(opened(link, name)) as store:
                key = replace(secret(1, 8_000), reserve_bits=6_000 if tags else 0)
                store.hold(block(1), key, 100, tags=tags)
                store.release(block(1))
                store.opened(1)
                while store.units.left(UNITS[name]) > left.get(name, 99):
                    store.units.take(UNITS[name], "nothing")
        yield link


async def test_alice_opens_no_block_that_she_cannot_pay_for_and_says_what_an_operator_has_to_do(
    tmp_path: Path,
) -> None:
    async with latched_link(tmp_path / "home", alice=1) as link:
        link.start_here(BOB)
        words = await link.start_here(ALICE).last_words()
        assert STOPS in words
        assert "qkdlink bootstrap --again" in words
        assert link.journal(ALICE).blocks == {}, "nothing was begun"


async def test_bob_says_goodbye_when_he_cannot_pay_and_ends_with_that_sentence_while_alice_waits(
    tmp_path: Path,
) -> None:
    async with latched_link(tmp_path / "home", bob=1) as link:
        bob, alice = link.start_here(BOB), link.start_here(ALICE, blocks=9)
        assert STOPS in await bob.last_words()
        assert link.journal(BOB).blocks == {}
        await until(lambda: told_goodbye(link), "Bob's goodbye in Alice's journal")
        assert not alice.task.done()


async def test_a_bob_who_starves_in_the_middle_of_a_block_says_goodbye_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """He has a unit for his first tag; another block, say, was quicker to take what he had counted."""
    monkeypatch.setattr(Vault, "blocks_payable", lambda _: 1)
    async with latched_link(tmp_path / "home", bob=1) as link:
        bob, alice = link.start_here(BOB), link.start_here(ALICE, blocks=9)
        assert STOPS in await bob.last_words()
        await until(lambda: told_goodbye(link), "Bob's goodbye in Alice's journal")
        assert not alice.task.done()
        (ended,) = link.journal(BOB).blocks.values()
        assert ended.aborted == AbortReason.STARVED
        assert STOPS in str(ended.detail)


@pytest.mark.parametrize("first", [ALICE, BOB])
async def test_after_the_latch_parameters_that_differ_end_no_node_and_are_told_until_they_are_the_same(
    tmp_path: Path, first: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with latched_link(tmp_path / "home") as link:
        for name in (ALICE, BOB):
            with closing(opened(link, name)) as store:
                assert store.begin_epoch(block(1))
        other = ALICE if first == BOB else BOB
        node = link.start_here(first)
        odd = link.start_here(other, parameters={"expected_qber": 0.2})
        for name in (first, other):
            await until(lambda: disagreements(link, name), f"what {name} says of it")  # noqa: B023 - awaited at once
        assert not node.task.done()
        assert not odd.task.done()
        assert "expected_qber is" in capsys.readouterr().err
        await odd.stop()
        link.start_here(other)
        await until(lambda: link.journal(BOB).keys, "a key, once they are the same")


def disagreements(link: Bench, name: str) -> list[str]:
    refused = link.journal(name).of(PeerRefused)
    return [each.reason for each in refused if "expected_qber is" in each.reason]


def told_goodbye(link: Bench) -> list[str]:
    refused = link.journal(ALICE).of(PeerRefused)
    return [
        each.reason
        for each in refused
        if "bob opens no further block here" in each.reason and STOPS in each.reason
    ]


async def test_keys_that_were_cut_for_another_scheme_are_said_to_be_so_and_not_used_up(
    tmp_path: Path,
) -> None:
    async with latched_link(tmp_path / "home", tags=False) as link:
        link.start_here(BOB)
        words = await link.start_here(ALICE).last_words()
        assert "were cut for another authentication.scheme: choose it again" in words
        assert "qkdlink bootstrap --again" in words


async def test_a_link_that_changes_one_signature_scheme_for_the_other_says_so_and_closes_no_latch(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path / "home", SMALL, blocks=1) as link:
        keys = {name: ed25519.new_private_key() for name in (ALICE, BOB)}
        for name, peer in ((ALICE, BOB), (BOB, ALICE)):
            with closing(opened(link, name)) as store:
                store.own_key(SchemeName.ED25519, partial(keys.__getitem__, name))
                shown = ed25519.public_key(keys[peer])
                store.hold(block(1), secret(1, 8_000), 100, tags=False, peer_key=shown)
                store.opened(1)
        nodes = [link.start_here(name, **authenticated(SchemeName.ML_DSA_65)) for name in (BOB, ALICE)]
        for node in nodes:
            words = await node.last_words()
            assert "of ed25519, not of ml-dsa-65: choose the scheme that the link began with" in words
        for name in (ALICE, BOB):
            with closing(opened(link, name)) as store:
                assert not store.epoch().latched
        await both_done(link, SchemeName.ED25519)
        assert [began.epoch for began in link.journal(ALICE).of(EpochBegan)] == [1]
        assert len(link.journal(BOB).keys) == 1


async def test_failing_blocks_are_paused_for_and_how_long_the_reserve_lasts_is_told(tmp_path: Path) -> None:
    """Light that shows too many errors: tags are paid for, and no key comes of it."""
    async with latched_link(tmp_path / "home") as link:
        for name in (ALICE, BOB):
            link.change(name, {"parameters": {"fibre": {"misalignment": 0.2}}})
        link.start_here(BOB)
        alice = link.start_here(ALICE, blocks=4, blocks_in_flight=1, backoff_first_s=0.1)
        await alice.task
        failed = [each.aborted for each in link.journal(ALICE).blocks.values()]
        assert failed == 4 * [AbortReason.QBER_ABOVE_TOLERATED]
        ended, opened = moments(link, BlockEnded), moments(link, BlockOpened)
        pauses = [began - over for over, began in zip(ended, opened[1:], strict=False)]
        assert all(pause >= due for pause, due in zip(pauses, (0.1, 0.2, 0.4), strict=True)), pauses
        told = [(low.blocks_payable, low.seconds_to_starvation) for low in link.journal(ALICE).of(ReserveLow)]
        assert [payable for payable, _ in told] == [5, 2]
        assert [seconds for _, seconds in told] == pytest.approx([0.1 * (1 + 2 + 4 + 8 + 16), 0.1 * (8 + 16)])


def moments(link: Bench, kind: type[Event]) -> list[float]:
    """When Alice told the events of a kind."""
    entries = map(Entry.model_validate_json, link.journal(ALICE).path.read_text().splitlines())
    return [entry.time for entry in entries if isinstance(entry.event, kind)]
