"""The doctor's questions one by one, without a broker, a peer or a wait."""

import asyncio
import errno
import os
import shutil
import socket
import ssl
import tomllib
from collections.abc import Awaitable, Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import tomli_w

from qkdlink.alice.settings import AliceSettings
from qkdlink.common.errors import ConfigurationError, CredentialsError, LinkError, QkdlinkError
from qkdlink.common.journal.events import AnyEvent, Entry, EpochBegan, LineLost, NodeStarted, PeerRefused
from qkdlink.common.journal.link_state import LinkState, NodeState
from qkdlink.common.keys.derivation import pre_shared_file_name
from qkdlink.common.node.settings import load_settings
from qkdlink.common.protocol.roles import Role
from qkdlink.common.store.key_store import KeyStore
from qkdlink.common.store.owner import StoreOwner
from qkdlink.common.transport.addresses import Address
from qkdlink.common.trust.pki import Validity, issue
from qkdlink.common.trust.preshared import PADS_FROM_BITS, PRESHARED_FILE, PresharedSecret, create_preshared
from qkdlink.common.trust.private_files import NewFile, write_over
from qkdlink.common.trust.used_marks import mark
from qkdlink.common.wire.mqtt_packets import Packet
from qkdlink.deployment.brokers.ports import LOOPBACK
from qkdlink.deployment.diagnosis.causes import Obstacle, obstacle_of, obstacle_told
from qkdlink.deployment.diagnosis.credentials import check_credentials
from qkdlink.deployment.diagnosis.findings import Check, Finding, Outcome, examine
from qkdlink.deployment.diagnosis.house import Patient, check_clock, check_files, is_running, read_holdings
from qkdlink.deployment.diagnosis.mqtt_greeting import Answer, decode, read_answer
from qkdlink.deployment.diagnosis.network import (
    BROKER,
    Place,
    Reach,
    check_binding,
    check_name,
    judge,
    judge_peer,
    reach,
)
from qkdlink.deployment.diagnosis.witness import as_dialler, as_listener
from qkdlink.deployment.homes.configuration import LinkAddresses
from qkdlink.deployment.homes.home import LinkHome
from qkdlink.deployment.homes.installation import NODES_AUTHORITY, Installation, install
from qkdlink.deployment.homes.names import ALICE
from tests.support.processes import merged, small_parameters

NOW = datetime.now(UTC)
BOB_KEYED = Place("bob", Address("192.0.2.7", 7000))
BOB_CERTIFIED = Place("bob", Address("192.0.2.7", 7001))


def _check(name: str, answer: Finding | QkdlinkError, asked: list[str]) -> Check:
    async def look() -> Finding:
        asked.append(name)
        if isinstance(answer, QkdlinkError):
            raise answer
        return answer

    return Check(name, look)


# --- findings ----------------------------------------------------------------------------------------------------


async def test_the_first_failure_is_the_verdict_and_nothing_after_it_is_asked() -> None:
    asked: list[str] = []
    fine, broken = Finding.ok("fine"), Finding.failed(Obstacle.ROUTE, "no way")
    checks = [_check("one", fine, asked), _check("two", broken, asked), _check("three", fine, asked)]
    diagnosis = await examine(checks)
    assert asked == ["one", "two"]
    assert diagnosis.in_the_way == broken
    assert [finding.outcome for _, finding in diagnosis.findings] == ["ok", "failed", "not-reached"]


async def test_what_is_skipped_stands_in_nobodys_way() -> None:
    diagnosis = await examine([_check("one", Finding.skipped("it would do harm"), [])])
    assert diagnosis.in_the_way is None


async def test_an_error_of_a_check_is_its_answer() -> None:
    diagnosis = await examine([_check("one", ConfigurationError("The seal is gone."), [])])
    assert diagnosis.in_the_way == Finding.failed(Obstacle.CONFIGURATION, "The seal is gone.")


# --- causes ------------------------------------------------------------------------------------------------------


def _not_verified(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError("certificate verify failed")
    error.verify_code = code
    return error


@pytest.mark.parametrize(
    ("cause", "obstacle"),
    [
        (_not_verified(62), Obstacle.NAME),
        (_not_verified(64), Obstacle.NAME),
        (_not_verified(9), Obstacle.CLOCK),
        (_not_verified(10), Obstacle.CERTIFICATE),
        (_not_verified(20), Obstacle.CERTIFICATE),
        (socket.gaierror(-2, "Name or service not known"), Obstacle.NAME),
        (TimeoutError(), Obstacle.FIREWALL),
        (OSError(errno.EHOSTUNREACH, "No route to host"), Obstacle.ROUTE),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), Obstacle.ROUTE),
        (OSError(errno.EPERM, "Operation not permitted"), Obstacle.FIREWALL),
        (ConnectionRefusedError(), Obstacle.PEER),
    ],
)
def test_what_the_line_raised_counts_whatever_was_made_of_it(cause: OSError, obstacle: Obstacle) -> None:
    told = LinkError("bob at 192.0.2.7:7000: ...")
    told.__cause__ = cause
    assert obstacle_of(told) is obstacle


def test_an_error_of_our_own_is_judged_by_its_kind() -> None:
    assert obstacle_of(CredentialsError("...")) is Obstacle.CERTIFICATE
    assert obstacle_of(ConfigurationError("...")) is Obstacle.CONFIGURATION


@pytest.mark.parametrize(
    ("reason", "obstacle"),
    [
        ("10.0.0.1:5: the peer's certificate is not valid yet: compare both clocks", Obstacle.CLOCK),
        ("10.0.0.1:5: the peer's certificate has expired: issue a new one", Obstacle.CERTIFICATE),
        ('10.0.0.1:5: the peer\'s certificate is for "eve", but this node expects "alice"', Obstacle.NAME),
        ('10.0.0.1:5: the dialler looks for "carol", but this node is "bob"', Obstacle.NAME),
        ("10.0.0.1:5: names the key ab/1, but has another key under this name", Obstacle.KEY),
        ("10.0.0.1:5: the peer does not speak TLS", None),
        ("10.0.0.1:5: the TLS handshake was broken off, late, or refused by the peer", None),
        (
            "10.0.0.1:5: offers no pre-shared key whose name can be read; a certificate opens nothing here",
            None,
        ),
    ],
)
def test_refusals_in_a_journal_are_told_from_a_strangers_noise(
    reason: str, obstacle: Obstacle | None
) -> None:
    assert obstacle_told(reason) is obstacle


# --- what a journal remembers ------------------------------------------------------------------------------------


def _told(entries: list[Entry]) -> NodeState:
    state = LinkState()
    for entry in entries:
        state.take(entry)
    return state.node("bob")


def _journal(*events: AnyEvent) -> list[Entry]:
    begin = NOW.timestamp()
    return [
        Entry.model_validate({"node": "bob", "time": begin + second, "event": event})
        for second, event in enumerate(events)
    ]


STARTED = NodeStarted(role="bob", link="link-1", broker="192.0.2.1:8883", reproducible=False)
REFUSED = PeerRefused(reason="192.0.2.9:5: the peer's certificate has expired: issue a new one")
NOISE = PeerRefused(reason="192.0.2.9:5: the peer does not speak TLS")
MET = EpochBegan(
    epoch=0,
    session="0" * 32,
    authenticated_by="mutual-tls",
    tls_version="TLSv1.3",
    key_id=None,
    peer="alice",
    peer_fingerprint=None,
)


def test_a_peer_that_was_turned_away_since_it_last_came_through_is_in_the_way() -> None:
    finding = as_listener(_told(_journal(STARTED, MET, REFUSED, NOISE, REFUSED)), "alice")
    assert finding.obstacle is Obstacle.CERTIFICATE
    assert "2 times" in finding.sentence
    assert "has expired" in finding.sentence


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ((), "has not run here yet"),
        ((STARTED, NOISE), "nobody has been turned away"),
        ((STARTED, REFUSED, MET), "came through"),
        ((STARTED, REFUSED, STARTED), "nobody has been turned away"),
    ],
)
def test_a_refusal_that_is_over_or_means_nothing_is_not_in_the_way(
    events: tuple[AnyEvent, ...], words: str
) -> None:
    finding = as_listener(_told(_journal(*events)), "alice")
    assert finding.obstacle is None
    assert words in finding.sentence


def test_a_running_dialler_is_judged_by_her_last_line() -> None:
    lost = LineLost(reason="The peer closed the connection.")
    assert as_dialler(_told(_journal(STARTED, MET, lost)), "bob").obstacle is Obstacle.PEER
    assert as_dialler(_told(_journal(STARTED, MET, lost, MET)), "bob").obstacle is None
    assert as_dialler(_told(_journal(STARTED)), "bob").obstacle is None
    assert as_dialler(_told(_journal(STARTED, MET, REFUSED)), "bob").obstacle is Obstacle.CERTIFICATE


# --- the node's own house ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("installation") / "home"
    addresses = LinkAddresses(*(Address("192.0.2.7", port) for port in (8883, 7000, 7001)))
    install(home, {}, Installation(addresses), small_parameters())
    return home


@pytest.fixture
def alice(installation: Path, tmp_path: Path) -> Path:
    folder = tmp_path / ALICE
    shutil.copytree(LinkHome(installation).node(ALICE), folder)
    return folder


def _patient(folder: Path, now: datetime | None = None) -> Patient:
    settings = load_settings(AliceSettings, folder / "node.toml")
    return Patient(Role.ALICE, settings, folder, now or datetime.now(UTC))


def _reissue(installation: Path, folder: Path, name: str, begin: int, end: int) -> None:
    for file in ("certificate.pem", "private-key.pem", "authority.pem", "revocations.pem"):
        (folder / file).unlink()
    validity = Validity(NOW + timedelta(days=begin), NOW + timedelta(days=end))
    issue(installation / NODES_AUTHORITY, name, folder, validity=validity)


def test_a_fresh_home_passes_and_nothing_is_made_in_it(alice: Path) -> None:
    before = sorted(alice.rglob("*"))
    patient = _patient(alice)
    assert check_files(patient, running=False).outcome is Outcome.OK
    assert check_clock(patient, None).outcome is Outcome.OK
    assert check_credentials(patient, latched=False).outcome is Outcome.OK
    assert not read_holdings(patient).latched
    assert sorted(alice.rglob("*")) == before


@pytest.mark.parametrize("date", [datetime(1970, 1, 1, tzinfo=UTC), NOW - timedelta(hours=1)])
def test_a_clock_before_the_certificates_is_found(alice: Path, date: datetime) -> None:
    finding = check_clock(_patient(alice, date), None)
    assert finding.obstacle is Obstacle.CLOCK
    assert f"{date:%Y-%m-%d}" in finding.sentence


def test_a_clock_before_the_last_line_of_the_journal_is_found(alice: Path) -> None:
    patient = _patient(alice)
    assert check_clock(patient, patient.now + timedelta(minutes=4)).outcome is Outcome.OK
    assert check_clock(patient, patient.now + timedelta(minutes=6)).obstacle is Obstacle.CLOCK


def test_keys_of_a_bootstrap_without_authentication_are_told_of_whatever_is_trusted_now(alice: Path) -> None:
    patient = _patient(alice)
    owner = StoreOwner(patient.settings.link, patient.settings.node, reproducible=False)
    with closing(KeyStore.open(alice, owner)) as store:
        store.mark_unauthenticated()
    holdings = read_holdings(patient)
    for latched in (False, True):
        found = check_credentials(patient, latched=latched, unauthenticated=holdings.unauthenticated)
        assert found.outcome is Outcome.OK
        assert "without authentication, and no application gets them" in found.sentence
        assert "bootstrap --again" in found.sentence


async def _credentials(patient: Patient, *, latched: bool = False) -> Finding:
    async def look() -> Finding:
        return check_credentials(patient, latched=latched)

    [(_, finding)] = (await examine([Check("credentials", look)])).findings
    return finding


async def test_an_expired_certificate_is_in_the_way_only_while_one_is_needed(
    installation: Path, alice: Path
) -> None:
    _reissue(installation, alice, ALICE, -2, -1)
    found = await _credentials(_patient(alice))
    assert found.obstacle is Obstacle.CERTIFICATE
    assert "expired" in found.sentence
    assert "if the clock is right" in found.sentence
    assert (await _credentials(_patient(alice), latched=True)).outcome is Outcome.OK


async def test_a_certificate_for_another_node_is_a_matter_of_names(installation: Path, alice: Path) -> None:
    _reissue(installation, alice, "carol", -1, 1)
    found = await _credentials(_patient(alice))
    assert found.obstacle is Obstacle.NAME
    assert "carol" in found.sentence


async def test_a_key_that_others_can_read_and_a_foreign_authority_are_matters_of_certificates(
    alice: Path,
) -> None:
    (alice / "private-key.pem").chmod(0o644)
    found = await _credentials(_patient(alice))
    assert (found.obstacle, "open to others" in found.sentence) == (Obstacle.CERTIFICATE, True)
    (alice / "private-key.pem").chmod(0o600)
    (alice / "authority.pem").write_bytes((alice / "apparatus" / "authority.pem").read_bytes())
    found = await _credentials(_patient(alice))
    assert (found.obstacle, "was not issued by" in found.sentence) == (Obstacle.CERTIFICATE, True)


async def test_an_expired_certificate_of_the_apparatus_is_always_in_the_way(alice: Path) -> None:
    finding = await _credentials(_patient(alice, NOW + timedelta(days=400)), latched=True)
    assert finding.obstacle is Obstacle.CERTIFICATE
    assert "apparatus" in finding.sentence


@pytest.fixture
def by_hand(alice: Path) -> Path:
    """Alice's home, on a link that begins with a pre-shared key; she has no certificate to fall back on."""
    _anchor(alice, trust={"anchor": "psk"})
    for file in ("certificate.pem", "private-key.pem", "authority.pem", "revocations.pem"):
        (alice / file).unlink()
    create_preshared(alice / PRESHARED_FILE, PADS_FROM_BITS)
    return alice


def _anchor(folder: Path, **sections: dict[str, object]) -> None:
    path = folder / "node.toml"
    write_over(NewFile(path, tomli_w.dumps(merged(tomllib.loads(path.read_text()), sections)).encode()))


def _files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


async def test_a_pre_shared_key_needs_no_certificate_and_says_what_it_is_good_for(by_hand: Path) -> None:
    before = _files(by_hand)
    assert check_clock(_patient(by_hand), None).outcome is Outcome.OK
    found = await _credentials(_patient(by_hand))
    assert (found.outcome, f"{PADS_FROM_BITS} bits" in found.sentence) == (Outcome.OK, True)
    assert "with pads from it" in found.sentence
    _anchor(by_hand, authentication={"scheme": "gmac"})
    assert "under a key from it" in (await _credentials(_patient(by_hand))).sentence
    assert _files(by_hand) == before


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [
        (None, 0o600, "does not exist"),
        ("5e" * 32, 0o640, "open to others (mode 0640)"),
        ("5e" * 31, 0o600, "holds 248 bits"),
        ("not hexadecimal at all", 0o600, "not in hexadecimal"),
    ],
)
async def test_what_is_wrong_with_a_pre_shared_key_is_a_matter_of_keys(
    by_hand: Path, text: str | None, mode: int, words: str
) -> None:
    file = by_hand / PRESHARED_FILE
    file.unlink()
    if text is not None:
        file.write_text(text)
        file.chmod(mode)
    found = await _credentials(_patient(by_hand))
    assert (found.obstacle, words in found.sentence) == (Obstacle.KEY, True), found
    assert (await _credentials(_patient(by_hand), latched=True)).outcome is Outcome.OK


async def test_a_pre_shared_key_whose_pads_have_had_their_bootstrap_is_in_the_way(by_hand: Path) -> None:
    patient = _patient(by_hand)
    name = pre_shared_file_name(PresharedSecret.load(by_hand / PRESHARED_FILE).key, patient.settings.link)
    with closing(
        KeyStore.open(by_hand, StoreOwner(patient.settings.link, ALICE, reproducible=False))
    ) as store:
        store.pads.deposit(name, {})
        assert (await _credentials(patient)).outcome is Outcome.OK
        store.reopen_bootstrap()
    found = await _credentials(patient)
    assert (found.obstacle, "have had their bootstrap" in found.sentence) == (Obstacle.KEY, True)
    _anchor(by_hand, authentication={"scheme": "hmac-sha256"})
    assert (await _credentials(_patient(by_hand))).outcome is Outcome.OK, (
        "a key may serve again, a pad may not"
    )


async def test_a_pre_shared_key_whose_pads_a_lost_store_has_taken_is_in_the_way(by_hand: Path) -> None:
    file, link = by_hand / PRESHARED_FILE, _patient(by_hand).settings.link
    mark(file, f"{pre_shared_file_name(PresharedSecret.load(file).key, link)}/tags-alice-to-bob")
    before = _files(by_hand)
    found = await _credentials(_patient(by_hand))
    assert (found.obstacle, "key store does not know which" in found.sentence) == (Obstacle.KEY, True)
    assert _files(by_hand) == before


async def test_a_web_of_trust_without_gnupg_is_in_the_way(
    alice: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _anchor(alice, trust={"anchor": "web-of-trust"})
    patient = _patient(alice)
    monkeypatch.setenv("PATH", "")
    found = await _credentials(patient)
    assert (found.outcome, "install the package gnupg" in found.sentence) == (Outcome.FAILED, True)


async def test_without_any_authentication_the_doctor_says_what_that_means(alice: Path) -> None:
    _anchor(alice, trust={"anchor": "none", "insecure_no_authentication": True})
    found = await _credentials(_patient(alice))
    assert (found.outcome, "whoever answers is believed" in found.sentence) == (Outcome.OK, True)


def test_a_node_runs_while_its_journal_is_open_for_writing_and_not_when_it_is_read(alice: Path) -> None:
    patient = _patient(alice)
    assert not is_running(patient), "without a journal it has never run"
    with patient.journal.open("ab"):
        assert is_running(patient)
    with patient.journal.open("rb"):
        assert not is_running(patient)


def test_a_store_without_its_key_is_found_and_no_new_key_is_made(alice: Path) -> None:
    (alice / "store.db").write_bytes(b"something")
    (alice / "store.db").chmod(0o600)
    with pytest.raises(ConfigurationError, match="key"):
        read_holdings(_patient(alice))
    assert not (alice / "store.key").exists()


# --- names, routes, ports ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reached", "obstacle"),
    [
        (Reach.OPEN, None),
        (Reach.REFUSED, Obstacle.PEER),
        (Reach.SILENT, Obstacle.FIREWALL),
        (Reach.FORBIDDEN, Obstacle.FIREWALL),
        (Reach.UNREACHABLE, Obstacle.ROUTE),
    ],
)
def test_each_way_of_not_arriving_has_its_obstacle(reached: Reach, obstacle: Obstacle | None) -> None:
    assert judge(BOB_KEYED, reached).obstacle is obstacle


def test_a_broker_where_nobody_listens_is_the_broker_and_not_the_peer() -> None:
    assert judge(Place(BROKER, Address("192.0.2.1", 8883)), Reach.REFUSED).obstacle is Obstacle.BROKER


@pytest.mark.parametrize(
    ("keyed", "certified", "obstacle", "words"),
    [
        (Reach.OPEN, Reach.OPEN, None, "can be reached"),
        (Reach.OPEN, Reach.SILENT, Obstacle.FIREWALL, "from port 7001"),
        (Reach.SILENT, Reach.OPEN, Obstacle.FIREWALL, "from port 7000"),
        (Reach.SILENT, Reach.SILENT, Obstacle.FIREWALL, "or no machine has this address"),
        (Reach.OPEN, Reach.REFUSED, Obstacle.KEY, "bootstrap --again"),
        (Reach.REFUSED, Reach.REFUSED, Obstacle.PEER, "nobody listens"),
        (Reach.UNREACHABLE, Reach.UNREACHABLE, Obstacle.ROUTE, "no way"),
    ],
)
def test_two_ports_tell_more_than_one(
    keyed: Reach, certified: Reach, obstacle: Obstacle | None, words: str
) -> None:
    finding = judge_peer((BOB_KEYED, keyed), (BOB_CERTIFIED, certified))
    assert finding.obstacle is obstacle
    assert words in finding.sentence


def test_where_no_certificate_is_needed_its_port_does_not_matter() -> None:
    assert judge_peer((BOB_KEYED, Reach.OPEN), None).obstacle is None


async def test_a_listener_is_reached_and_a_free_port_refuses() -> None:
    with socket.create_server((LOOPBACK, 0)) as door:
        address = Address(LOOPBACK, door.getsockname()[1])
        assert await reach(address) is Reach.OPEN
        assert check_binding([address]).obstacle is Obstacle.PORT
    assert await reach(address) is Reach.REFUSED
    assert check_binding([address]).obstacle is None


@pytest.mark.parametrize(
    ("number", "reached"),
    [
        (errno.ENETUNREACH, Reach.UNREACHABLE),
        (errno.EHOSTUNREACH, Reach.UNREACHABLE),
        (errno.EPERM, Reach.FORBIDDEN),
        (errno.ETIMEDOUT, Reach.SILENT),
    ],
)
async def test_what_the_network_says_is_told_apart(
    monkeypatch: pytest.MonkeyPatch, number: int, reached: Reach
) -> None:
    async def connect(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", connect)
    assert await reach(Address("192.0.2.7", 7000)) is reached


async def test_silence_is_waited_for_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    async def connect(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", connect)
    assert await reach(Address("192.0.2.7", 7000), patience_s=0.01) is Reach.SILENT


def _resolver[T](answer: list[T] | Exception) -> Callable[..., Awaitable[list[T]]]:
    async def getaddrinfo(*_: object, **__: object) -> list[T]:
        if isinstance(answer, Exception):
            raise answer
        return answer

    return getaddrinfo


async def test_of_several_addresses_the_best_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server((LOOPBACK, 0)) as door:
        port = door.getsockname()[1]
        both = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in ("127.0.0.2", LOOPBACK)]
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", _resolver(both))
        assert await reach(Address("bob.example", port)) is Reach.OPEN


async def test_a_host_name_that_nobody_knows_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", _resolver(unknown))
    finding = await check_name(Place("bob", Address("bob.example", 7000)))
    assert finding.obstacle is Obstacle.NAME
    assert "bob.example" in finding.sentence


async def test_a_host_name_that_can_be_none_is_found() -> None:
    assert (await check_name(Place("bob", Address("b" * 64 + ".example", 7000)))).obstacle is Obstacle.NAME


async def test_the_addresses_of_a_name_are_told() -> None:
    assert "127.0.0.1" in (await check_name(Place(BROKER, Address("localhost", 8883)))).sentence
    assert (await check_name(BOB_KEYED)).sentence == "192.0.2.7"


def test_an_address_of_another_machine_cannot_be_listened_at() -> None:
    finding = check_binding([BOB_KEYED.address])
    assert finding.obstacle is Obstacle.PORT
    assert "no such address" in finding.sentence


# --- MQTT 5, byte for byte ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("packet", "answer"),
    [
        ("20 03 00 00 00", Answer(Packet.CONNACK, 0)),
        ("20 02 00 05", Answer(Packet.CONNACK, 5)),
        ("20 03 00 87 00", Answer(Packet.CONNACK, 0x87)),
        ("40 02 00 01", Answer(Packet.PUBACK, 0)),
        ("40 03 00 01 87", Answer(Packet.PUBACK, 0x87)),
        ("90 04 00 01 00 80", Answer(Packet.SUBACK, 0x80)),
        ("90 04 00 01 00 01", Answer(Packet.SUBACK, 1)),
    ],
)
async def test_an_answer_is_found_among_other_packets(packet: str, answer: Answer) -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(bytes.fromhex("d0 00 30 05 00 01 61 00 78") + bytes.fromhex(packet))
    assert await read_answer(reader, answer.kind) == answer


@pytest.mark.parametrize("packet", ["15 03 03", "20 ff ff ff ff 7f", "48 54 54 50 2f 31 2e 31 20 34"])
async def test_what_is_not_mqtt_is_not_waited_for(packet: str) -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(bytes.fromhex(packet))
    reader.feed_eof()
    with pytest.raises((ValueError, EOFError)):
        await read_answer(reader, Packet.CONNACK)


def test_a_packet_too_short_for_its_reason_is_refused() -> None:
    with pytest.raises(ValueError, match="no answer"):
        decode(Packet.CONNACK, b"\x00")
