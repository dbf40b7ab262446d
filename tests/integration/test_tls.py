"""Who gets onto the classical channel: every stranger is refused at both ends, over real loopback sockets."""

import asyncio
import os
import shutil
import socket
import ssl
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from qkdlink.common.errors import CredentialsError, LinkError
from qkdlink.common.transport import connections
from qkdlink.common.transport.certified import dial, listen
from qkdlink.common.transport.connections import ACCEPTED, Connection
from qkdlink.common.transport.tls import check_peer, dialler_context, listener_context
from qkdlink.common.trust import pki
from qkdlink.common.trust.algorithms import PrivateKey
from qkdlink.common.trust.credentials import CredentialFiles, NodeCredentials, verify_signature
from qkdlink.common.trust.pem import read_certificate, read_chain, read_private_key
from qkdlink.deployment.certificates.hierarchy import create_authorities
from tests.support.foreign_tls import answering, knock

NOW = datetime.now(UTC)
EXPIRED = pki.Validity(NOW - timedelta(days=20), NOW - timedelta(days=10))
FUTURE = pki.Validity(NOW + timedelta(days=10), NOW + timedelta(days=20))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One link of three nodes, and a second authority of the same name that issued to the same names."""
    home = tmp_path_factory.mktemp("link")
    for authority in ("ca", "stranger-ca"):
        create_authorities(home / authority)
    lists = [(home / authority / "revocations.pem").read_bytes() for authority in ("ca", "stranger-ca")]
    (home / "revocations.pem").write_bytes(b"".join(lists))
    for name in ("alice", "bob", "eve"):
        pki.issue(home / "ca", name, home / name)
        pki.issue(home / "stranger-ca", name, home / f"stranger-{name}")
    pki.issue(home / "ca", "bob", home / "expired-bob", validity=EXPIRED)
    pki.issue(home / "ca", "alice", home / "expired-alice", validity=EXPIRED)
    pki.issue(home / "ca", "bob", home / "future-bob", validity=FUTURE)
    pki.issue(home / "ca", "alice", home / "future-alice", validity=FUTURE)
    pki.issue(home / "ca", "eve", home / "two-faced-eve", hosts=["alice", "bob"])
    return home


def credentials(home: Path, folder: str) -> NodeCredentials:
    """Return what `folder` holds, under this link's authority, whoever issued it.

    A node would not start with most of what is tried here, so `load` and its checks are gone round: this is
    what a peer that does not check itself would show.
    """
    shown = CredentialFiles.in_folder(home / folder)
    return NodeCredentials(
        name=folder.rpartition("-")[2],
        files=replace(shown, revocations=home / "revocations.pem"),
        chain=(*read_chain(shown.certificate), read_certificate(home / "ca" / "authority.pem")),
        _private_key=read_private_key(shown.private_key),
    )


@dataclass
class Bob:
    """A listening end that remembers what happened at it, and echoes frames of eight megabytes at most."""

    port: int = 0
    accepted: list[str] = field(default_factory=list)
    refused: asyncio.Queue[str] = field(default_factory=asyncio.Queue)

    async def on_connection(self, connection: Connection) -> None:
        self.accepted.append(connection.peer.name)
        while size := int.from_bytes(await connection.reader.read(4)):
            connection.writer.write(await connection.reader.readexactly(size))
            await connection.writer.drain()

    async def refusal(self) -> str:
        async with asyncio.timeout(5):
            return await self.refused.get()


@asynccontextmanager
async def listening(shown: NodeCredentials, peer: str = "alice") -> AsyncIterator[Bob]:
    bob = Bob()
    async with listen("127.0.0.1", 0, shown, peer, bob.on_connection, bob.refused.put_nowait) as door:
        port = door.port
        bob.port = port
        yield bob


@dataclass
class LongLine:
    """A relay to a listener, whose answers arrive only when the test says so."""

    port: int = 0
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, onward: int) -> None:
        back, there = await asyncio.open_connection("127.0.0.1", onward)
        there.write(await reader.read(4096))
        first = await back.read(4096)
        self.answered.set()
        await self.over.wait()
        writer.write(first)
        async with asyncio.TaskGroup() as ways:
            ways.create_task(passed_on(reader, there))
            ways.create_task(passed_on(back, writer))


async def passed_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while chunk := await source.read(4096):
        sink.write(chunk)
    sink.close()


@asynccontextmanager
async def held_up(onward: int) -> AsyncIterator[LongLine]:
    line = LongLine()
    server = await asyncio.start_server(lambda r, w: line.carry(r, w, onward), "127.0.0.1", 0)
    line.port = server.sockets[0].getsockname()[1]
    yield line
    server.close()
    await server.wait_closed()


async def test_both_ends_learn_whom_they_talk_to_and_megabytes_pass_both_ways(home: Path) -> None:
    alice = credentials(home, "alice")
    async with listening(credentials(home, "bob")) as bob:
        connection = await dial("127.0.0.1", bob.port, alice, "bob")
        payload = os.urandom(8 * 1024 * 1024)
        connection.writer.write(len(payload).to_bytes(4))
        connection.writer.write(payload)
        echoed = await connection.reader.readexactly(len(payload))
        await connection.close()
    assert echoed == payload
    assert connection.peer.name == "bob"
    assert connection.peer.fingerprint == credentials(home, "bob").fingerprint
    assert bob.accepted == ["alice"]
    assert bob.refused.empty()


async def test_a_slow_reader_makes_the_writer_wait_and_loses_nothing(home: Path) -> None:
    received = bytearray()
    done = asyncio.Event()

    async def read_slowly(connection: Connection) -> None:
        while piece := await connection.reader.read(1 << 20):
            received.extend(piece)
            await asyncio.sleep(0.005)
        done.set()

    payload = os.urandom(1 << 20)
    async with listen("127.0.0.1", 0, credentials(home, "bob"), "alice", read_slowly, pytest.fail) as door:
        port = door.port
        connection = await dial("127.0.0.1", port, credentials(home, "alice"), "bob")
        for _ in range(24):
            connection.writer.write(payload)
            await connection.writer.drain()
        await connection.close()
        async with asyncio.timeout(10):
            await done.wait()
    assert bytes(received) == payload * 24


async def test_what_was_agreed_on_is_known_when_the_line_is_gone_already(home: Path) -> None:
    """Somebody in between may cut it at any moment, between the handshake and whoever tells of it."""
    told: list[str] = []
    ended = asyncio.Event()

    async def lose(connection: Connection) -> None:
        connection.writer.transport.abort()
        await asyncio.sleep(0.01)
        told.append(connection.tls_version)
        ended.set()

    async with listen("127.0.0.1", 0, credentials(home, "bob"), "alice", lose, pytest.fail) as door:
        connection = await dial("127.0.0.1", door.port, credentials(home, "alice"), "bob")
        async with asyncio.timeout(10):
            await ended.wait()
        connection.writer.transport.abort()
        await asyncio.sleep(0.01)
    assert [*told, connection.tls_version] == ["TLSv1.3", "TLSv1.3"]


async def test_sockets_are_prompt_and_kept_alive_on_both_ends(home: Path) -> None:
    found: list[tuple[int, int]] = []

    def options(connection: Connection) -> tuple[int, int]:
        line: socket.socket = connection.writer.get_extra_info("socket")
        return (
            line.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY),
            line.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
        )

    async def look(connection: Connection) -> None:
        found.append(options(connection))

    async with listen("127.0.0.1", 0, credentials(home, "bob"), "alice", look, pytest.fail) as door:
        port = door.port
        connection = await dial("127.0.0.1", port, credentials(home, "alice"), "bob")
        assert await connection.reader.read() == b""
        found.append(options(connection))
        await connection.close()
    assert all(value for pair in found for value in pair)
    assert len(found) == 2


@pytest.mark.parametrize(
    ("shown", "sentence"),
    [
        ("stranger-bob", "comes from another authority"),
        ("expired-bob", "has expired"),
        ("future-bob", "is not valid yet"),
        ("eve", "is for another name"),
        ("two-faced-eve", "leads back to this very node"),
    ],
)
async def test_the_dialler_refuses_the_wrong_listener(home: Path, shown: str, sentence: str) -> None:
    async with listening(credentials(home, shown)) as bob:
        with pytest.raises(CredentialsError, match=rf"bob at 127\.0\.0\.1:{bob.port}: .*{sentence}"):
            await dial("127.0.0.1", bob.port, credentials(home, "alice"), "bob")
        if shown != "two-faced-eve":
            assert "handshake was broken off" in await bob.refusal()
            assert bob.accepted == []


@pytest.mark.parametrize(
    ("shown", "sentence"),
    [
        ("stranger-alice", "comes from another authority"),
        ("expired-alice", "has expired"),
        ("future-alice", "is not valid yet"),
        ("eve", 'is for "eve", but this node expects "alice"'),
        ("two-faced-eve", "leads back to this very node"),
    ],
)
async def test_the_listener_refuses_the_wrong_dialler_and_the_dialler_learns_it(
    home: Path, shown: str, sentence: str
) -> None:
    async with listening(credentials(home, "bob")) as bob:
        with pytest.raises(CredentialsError, match="does not take our certificate"):
            await dial("127.0.0.1", bob.port, credentials(home, shown), "bob")
        assert sentence in await bob.refusal()
        assert bob.accepted == []


def foreign_context(
    home: Path, shown: str | None, *, server: bool, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> ssl.SSLContext:
    """Return the context of a program that is not ours: it believes everybody and shows what it is told."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    if shown is not None:
        context.load_cert_chain(home / shown / "certificate.pem", home / shown / "private-key.pem")
    return context


def odd_certificate(home: Path, folder: str) -> None:
    """Make a certificate of "bob" that `ca issue` never makes: see ODDITIES."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bob")])
    issuer, issuer_key = subject, key
    if folder != "self-signed":
        authority = x509.load_pem_x509_certificate((home / "ca" / "certificate.pem").read_bytes())
        issuer, issuer_key = authority.subject, p256(read_private_key(home / "ca" / "private-key.pem"))
    identifier = x509.SubjectKeyIdentifier.from_public_key
    builder = (
        x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(NOW - timedelta(hours=1))
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(identifier(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
                identifier(issuer_key.public_key())
            ),
            critical=False,
        )
    )
    for extension in ODDITIES[folder]:
        builder = builder.add_extension(extension, critical=False)
    (home / folder).mkdir(exist_ok=True)
    pem = builder.sign(issuer_key, hashes.SHA256()).public_bytes(Encoding.PEM)
    above = b"" if folder == "self-signed" else (home / "ca" / "certificate.pem").read_bytes()
    (home / folder / "certificate.pem").write_bytes(pem + above)
    (home / folder / "private-key.pem").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )


def p256(key: PrivateKey) -> ec.EllipticCurvePrivateKey:
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def purposes(*identifiers: x509.ObjectIdentifier) -> x509.ExtendedKeyUsage:
    return x509.ExtendedKeyUsage(identifiers)


CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
NAMED_BOB = x509.SubjectAlternativeName([x509.DNSName("bob")])
ODDITIES: dict[str, list[x509.ExtensionType]] = {
    "self-signed": [NAMED_BOB, purposes(CLIENT, SERVER)],
    "nameless": [purposes(CLIENT, SERVER)],
    "purposeless": [NAMED_BOB],
    "client-only": [NAMED_BOB, purposes(CLIENT)],
    "server-only": [NAMED_BOB, purposes(SERVER)],
}


@pytest.mark.parametrize(
    ("oddity", "sentence"),
    [
        ("self-signed", "is self-signed"),
        ("nameless", "is for another name"),
        ("purposeless", "is not meant for its end"),
        ("client-only", "is not meant for its end"),
    ],
)
async def test_the_dialler_refuses_an_odd_certificate(home: Path, oddity: str, sentence: str) -> None:
    odd_certificate(home, oddity)
    async with answering(foreign_context(home, oddity, server=True)) as port:
        with pytest.raises(CredentialsError, match=sentence):
            await dial("127.0.0.1", port, credentials(home, "alice"), "bob")


@pytest.mark.parametrize(
    ("oddity", "sentence"),
    [
        ("self-signed", "is self-signed"),
        ("nameless", 'is for no name, but this node expects "bob"'),
        ("purposeless", "is not meant for its end"),
        ("server-only", "is not meant for its end"),
    ],
)
async def test_the_listener_refuses_an_odd_certificate_before_any_application_byte(
    home: Path, oddity: str, sentence: str
) -> None:
    odd_certificate(home, oddity)
    async with listening(credentials(home, "alice"), peer="bob") as station:
        assert await knock(station.port, foreign_context(home, oddity, server=False)) == b""
        assert sentence in await station.refusal()
        assert station.accepted == []


async def test_the_listener_refuses_a_dialler_without_a_certificate(home: Path) -> None:
    async with listening(credentials(home, "bob")) as bob:
        assert await knock(bob.port, foreign_context(home, None, server=False)) == b""
        assert "shows no certificate" in await bob.refusal()
        assert bob.accepted == []


async def test_the_listener_refuses_a_dialler_that_knows_only_tls_1_2(home: Path) -> None:
    old = foreign_context(home, "alice", server=False, version=ssl.TLSVersion.TLSv1_2)
    async with listening(credentials(home, "bob")) as bob:
        assert await knock(bob.port, old) == b""
        assert "does not speak TLS 1.3" in await bob.refusal()


async def test_the_dialler_refuses_a_listener_that_knows_only_tls_1_2(home: Path) -> None:
    old = foreign_context(home, "bob", server=True, version=ssl.TLSVersion.TLSv1_2)
    async with answering(old) as port:
        with pytest.raises(LinkError, match=r"does not speak TLS 1\.3|handshake was broken off"):
            await dial("127.0.0.1", port, credentials(home, "alice"), "bob")


async def test_the_listener_survives_garbage_and_says_what_it_was(home: Path) -> None:
    async with listening(credentials(home, "bob")) as bob:
        for garbage in (b"GET / HTTP/1.0\r\n\r\n", b"\x00" * 400, os.urandom(4096)):
            _, writer = await asyncio.open_connection("127.0.0.1", bob.port)
            writer.write(garbage)
            assert f"127.0.0.1:{writer.get_extra_info('sockname')[1]}: " in await bob.refusal()
            writer.transport.abort()
        connection = await dial("127.0.0.1", bob.port, credentials(home, "alice"), "bob")
        await connection.close()


async def test_a_probe_that_only_connects_is_told_as_a_broken_handshake(home: Path) -> None:
    async with listening(credentials(home, "bob")) as bob:
        _, writer = await asyncio.open_connection("127.0.0.1", bob.port)
        writer.close()
        assert "handshake was broken off" in await bob.refusal()


@asynccontextmanager
async def plain_server(answer: bytes | None) -> AsyncIterator[int]:
    """Listen without TLS; `answer` None keeps silent and open."""

    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await (reader.read(1) if answer is not None else reader.read())
        writer.write(answer or b"")
        writer.close()

    server = await asyncio.start_server(reply, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        server.abort_clients()


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (b"SSH-2.0-somebody\r\n", "does not speak TLS"),
        (b"", "handshake was broken off"),
        (None, "no answer in time"),
    ],
)
async def test_the_dialler_says_what_is_wrong_with_a_server_without_tls(
    home: Path, answer: bytes | None, sentence: str
) -> None:
    async with plain_server(answer) as port:
        with pytest.raises(LinkError, match=sentence):
            await dial("127.0.0.1", port, credentials(home, "alice"), "bob", timeout_s=0.5)


async def test_a_listener_that_accepts_in_another_language_is_not_ours(home: Path) -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ready\r\n")

    server = await asyncio.start_server(greet, "127.0.0.1", 0, ssl=listener_context(credentials(home, "bob")))
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(LinkError, match="not a qkdlink node"):
        await dial("127.0.0.1", port, credentials(home, "alice"), "bob")
    server.close()
    server.abort_clients()


async def test_nobody_listening_and_an_unknown_host_are_told_apart(home: Path) -> None:
    alice = credentials(home, "alice")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(LinkError, match="nobody listens there"):
            await dial("127.0.0.1", unused.getsockname()[1], alice, "bob")
    with pytest.raises(LinkError, match="host name cannot be resolved"):
        await dial("no-such-host.invalid", 1, alice, "bob")


async def test_a_port_that_is_taken_is_named(home: Path) -> None:
    async with listening(credentials(home, "bob")) as bob:
        with pytest.raises(LinkError, match=rf"127\.0\.0\.1:{bob.port}: another program has taken"):
            async with listen(
                "127.0.0.1", bob.port, credentials(home, "bob"), "alice", bob.on_connection, pytest.fail
            ):
                pytest.fail("two listeners on one port")


async def test_a_node_that_dials_itself_is_refused_at_both_ends(home: Path) -> None:
    alice = credentials(home, "alice")
    async with listening(alice, peer="bob") as mirror:
        with pytest.raises(CredentialsError, match="is for another name"):
            await dial("127.0.0.1", mirror.port, alice, "bob")
        assert await knock(mirror.port, foreign_context(home, "alice", server=False)) == b""
        await mirror.refusal()
        assert "leads back to this very node" in await mirror.refusal()


async def test_a_peer_of_the_same_name_is_refused_before_anything_is_sent(home: Path) -> None:
    alice = credentials(home, "alice")
    with pytest.raises(CredentialsError, match='both called "alice"'):
        await dial("127.0.0.1", 1, alice, "alice")
    with pytest.raises(CredentialsError, match='both called "alice"'):
        async with listening(alice, peer="alice"):
            pytest.fail("listening for itself")


async def test_no_ticket_is_given_and_no_session_can_be_resumed(home: Path) -> None:
    context = foreign_context(home, "alice", server=False)

    def meet(port: int, session: ssl.SSLSession | None) -> tuple[ssl.SSLSession, bool]:
        line = socket.create_connection(("127.0.0.1", port), timeout=5)
        with context.wrap_socket(line, server_hostname="bob", session=session) as tls:
            assert tls.recv(1) == ACCEPTED
            assert tls.session is not None
            return tls.session, bool(tls.session_reused)

    async with listening(credentials(home, "bob")) as bob:
        session, first_reused = await asyncio.to_thread(meet, bob.port, None)
        _, second_reused = await asyncio.to_thread(meet, bob.port, session)
    assert not session.has_ticket
    assert not first_reused
    assert not second_reused


def test_only_the_links_own_authority_is_believed_and_only_tls_1_3_is_spoken(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys.log"))
    for context in (dialler_context(credentials(home, "alice")), listener_context(credentials(home, "bob"))):
        assert len(context.get_ca_certs()) == 1
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.minimum_version is context.maximum_version is ssl.TLSVersion.TLSv1_3
        assert context.keylog_filename is None


def test_credentials_replaced_under_a_running_node_are_noticed(home: Path, tmp_path: Path) -> None:
    pki.issue(home / "ca", "alice", tmp_path / "alice")
    files = CredentialFiles.in_folder(tmp_path / "alice")
    loaded = NodeCredentials.load(files, "alice", datetime.now(UTC))
    shutil.copy(home / "eve" / "certificate.pem", files.certificate)
    with pytest.raises(CredentialsError, match=r"certificate\.pem was replaced"):
        dialler_context(loaded)


def test_a_certificate_with_another_key_cannot_be_shown(home: Path) -> None:
    alice = credentials(home, "alice")
    files = replace(alice.files, private_key=home / "eve" / "private-key.pem")
    mixed = replace(alice, files=files)
    with pytest.raises(CredentialsError, match=r"private-key\.pem cannot be used"):
        dialler_context(mixed)


async def test_the_peer_seen_on_the_line_is_the_one_whose_signature_verifies(home: Path) -> None:
    alice, bob = credentials(home, "alice"), credentials(home, "bob")
    async with listening(bob) as station:
        connection = await dial("127.0.0.1", station.port, alice, "bob")
        await connection.close()
    assert verify_signature(connection.peer.certificate_der, b"checkpoint", bob.sign(b"checkpoint"))
    assert not verify_signature(connection.peer.certificate_der, b"checkpoint", alice.sign(b"checkpoint"))


@pytest.mark.parametrize(
    ("said", "source", "strangers", "sentence"),
    [
        (b"", "127.0.0.1", 3 * connections.MAX_SILENT, "connections on which nothing is said"),
        (b"\x16", "127.0.0.2", 3 * connections.MAX_HANDSHAKES, "too many unfinished handshakes"),
    ],
    ids=["silent, from the peer's own address", "beginning a handshake, from another address"],
)
async def test_strangers_cannot_keep_the_peer_out_on_a_long_line(
    home: Path, said: bytes, source: str, strangers: int, sentence: str
) -> None:
    """The honest handshake is the oldest of all: it is under way until the flood is over."""
    async with listening(credentials(home, "bob")) as bob, held_up(bob.port) as line:
        dialling = asyncio.create_task(dial("127.0.0.1", line.port, credentials(home, "alice"), "bob"))
        await line.answered.wait()
        flood = []
        for _ in range(strangers):
            stranger = await asyncio.open_connection("127.0.0.1", bob.port, local_addr=(source, 0))
            stranger[1].write(said)
            flood.append(stranger)  # which would be closed if nobody remembered it
        while sentence not in await bob.refusal():
            pass
        line.over.set()
        connection = await dialling
        await connection.close()
        for _, writer in flood:
            writer.transport.abort()


async def test_an_idle_stranger_is_dropped_when_its_time_is_over(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HANDSHAKE_TIMEOUT_S", 0.2)
    async with listening(credentials(home, "bob")) as bob:
        reader, writer = await asyncio.open_connection("127.0.0.1", bob.port)
        assert "no answer in time" in await bob.refusal()
        assert await reader.read() == b""
        writer.close()


async def test_a_failing_connection_is_reported_and_the_listener_goes_on(home: Path) -> None:
    reported: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["message"]))

    async def fail(_: Connection) -> None:
        raise LinkError("the first block failed")

    async with listen("127.0.0.1", 0, credentials(home, "bob"), "alice", fail, pytest.fail) as door:
        port = door.port
        for _ in range(2):
            connection = await dial("127.0.0.1", port, credentials(home, "alice"), "bob")
            with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
                await connection.reader.readexactly(1)
            connection.writer.transport.abort()
    assert len(reported) == 2
    assert "connection from 127.0.0.1" in reported[0]


async def test_leaving_the_listener_ends_its_connections_and_waits_for_their_ends(home: Path) -> None:
    ended: list[str] = []

    async def hold(connection: Connection) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(connection.peer.name)

    async with listen("127.0.0.1", 0, credentials(home, "bob"), "alice", hold, pytest.fail) as door:
        port = door.port
        connection = await dial("127.0.0.1", port, credentials(home, "alice"), "bob")
    assert ended == ["alice"]
    with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
        await connection.reader.readexactly(1)
    await connection.close()


async def test_a_hello_that_arrives_before_the_listener_has_begun_is_not_lost(home: Path) -> None:
    def begin_late[T](
        loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T], **_: object
    ) -> asyncio.Task[T]:
        async def late() -> T:
            await asyncio.sleep(0.1)
            return await coroutine

        return asyncio.Task(late(), loop=loop)

    asyncio.get_running_loop().set_task_factory(begin_late)
    async with listening(credentials(home, "bob")) as bob:
        connection = await dial("127.0.0.1", bob.port, credentials(home, "alice"), "bob", timeout_s=10)
        await connection.close()


async def test_an_error_in_the_body_of_the_listener_keeps_its_type(home: Path) -> None:
    with pytest.raises(LinkError, match="the broker is gone"):
        async with listening(credentials(home, "bob")):
            raise LinkError("the broker is gone")


def test_a_line_is_checked_again_after_the_handshake_even_if_its_context_was_lax(home: Path) -> None:
    client = foreign_context(home, "alice", server=False, version=ssl.TLSVersion.TLSv1_2)
    server = foreign_context(home, "bob", server=True, version=ssl.TLSVersion.TLSv1_2)
    with pytest.raises(CredentialsError, match=r"not a fresh TLS 1\.3 session"):
        check_peer(handshake(client, server), "bob", "alice")


def test_the_purpose_asked_for_is_that_of_the_peers_own_end(home: Path) -> None:
    lax = foreign_context(home, "alice", server=False)
    for shown in ("client-only", "server-only"):
        odd_certificate(home, shown)
    dialler = handshake(lax, foreign_context(home, "server-only", server=True))
    assert check_peer(dialler, "bob", "alice").name == "bob"
    with pytest.raises(CredentialsError, match="is not meant for its end"):
        check_peer(handshake(lax, foreign_context(home, "client-only", server=True)), "bob", "alice")


def handshake(client: ssl.SSLContext, server: ssl.SSLContext) -> ssl.SSLObject:
    """Make a handshake in memory and return the dialler's end."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    dialler = client.wrap_bio(to_client, to_server, server_hostname="bob")
    listener = server.wrap_bio(to_server, to_client, server_side=True)
    waiting = {dialler, listener}
    while waiting:
        for end in tuple(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                pass
    return dialler
