"""The doctor beside real nodes and a real broker on this machine: at rest, at work, and in every kind of trouble."""

import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from qkdlink.alice.greeting import greet
from qkdlink.alice.settings import AliceSettings
from qkdlink.alice.station import largest_packet
from qkdlink.bob.settings import BobSettings
from qkdlink.cli import main
from qkdlink.commands.doctor import doctor
from qkdlink.common.errors import ConfigurationError
from qkdlink.common.journal.events import EpochBegan, LineLost, NodeStopped, PatchRefused, PeerRefused
from qkdlink.common.node.settings import NodeSettings, load_settings
from qkdlink.common.protocol.roles import Role
from qkdlink.common.transport.addresses import Address
from qkdlink.common.transport.mqtt import BrokerAccess, connect
from qkdlink.common.trust.pki import create_authority
from qkdlink.common.trust.preshared import PADS_FROM_BITS, create_preshared
from qkdlink.common.trust.private_files import NewFile, write_over
from qkdlink.common.wire.mqtt_packets import LONGEST_MESSAGE, LONGEST_PACKET
from qkdlink.common.wire.topics import Topics
from qkdlink.deployment.brokers import broker
from qkdlink.deployment.brokers.broker import find_mosquitto
from qkdlink.deployment.brokers.ports import LOOPBACK, free_port
from qkdlink.deployment.diagnosis.causes import Obstacle
from qkdlink.deployment.diagnosis.examination import examine_node
from qkdlink.deployment.diagnosis.findings import Diagnosis, Finding, Outcome
from qkdlink.deployment.diagnosis.house import Patient
from qkdlink.deployment.homes.names import ALICE, BOB
from tests.support.processes import ADMIN, Bench, bench, small_parameters, until, without_mosquitto

needs_mosquitto = pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed")
SMALLER = small_parameters(pulses=100_000)


async def _examined(link: Bench, name: str) -> Diagnosis:
    kinds: dict[str, type[NodeSettings]] = {ALICE: AliceSettings, BOB: BobSettings}
    settings = load_settings(kinds[name], link.home.configuration(name))
    sends = largest_packet(settings, Topics(settings.link)) if isinstance(settings, AliceSettings) else 0
    patient = Patient(Role[name.upper()], settings, link.home.node(name), datetime.now(UTC), sends)
    return await examine_node(patient, greet)


def _of(diagnosis: Diagnosis, check: str) -> Finding:
    return dict(diagnosis.findings)[check]


async def _verdict(link: Bench, name: str) -> tuple[Obstacle | None, str]:
    found = (await _examined(link, name)).in_the_way
    return (None, "") if found is None else (found.obstacle, found.sentence)


async def _met(link: Bench, epochs: int) -> None:
    def far() -> bool:
        return all(len(link.journal(name).of(EpochBegan)) >= epochs for name in (ALICE, BOB))

    await until(far, f"epoch {epochs - 1}")


@asynccontextmanager
async def _waiting_bob(folder: Path) -> AsyncIterator[Bench]:
    """A link on which Bob waits and Alice has never been."""
    async with bench(folder, SMALLER) as link:
        link.start_here(BOB)
        await _bob_listens(link)
        yield link


async def _bob_listens(link: Bench) -> None:
    port = link.classical.port

    def listening() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((LOOPBACK, port)) == 0

    await until(listening, "Bob's port")


# --- at work and afterwards --------------------------------------------------------------------------------------


async def test_a_running_link_is_found_well_and_is_left_alone(tmp_path: Path) -> None:
    async with bench(tmp_path / "home", SMALLER, blocks=0) as link:
        link.start_here(BOB)
        alice = link.start_here(ALICE)
        await _met(link, epochs=2)
        for name, skipped in (
            (ALICE, {"broker login", "parameters"}),
            (BOB, {"broker login", "own ports"}),
        ):
            diagnosis = await _examined(link, name)
            assert diagnosis.in_the_way is None
            assert {n for n, f in diagnosis.findings if f.outcome is Outcome.SKIPPED} == skipped
        assert "met bob" in _of(await _examined(link, ALICE), "peer identity").sentence
        made = len(link.journal(ALICE).keys)
        await until(lambda: len(link.journal(ALICE).keys) > made + 1, "more keys")
        assert all(ended.aborted is None for ended in link.journal(ALICE).blocks.values())
        await alice.stop()


async def test_after_the_bootstrap_the_link_psk_is_what_counts(tmp_path: Path) -> None:
    async with bench(tmp_path / "home", SMALLER, blocks=3) as link:
        link.start_here(BOB)
        await link.start_here(ALICE).task
        await until(lambda: len(link.journal(BOB).blocks) == 3, "the end of his last block")
        hers, numbers = link.home.node(ALICE), link.journal(ALICE).blocks.keys()
        before = _content(hers), _content(link.home.node(BOB))
        diagnosis = await _examined(link, ALICE)
        assert diagnosis.in_the_way is None
        assert "has proven the key" in _of(diagnosis, "peer identity").sentence
        assert "no certificate is needed" in _of(diagnosis, "credentials").sentence
        await until(lambda: bool(link.journal(BOB).of(LineLost)), "his noticing that the doctor has left")
        assert (_content(hers), _content(link.home.node(BOB))) == before

        # she has lost her store, and he is latched
        for file in ("store.db", "store.key"):
            (hers / file).rename(tmp_path / file)
        obstacle, sentence = await _verdict(link, ALICE)
        assert (obstacle, "bootstrap --again" in sentence) == (Obstacle.KEY, True)
        # her store is back, without its key
        shutil.copy(tmp_path / "store.db", hers)
        assert (await _verdict(link, ALICE))[0] is Obstacle.CONFIGURATION
        # all is back: another block number, and no more, is used by a new run of hers
        shutil.copy(tmp_path / "store.key", hers)
        assert await _verdict(link, ALICE) == (None, "")
        await link.start_here(ALICE, blocks=1).task
        assert {int(block.rpartition("/")[2]) for block in link.journal(ALICE).blocks} == set(range(1, 5))
        assert len(numbers) == 3


async def test_a_latched_node_and_a_peer_who_has_lost_everything_have_no_common_key(tmp_path: Path) -> None:
    async with bench(tmp_path / "home", SMALLER, blocks=2) as link:
        bob = link.start_here(BOB)
        await link.start_here(ALICE).task
        await link.start_here(ALICE, blocks=1).task
        await bob.stop()
        for file in ("store.db", "store.key"):
            (link.home.node(BOB) / file).unlink()
        link.start_here(BOB)
        await _bob_listens(link)
        obstacle, sentence = await _verdict(link, ALICE)
        assert obstacle is Obstacle.KEY
        assert "takes none of this node's link PSKs" in sentence


def _content(folder: Path) -> dict[Path, tuple[bytes, int]]:
    """Every file of a home, and when it was written; but for the journal, which tells of visits."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".jsonl"]
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


# --- what Alice's side finds -------------------------------------------------------------------------------------


async def test_a_bob_who_waits_is_met_without_an_epoch_a_latch_or_a_block(tmp_path: Path) -> None:
    async with _waiting_bob(tmp_path / "home") as link:
        before = _content(link.home.node(ALICE)), _content(link.home.node(BOB))
        diagnosis = await _examined(link, ALICE)
        assert [finding.outcome for _, finding in diagnosis.findings] == [Outcome.OK] * 10
        await until(lambda: bool(link.journal(BOB).of(LineLost)), "his noticing that the doctor has left")
        assert (_content(link.home.node(ALICE)), _content(link.home.node(BOB))) == before
        assert not link.journal(BOB).of(EpochBegan)
        await link.start_here(ALICE).task
        assert len(link.journal(ALICE).keys) == 1


async def test_a_bob_who_trusts_a_pre_shared_key_is_met_by_it_and_none_of_its_pads_is_used(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path / "home", SMALLER) as link:
        for name in (ALICE, BOB):
            link.change(name, {"trust": {"anchor": "psk", "pre_shared_key": "by-hand.key"}})
        create_preshared(link.home.node(ALICE) / "by-hand.key", PADS_FROM_BITS)
        shutil.copy(link.home.node(ALICE) / "by-hand.key", link.home.node(BOB))
        link.start_here(BOB)
        await _bob_listens(link)
        before = _content(link.home.node(ALICE)), _content(link.home.node(BOB))
        diagnosis = await _examined(link, ALICE)
        assert [finding.outcome for _, finding in diagnosis.findings] == [Outcome.OK] * 10
        assert "bob has the same pre-shared key" in _of(diagnosis, "peer identity").sentence
        await until(lambda: bool(link.journal(BOB).of(LineLost)), "his noticing that the doctor has left")
        assert (_content(link.home.node(ALICE)), _content(link.home.node(BOB))) == before

        (link.home.node(ALICE) / "by-hand.key").unlink()
        create_preshared(link.home.node(ALICE) / "by-hand.key", PADS_FROM_BITS)
        obstacle, sentence = await _verdict(link, ALICE)
        assert (obstacle, "carry one pre-shared key to both nodes" in sentence) == (Obstacle.KEY, True)
        obstacle, sentence = await _verdict(link, BOB)
        assert (obstacle, "has another key under this name" in sentence) == (Obstacle.KEY, True)


async def test_where_nobody_is_authenticated_the_doctor_claims_no_more_than_that_somebody_answers(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path / "home", SMALLER) as link:
        for name in (ALICE, BOB):
            link.change(name, {"trust": {"anchor": "none", "insecure_no_authentication": True}})
        link.start_here(BOB)
        await _bob_listens(link)
        diagnosis = await _examined(link, ALICE)
        assert diagnosis.in_the_way is None
        assert "may be bob or anybody else" in _of(diagnosis, "peer identity").sentence


async def test_parameters_are_compared_and_both_values_told(tmp_path: Path) -> None:
    async with _waiting_bob(tmp_path / "home") as link:
        link.change(ALICE, {"parameters": {"tolerated_qber": 0.03}})
        obstacle, sentence = await _verdict(link, ALICE)
        assert obstacle is Obstacle.PARAMETERS
        assert "tolerated_qber is 0.0239 here and 0.03 there" in sentence
        assert '"here" is bob' in sentence


async def test_parameters_that_differ_are_found_after_both_nodes_have_ended(tmp_path: Path) -> None:
    async with bench(tmp_path / "home", SMALLER) as link:
        bob = link.start_here(BOB)
        other = {"block_pulses": SMALLER.block_pulses + 1}
        alice = link.start_here(ALICE, parameters=other)
        said = {ALICE: await alice.last_words(), BOB: await bob.last_words()}
        for name in (ALICE, BOB):
            assert link.journal(name).of(NodeStopped)[-1].reason == said[name]
            obstacle, sentence = await _verdict(link, name)
            assert (obstacle, "block_pulses" in sentence) == (Obstacle.PARAMETERS, True)
        link.change(BOB, {"parameters": other})
        assert (await _verdict(link, BOB))[0] is None, "it was changed since"


async def test_another_program_at_bobs_address_is_not_taken_for_him(tmp_path: Path) -> None:
    async with bench(tmp_path / "home", SMALLER) as link:
        silent = await asyncio.start_server(lambda _, writer: writer.close(), LOOPBACK, 0)
        address = f"{LOOPBACK}:{silent.sockets[0].getsockname()[1]}"
        link.change(ALICE, {"classical": {"address": address, "bootstrap_address": address}})
        obstacle, sentence = await _verdict(link, ALICE)
        silent.close()
        assert obstacle is Obstacle.PEER
        assert "see that it is bob who listens there" in sentence


async def test_another_program_at_the_port_for_keys_is_found_although_the_bootstrap_is_right(
    tmp_path: Path,
) -> None:
    async with _waiting_bob(tmp_path / "home") as link:
        said = lambda _, writer: writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")  # noqa: E731 - one word
        other = await asyncio.start_server(said, LOOPBACK, 0)
        port = other.sockets[0].getsockname()[1]
        link.change(ALICE, {"classical": {"address": f"{LOOPBACK}:{port}"}})
        obstacle, sentence = await _verdict(link, ALICE)
        assert (obstacle, "does not speak TLS: another program" in sentence) == (Obstacle.PEER, True)
        other.close()


async def test_without_bob_the_sentence_is_that_nobody_listens(tmp_path: Path) -> None:
    async with bench(tmp_path / "home", SMALLER) as link:
        obstacle, sentence = await _verdict(link, ALICE)
        assert (obstacle, "nobody listens" in sentence) == (Obstacle.PEER, True)


# --- what Bob's side finds ---------------------------------------------------------------------------------------


async def test_bobs_ports_have_to_be_free_and_his_own(tmp_path: Path) -> None:
    async with bench(tmp_path / "home", SMALLER) as link:
        # an address of its own, because a dialler of another test could be given a port of 127.0.0.1 at any time
        free = {name: f"127.0.0.77:{free_port()}" for name in ("address", "bootstrap_address")}
        link.change(BOB, {"classical": free})
        assert await _verdict(link, BOB) == (None, "")
        with socket.create_server((LOOPBACK, 0)) as taken:
            link.change(BOB, {"classical": {"address": f"{LOOPBACK}:{taken.getsockname()[1]}"}})
            obstacle, sentence = await _verdict(link, BOB)
        assert (obstacle, "another program has taken" in sentence) == (Obstacle.PORT, True)
        link.change(BOB, {"classical": {"address": "192.0.2.7:7000"}})
        obstacle, sentence = await _verdict(link, BOB)
        assert (obstacle, "no such address" in sentence) == (Obstacle.PORT, True)


async def test_bob_tells_why_he_has_turned_alice_away(tmp_path: Path) -> None:
    async with bench(tmp_path / "home", SMALLER) as link:
        link.change(BOB, {"peer": "carol"})
        link.start_here(BOB)
        await _bob_listens(link)
        obstacle, sentence = await _verdict(link, ALICE)
        assert obstacle is Obstacle.CERTIFICATE
        assert "run `qkdlink doctor` at bob" in sentence
        assert link.journal(BOB).of(PeerRefused)
        obstacle, sentence = await _verdict(link, BOB)
        assert obstacle is Obstacle.NAME
        assert 'is for "alice", but this node expects "carol"' in sentence


# --- the broker --------------------------------------------------------------------------------------------------


@needs_mosquitto
async def test_a_broker_that_does_not_take_the_password_or_forbids_a_topic_is_found(tmp_path: Path) -> None:
    async with bench(tmp_path / "home", SMALLER) as link:
        assert "without TLS" in _of(await _examined(link, BOB), "broker login").sentence
        password = link.home.node(BOB) / "broker-password"
        right = password.read_text()
        write_over(NewFile(password, b"wrong\n"))
        obstacle, sentence = await _verdict(link, BOB)
        assert (obstacle, "does not know this node" in sentence) == (Obstacle.BROKER, True)
        write_over(NewFile(password, right.encode()))
        link.change(BOB, {"link": "link-2"})  # a link that the broker's access list does not know
        obstacle, sentence = await _verdict(link, BOB)
        assert (obstacle, "write qkd/link-2/site-b/journal" in sentence) == (Obstacle.BROKER, True)


@needs_mosquitto
@pytest.mark.parametrize("name", [ALICE, BOB])
async def test_a_retained_message_that_is_too_long_is_found_and_ends_nothing(
    tmp_path: Path, name: str
) -> None:
    async with bench(tmp_path / "home", SMALLER) as link:
        topics = Topics(link.home.link)
        topic = topics.patch() if name == ALICE else topics.light("site-a", "site-b")
        admin = BrokerAccess(link.broker.address, "admin", ADMIN.name, ADMIN.password)
        async with connect(admin) as bus:
            await bus.publish(topic, bytes(LONGEST_MESSAGE + 1), retain=True)
        obstacle, sentence = await _verdict(link, name)
        assert obstacle is Obstacle.BROKER
        assert f"bytes on {topic}, which no node of a link has sent: clear it" in sentence
        nodes = [link.start_here(each) for each in (BOB, ALICE)]
        await nodes[1].task
        if name == ALICE:
            assert "far longer than a patch panel's message" in link.journal(ALICE).of(PatchRefused)[0].reason


@needs_mosquitto
async def test_a_broker_that_takes_no_frame_is_named_with_both_numbers_before_light_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = broker._HOUSE_RULES.replace(str(LONGEST_PACKET), "50000")
    monkeypatch.setattr(broker, "_HOUSE_RULES", rules)
    async with bench(tmp_path / "home", SMALLER) as link:
        words = await link.start_here(ALICE).last_words()
        obstacle, sentence = await _verdict(link, ALICE)
    numbers = r"takes packets of at most 50000 bytes, and this node has to send one of \d{6}: raise the broker's limit"
    assert obstacle is Obstacle.BROKER
    assert re.search(numbers, words)
    assert re.search(numbers, sentence)


@needs_mosquitto
async def test_a_limit_that_the_broker_does_not_state_is_found_before_light_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker, "_HOUSE_RULES", broker._HOUSE_RULES + "message_size_limit 50000\n")
    async with bench(tmp_path / "home", SMALLER) as link:
        obstacle, sentence = await _verdict(link, ALICE)
    assert obstacle is Obstacle.BROKER
    assert re.search(
        r"takes messages of at most 50000 bytes, and this node has to send one of \d{6}: raise the broker's limit"
        r" \(Mosquitto: message_size_limit\), or lower frame_pulses",
        sentence,
    )


async def test_an_older_broker_lets_in_without_saying_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_mosquitto(monkeypatch)
    async with bench(tmp_path / "home", SMALLER) as link:
        assert "an older MQTT" in _of(await _examined(link, BOB), "broker login").sentence


async def test_what_is_no_broker_is_found(tmp_path: Path) -> None:
    async with _waiting_bob(tmp_path / "home") as link:
        link.change(ALICE, {"broker": {"address": str(link.classical)}})
        obstacle, _ = await _verdict(link, ALICE)
        assert obstacle is Obstacle.BROKER
        link.change(ALICE, {"broker": {"address": f"{LOOPBACK}:{free_port()}"}})
        obstacle, sentence = await _verdict(link, ALICE)
        assert (obstacle, "nobody listens" in sentence) == (Obstacle.BROKER, True)


async def test_a_broker_without_tls_is_found_by_a_node_that_wants_it(tmp_path: Path) -> None:
    async with bench(tmp_path / "home", SMALLER) as link:
        create_authority(tmp_path / "apparatus-ca")
        link.change(BOB, {"broker": {"authority": str(tmp_path / "apparatus-ca" / "certificate.pem")}})
        obstacle, sentence = await _verdict(link, BOB)
        assert obstacle is Obstacle.BROKER
        assert str(Address(LOOPBACK, link.broker.address.port)) in sentence


def test_a_tls_library_without_a_suite_for_psks_is_found_before_anything_is_tried(tmp_path: Path) -> None:
    policy = tmp_path / "openssl.cnf"
    sections = "openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c\n[c]\n"
    policy.write_text(f"{sections}Ciphersuites = TLS_AES_256_GCM_SHA384\n")
    tried = subprocess.run(
        [
            sys.executable,
            "-P",
            "-c",
            "from qkdlink.common.transport.psk import check_cipher_suites as c; c()",
        ],
        env={**os.environ, "OPENSSL_CONF": str(policy)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "leaves TLS_AES_256_GCM_SHA384 for TLS 1.3, and link PSKs need one with SHA-256" in tried.stderr


# --- the command -------------------------------------------------------------------------------------------------


async def test_the_command_tells_a_person_and_a_program_the_same(tmp_path: Path) -> None:
    async with bench(tmp_path / "home", SMALLER) as link:
        command = [sys.executable, "-P", "-c", "from qkdlink.cli import main; main()", "doctor", "--config"]
        told = await asyncio.to_thread(
            subprocess.run,
            [*command, str(link.home.configuration(ALICE))],
            capture_output=True,
            text=True,
            check=False,
        )
    assert told.returncode == 1
    *checks, verdict = told.stdout.splitlines()
    assert verdict.startswith("In the way: peer. The machine of bob at ")
    assert [line.split()[0] for line in checks if line][:3] == ["files", "clock", "credentials"]
    assert told.stderr == ""


def test_a_file_that_is_none_of_a_node_is_an_error_with_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "node.toml"
    for text, words in ((None, "There is no configuration file"), ("link = 1", "says"), ("[", "not TOML")):
        if text is not None:
            file.write_text(text)
        with pytest.raises(SystemExit) as ended:
            main(["doctor", "--config", str(file)])
        assert ended.value.code == 2
        said = capsys.readouterr()
        assert (said.out, words in said.err, said.err.count("\n")) == ("", True, 1)


async def test_the_role_of_a_node_of_another_name_has_to_be_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with bench(tmp_path / "home", SMALLER) as link:
        link.change(ALICE, {"node": "anna"})
        config = link.home.configuration(ALICE)
        with pytest.raises(ConfigurationError, match="--role"):
            doctor(config, None, None, as_json=True)
        assert await asyncio.to_thread(doctor, config, None, "alice", as_json=True) == 1
        told = json.loads(capsys.readouterr().out)
        assert (told["role"], told["node"], told["obstacle"]) == ("alice", "anna", "name")
