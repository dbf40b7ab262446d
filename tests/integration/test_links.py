"""Whole links over a real broker and real TLS, the nodes as tasks of this process: seeds, secrets, disagreements."""

import asyncio
import hashlib
from contextlib import suppress
from itertools import accumulate
from pathlib import Path

import pytest

from qkdlink.common.distillation.stages import SecretKey
from qkdlink.common.errors import LinkError
from qkdlink.common.journal.events import (
    BlockEnded,
    BlockOpened,
    LightFault,
    LineLost,
    NodeStopped,
    PeerRefused,
)
from qkdlink.common.keys.identifiers import BlockId
from qkdlink.common.node.vault import Vault
from qkdlink.common.protocol.aborts import AbortReason
from qkdlink.common.protocol.parameters import ProtocolName
from qkdlink.common.protocol.variants.catalogue import VARIANTS
from qkdlink.common.protocol.variants.single_photon import SINGLE_PHOTON
from qkdlink.common.transport.mqtt import BrokerAccess, Subscription, connect
from qkdlink.common.wire.topics import Topics
from qkdlink.deployment.brokers.broker import find_mosquitto
from qkdlink.deployment.brokers.ports import LOOPBACK
from qkdlink.deployment.homes.names import ALICE, BOB
from qkdlink.deployment.homes.sites import DEFAULT_SITES
from tests.support.eavesdropper import Eavesdropper, eavesdropping
from tests.support.processes import ADMIN, Bench, bench, small_parameters, until, without_mosquitto
from tests.support.told_records import assert_all_is_recorded

needs_mosquitto = pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed")
SITE_A, SITE_B = DEFAULT_SITES.values()
SMALLER = small_parameters(pulses=100_000)


async def _both_done(link: Bench, *, seed: int | None = None, **changes: object) -> tuple[str, str]:
    """Run both nodes until Alice has made her blocks and Bob has settled them; return their fingerprints."""
    bob = link.start_here(BOB, seed=seed)
    alice = link.start_here(ALICE, seed=seed, **changes)
    await alice.task
    await until(lambda: len(link.journal(BOB).blocks) == len(link.journal(ALICE).blocks), "Bob's last block")
    await bob.stop()
    assert alice.fingerprint is not None
    assert bob.fingerprint is not None
    return alice.fingerprint, bob.fingerprint


@pytest.mark.parametrize("protocol", VARIANTS)
async def test_both_sides_hold_the_same_key_of_every_block_in_each_protocol(
    tmp_path: Path, protocol: ProtocolName
) -> None:
    pulses = {SINGLE_PHOTON.name: 200_000}.get(protocol, 1_500_000)
    async with bench(tmp_path / "home", small_parameters(pulses=pulses, protocol=protocol), blocks=3) as link:
        alice, bob = await _both_done(link)
        assert alice == bob
        assert len(link.journal(ALICE).keys) == 3
        assert link.journal(ALICE).keys == link.journal(BOB).keys
        assert_all_is_recorded(link)


@pytest.mark.parametrize(
    ("most", "wanted"),
    [
        (1, {}),
        (1, {"blocks_in_flight": 8}),
        (3, {"blocks_in_flight": 8, "rekey_blocks": 2}),  # lines of two epochs overlap
    ],
)
async def test_alice_opens_no_more_blocks_at_a_time_than_bob_lets_be_open_and_every_block_makes_a_key(
    tmp_path: Path, most: int, wanted: dict[str, int]
) -> None:
    async with bench(tmp_path / "home", SMALLER, blocks=10, **wanted) as link:
        link.change(BOB, {"most_blocks_in_flight": most})
        alice, bob = await _both_done(link)
        assert alice == bob
        assert len(link.journal(ALICE).keys) == 10
        assert not [lost for name in (ALICE, BOB) for lost in link.journal(name).of(LineLost)]
        living = accumulate(
            {BlockOpened: 1, BlockEnded: -1}.get(type(event), 0) for event in link.journal(ALICE).events
        )
        assert max(living) == most


async def _seeded(folder: Path, seed: int, **changes: object) -> tuple[str, str]:
    parameters = small_parameters(pulses=100_000, reproducible=True)
    async with bench(folder, parameters, blocks=2) as link:
        return await _both_done(link, seed=seed, **changes)


async def test_a_seed_decides_the_keys_whatever_frame_size_pace_order_and_broker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await _seeded(tmp_path / "first", 7)
    assert first[0] == first[1]
    assert await _seeded(tmp_path / "frames", 7, frame_pulses=7_777, frames_in_flight=2) == first
    assert await _seeded(tmp_path / "paced", 7, clock_hz=200_000.0) == first
    without_mosquitto(monkeypatch)
    assert await _seeded(tmp_path / "amqtt", 7, blocks_in_flight=1) == first
    assert (await _seeded(tmp_path / "other", 8))[0] not in first


async def test_parameters_of_a_seeded_run_refuse_a_peer_without_the_stamp(tmp_path: Path) -> None:
    async with bench(tmp_path / "home", small_parameters(reproducible=True)) as link:
        link.change(BOB, {"parameters": {"reproducible": False}})
        bob = link.start_here(BOB)
        alice = link.start_here(ALICE, seed=1)
        for node in (alice, bob):
            assert "reproducible is" in await node.last_words()


@needs_mosquitto
async def test_no_secret_and_no_fingerprint_reaches_journal_broker_or_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: list[bytes] = []
    hold = Vault.hold

    async def remembering(
        vault: Vault, block: BlockId, key: SecretKey, leaked_bits: int, peer_key: bytes = b""
    ) -> None:
        keys.append(key.material)
        await hold(vault, block, key, leaked_bits, peer_key)

    monkeypatch.setattr(Vault, "hold", remembering)
    async with bench(tmp_path / "home", SMALLER, blocks=2) as link, eavesdropping(link.broker) as eve:
        fingerprints = await _both_done(link)
        await until(
            lambda: len(_endings(eve, link)) == 4, "the end of both blocks in both journals on the broker"
        )
        told = b"".join(topic.encode() + payload for topic, payload in eve.heard)
        files = [*link.home.folder.rglob("*.jsonl"), link.home.broker / "broker.log"]
        told += b"".join(path.read_bytes() for path in files)
        secret_files = [
            link.home.node(n) / f for n in (ALICE, BOB) for f in ("light-seal.key", "broker-password")
        ]
        known = [
            *(form for text in fingerprints for form in (text.encode(), bytes.fromhex(text))),
            *(form for key in keys for form in (key[:16], key[:16].hex().encode(), key[-16:])),
            *(hashlib.sha256(key).hexdigest().encode() for key in keys),
            *(path.read_bytes().strip() for path in secret_files),
            *(bytes.fromhex(path.read_text().strip()) for path in secret_files),
        ]
    assert len(keys) == 4, "two blocks on each side"
    assert eve.topics() == {
        Topics("link-1").light(SITE_A, SITE_B),
        Topics("link-1").receipts(SITE_B, SITE_A),
        Topics("link-1").journal(SITE_A),
        Topics("link-1").journal(SITE_B),
    }
    assert len(b"".join(eve.on(Topics("link-1").light(SITE_A, SITE_B)))) > 2 * SMALLER.block_pulses, (
        "she heard the light"
    )
    assert not [secret for secret in known if secret in told]


@pytest.mark.parametrize("kind", ["mosquitto", "amqtt"])
async def test_the_broker_hears_a_node_that_ends_at_once_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    if kind == "amqtt":
        without_mosquitto(monkeypatch)
    async with bench(tmp_path / "home", SMALLER) as link:
        account = (ADMIN.name, ADMIN.password) if link.broker.has_access_list else (None, None)
        async with connect(BrokerAccess(link.broker.address, "reader", *account)) as bus:
            told = await bus.subscribe(Topics(link.home.link).journal(SITE_B))
            bob = link.start_here(BOB)
            await until(lambda: bool(link.journal(BOB).events), "Bob's start")
            await bob.stop()
            async with asyncio.timeout(10):
                heard = [(await told.get()).payload for _ in link.journal(BOB).events]
        assert [bytes(each).decode() for each in heard] == link.journal(BOB).path.read_text().splitlines()
        assert isinstance(link.journal(BOB).events[-1], NodeStopped)


def _endings(eve: Eavesdropper, link: Bench) -> list[bytes]:
    journals = [
        payload for site in (SITE_A, SITE_B) for payload in eve.on(Topics(link.home.link).journal(site))
    ]
    return [payload for payload in journals if b'"block-ended"' in payload]


@needs_mosquitto
async def test_the_access_list_lets_each_node_write_its_own_topics_and_read_what_it_needs(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path / "home", SMALLER) as link, eavesdropping(link.broker) as everything:
        topics = Topics(link.home.link)
        attempts = [
            topics.light(SITE_A, SITE_B),
            topics.receipts(SITE_B, SITE_A),
            topics.journal(SITE_A),
            topics.journal(SITE_B),
            "other",
        ]
        heard: dict[str, set[str]] = {}
        refused: dict[str, set[str]] = {ALICE: set(), BOB: set()}
        for name in (ALICE, BOB):
            account = next(user for user in link.home.broker_users() if user.name == name)
            access = BrokerAccess(link.broker.address, f"imposter-{name}", name, account.password)
            async with connect(access) as bus:
                subscriptions = [await bus.subscribe(topic) for topic in attempts]
                for topic in attempts:
                    try:
                        await bus.publish(topic, name.encode())
                    except LinkError:
                        refused[name].add(topic)
                for topic in attempts:
                    await everything.client.publish(topic, f"to {name}".encode(), qos=1)
                heard[name] = {each.topic for each in subscriptions if await _heard_anything(each)}
        assert heard == {ALICE: {topics.receipts(SITE_B, SITE_A)}, BOB: {topics.light(SITE_A, SITE_B)}}
        written = {
            name: {topic for topic in attempts if name.encode() in everything.on(topic)} for name in heard
        }
        assert written == {
            ALICE: {topics.light(SITE_A, SITE_B), topics.journal(SITE_A)},
            BOB: {topics.receipts(SITE_B, SITE_A), topics.journal(SITE_B)},
        }
        assert refused == {name: set(attempts) - written[name] for name in heard}, "each is told"


async def _heard_anything(subscription: Subscription) -> bool:
    try:
        async with asyncio.timeout(0.1):
            await subscription.get()
    except TimeoutError:
        return False
    return True


@needs_mosquitto
@pytest.mark.parametrize("account", [(None, None), (ALICE, "a guess"), ("eve", "anything")])
async def test_a_stranger_cannot_connect_to_mosquitto(tmp_path: Path, account: tuple[str, str]) -> None:
    async with bench(tmp_path / "home", SMALLER) as link:
        with pytest.raises(
            LinkError, match=r"the broker at .* turns this node away: it does not know this node"
        ):
            async with connect(BrokerAccess(link.broker.address, "stranger", *account)):
                pass


async def test_both_nodes_name_the_parameter_that_differs_and_both_end(tmp_path: Path) -> None:
    async with bench(tmp_path / "home", SMALLER) as link:
        link.change(BOB, {"parameters": {"fibre": {"length_km": 11.0}}})
        bob, alice = link.start_here(BOB), link.start_here(ALICE)
        said = [await node.last_words() for node in (bob, alice)]
        assert "fibre.length_km is 11.0 here and 10.0 there" in said[0]
        assert said[0] in said[1].replace("Bob turned this node away: ", "")
        assert not link.journal(ALICE).blocks


async def test_a_seal_key_that_differs_is_named_and_voids_every_block(tmp_path: Path) -> None:
    async with bench(tmp_path / "home", SMALLER, blocks=1, light_patience_s=0.5) as link:
        (link.home.node(BOB) / "light-seal.key").write_text("ab" * 32 + "\n")
        link.start_here(BOB)
        await link.start_here(ALICE).task
        await until(lambda: len(link.journal(BOB).blocks) == 1, "Bob's end of the block")
        assert {fault.fault for fault in link.journal(BOB).of(LightFault)} == {"broken-seal"}
        for name in (ALICE, BOB):
            (ended,) = link.journal(name).blocks.values()
            assert (ended.aborted, ended.secret_bits, ended.detections) == (AbortReason.LIGHT_LOST, 0, 0)
        assert_all_is_recorded(link)


async def test_alice_waits_for_a_bob_who_is_late(tmp_path: Path) -> None:
    async with bench(tmp_path / "home", SMALLER) as link:
        alice = link.start_here(ALICE)
        await asyncio.sleep(0.6)
        link.start_here(BOB)
        await alice.task
        assert len(link.journal(ALICE).keys) == 1


async def test_alice_gives_up_a_bob_who_never_comes(tmp_path: Path) -> None:
    async with bench(tmp_path / "home", SMALLER) as link:
        alice = link.start_here(ALICE, classical={"patience_s": 0.5})
        assert await alice.last_words() == f"bob at {link.bootstrap}: nobody listens there."


@pytest.mark.parametrize("answers", [0, 1], ids=["at once", "before the certificate is accepted"])
async def test_a_line_that_is_cut_at_the_first_contact_ends_no_node(tmp_path: Path, answers: int) -> None:
    """Anybody on the line can close it, so a closed line says nothing about either certificate."""
    cuts: list[int] = []

    async with bench(tmp_path / "home", SMALLER) as link:

        async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(OSError):  # Bob is not there yet
                back, there = await asyncio.open_connection(link.bootstrap.host, link.bootstrap.port)
                for _ in range(answers):
                    there.write(await reader.read(1 << 16))
                    writer.write(await back.read(1 << 16))
                    await reader.read(1 << 16)  # her certificate, which never arrives
                there.transport.abort()
                cuts.append(answers)
            writer.close()

        link.start_here(BOB)
        server = await asyncio.start_server(carry, LOOPBACK, 0)
        cut = f"{LOOPBACK}:{server.sockets[0].getsockname()[1]}"
        alice = link.start_here(ALICE, classical={"bootstrap_address": cut, "patience_s": 20.0})
        await until(lambda: len(cuts) > 1, "a second try")
        assert not alice.task.done()
        await alice.stop()
        server.close()
        assert bool(answers) == any(
            "it was cut, or" in each.reason for each in link.journal(ALICE).of(PeerRefused)
        )


async def test_a_bob_of_this_authority_with_another_name_than_alice_was_told_is_refused(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path / "home", SMALLER) as link:
        link.start_here(BOB)
        said = await link.start_here(ALICE, peer="carol").last_words()
        assert said.startswith(f"carol at {link.bootstrap}: the peer's certificate is for another name")


async def test_an_alice_of_this_authority_with_another_name_than_bob_was_told_is_refused(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path / "home", SMALLER) as link:
        bob = link.start_here(BOB, peer="carol")
        said = await link.start_here(ALICE, classical={"patience_s": 0.5}).last_words()
        assert "it was cut, or the peer does not take our certificate" in said
        assert not bob.task.done(), "a stranger does not end Bob"
        await until(lambda: bool(link.journal(BOB).of(PeerRefused)), "the refusal in Bob's journal")
        refusals = link.journal(BOB).of(PeerRefused)
        assert 'is for "alice", but this node expects "carol"' in refusals[0].reason
