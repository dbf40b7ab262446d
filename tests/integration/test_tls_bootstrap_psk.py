"""Who gets onto the line of a bootstrap that trusts a pre-shared key; and who onto one that trusts nobody: anybody."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from qkdlink.common.authentication.scheme import SchemeName
from qkdlink.common.errors import CredentialsError, LinkError
from qkdlink.common.keys.derivation import bootstrap_identity, bootstrap_psk, parse_identity, psk_identity
from qkdlink.common.node.anchors.nobody import NobodyAnchor
from qkdlink.common.node.anchors.preshared import PresharedAnchor
from qkdlink.common.protocol.roles import Role
from qkdlink.common.transport.addresses import Address
from qkdlink.common.transport.certified import dial
from qkdlink.common.transport.connections import ACCEPTED
from qkdlink.common.transport.psk import AnyConnection, LinkKeys, dial_psk, listen_psk
from qkdlink.common.transport.unauthenticated import dial_anybody, listen_to_anybody
from qkdlink.common.trust.credentials import CredentialFiles, NodeCredentials
from qkdlink.common.trust.preshared import PresharedSecret
from qkdlink.deployment.homes.home import LinkHome, open_home
from tests.support.foreign_tls import answering

HOST = "127.0.0.1"
SECRET, OTHER_SECRET = PresharedSecret(bytes(range(32))), PresharedSecret(bytes(range(1, 33)))
KEY_ID = f"{'5e' * 16}/1"
IDENTITY = bootstrap_identity("link-1")
PSK = bootstrap_psk(SECRET.key, "link-1", SECRET.bits)
ANOTHER_KEY = "names the pre-shared key of the bootstrap, but has another"


def anchor(role: Role, secret: PresharedSecret = SECRET, link: str = "link-1") -> PresharedAnchor:
    node, peer = (each.word for each in (role, role.peer))
    return PresharedAnchor(role, link, node, peer, SchemeName.WEGMAN_CARTER, Path("pre-shared.key"), secret)


@dataclass
class Bob:
    """A bootstrap port, and what happened at it."""

    address: Address = field(default_factory=lambda: Address(HOST, 1))
    accepted: list[AnyConnection] = field(default_factory=list)
    refused: asyncio.Queue[str] = field(default_factory=asyncio.Queue)

    async def on_connection(self, connection: AnyConnection) -> None:
        self.accepted.append(connection)
        while line := await connection.reader.readline():
            connection.writer.write(line)

    async def refusal(self) -> str:
        async with asyncio.timeout(5):
            return await self.refused.get()


@asynccontextmanager
async def listening(its: PresharedAnchor | NobodyAnchor) -> AsyncIterator[Bob]:
    bob = Bob()
    async with its.listen(Address(HOST, 0), bob.on_connection, bob.refused.put_nowait) as door:
        bob.address = Address(HOST, door.port)
        yield bob


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> LinkHome:
    return open_home(tmp_path_factory.mktemp("link") / "home")


def credentials(home: LinkHome, name: str) -> NodeCredentials:
    return NodeCredentials.load(CredentialFiles.in_folder(home.node(name)), name, datetime.now(UTC))


async def test_whoever_has_the_secret_is_known_without_any_certificate() -> None:
    async with listening(anchor(Role.BOB)) as bob:
        connection = await anchor(Role.ALICE).dial(bob.address)
        connection.writer.write(b"hello\n")
        assert await connection.reader.readline() == b"hello\n"
        line: ssl.SSLObject = connection.writer.get_extra_info("ssl_object")
        assert (line.version(), line.getpeercert(), line.session_reused) == ("TLSv1.3", None, True)
        await connection.close()
    assert connection.peer.name == "bob"
    assert [each.peer.name for each in bob.accepted] == ["alice"]
    assert connection.peer.fingerprint is None


@pytest.mark.parametrize(
    ("identity", "key", "sentence"),
    [
        (IDENTITY, bootstrap_psk(OTHER_SECRET.key, "link-1", OTHER_SECRET.bits), ANOTHER_KEY),
        (IDENTITY, SECRET.key, ANOTHER_KEY),
        (IDENTITY, bootstrap_psk(SECRET.key, "link-2", SECRET.bits), ANOTHER_KEY),
        (IDENTITY, bootstrap_psk(SECRET.key, "link-1", SECRET.bits + 8), ANOTHER_KEY),
        (bootstrap_identity("link-2"), PSK, "which is no key of alice"),
        (IDENTITY.replace("alice", "bob"), PSK, "which is no key of alice"),
        (psk_identity("link-1", KEY_ID), PSK, "which is no key of alice"),
        (f"{IDENTITY} ", PSK, "which is no key of alice"),
    ],
    ids=[
        "another secret",
        "underived",
        "derived for",
        "longer file",
        "other link",
        "own role",
        "an epoch's",
        "nearly",
    ],
)
async def test_another_secret_or_identity_is_refused_at_both_ends(
    identity: str, key: bytes, sentence: str
) -> None:
    async with listening(anchor(Role.BOB)) as bob:
        with pytest.raises(CredentialsError, match="line was closed at the offer of"):
            await dial_psk(HOST, bob.address.port, identity, key, "bob")
        told = await bob.refusal()
    assert sentence in told
    assert SECRET.key.hex()[:8] not in told
    assert bob.accepted == []


async def test_the_port_of_the_epochs_never_takes_the_bootstraps_identity() -> None:
    psk, bob = PSK, Bob()

    async def nobody(connection: object) -> None:
        pytest.fail(f"{connection} was let in")

    keys = LinkKeys("link-1", "bob", "alice", lambda _: psk)  # a store that would give it for whatever name
    async with listen_psk(HOST, 0, keys, nobody, bob.refused.put_nowait) as door:
        with pytest.raises(CredentialsError, match="the pre-shared key of the bootstrap"):
            await anchor(Role.ALICE).dial(Address(HOST, door.port))
        assert "which is no key of alice on this link" in await bob.refusal()
    assert parse_identity(IDENTITY, "link-1") is None


async def test_a_certificate_opens_nothing_where_a_secret_is_asked_for(home: LinkHome) -> None:
    async with listening(anchor(Role.BOB)) as bob:
        with pytest.raises((CredentialsError, LinkError)):
            await dial(HOST, bob.address.port, credentials(home, "alice"), "bob")
        assert "a certificate opens nothing here" in await bob.refusal()
    assert bob.accepted == []


async def test_a_certificate_is_no_answer_to_a_dialler_who_has_a_secret(home: LinkHome) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(home.node("bob") / "certificate.pem", home.node("bob") / "private-key.pem")
    async with answering(context) as port:
        with pytest.raises(
            CredentialsError, match="shows a certificate instead of proving the pre-shared key"
        ):
            await anchor(Role.ALICE).dial(Address(HOST, port))


async def test_where_nobody_is_authenticated_anybody_is_believed_and_the_line_is_still_tls() -> None:
    async with listening(NobodyAnchor("alice")) as bob:
        connection = await NobodyAnchor("bob").dial(bob.address)
        line: ssl.SSLObject = connection.writer.get_extra_info("ssl_object")
        assert (line.version(), line.session_reused) == ("TLSv1.3", False)
        await connection.close()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # a stranger's program, with nothing to show
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        reader, writer = await asyncio.open_connection(HOST, bob.address.port, ssl=context)
        assert await reader.readexactly(1) == ACCEPTED
        writer.transport.abort()
    assert [each.peer.name for each in bob.accepted] == ["alice", "alice"]
    assert connection.peer.fingerprint is None


async def test_an_unauthenticated_dialler_still_says_so_when_nobody_or_no_tls_is_there() -> None:
    with pytest.raises(LinkError, match="nobody listens there"):
        await dial_anybody(HOST, 1, "bob")
    plain = await asyncio.start_server(lambda _, writer: writer.write(b"220 mail\r\n"), HOST, 0)
    with pytest.raises(LinkError, match="does not speak TLS"):
        await dial_anybody(HOST, plain.sockets[0].getsockname()[1], "bob")
    plain.close()
    plain.abort_clients()


async def test_no_line_that_is_meant_to_be_authenticated_accepts_one_that_is_not(home: LinkHome) -> None:
    refused: asyncio.Queue[str] = asyncio.Queue()

    async def ignore(_: object) -> None:
        return

    async with listen_to_anybody(HOST, 0, "alice", ignore, refused.put_nowait) as door:
        with pytest.raises(CredentialsError, match="self-signed"):
            await dial(HOST, door.port, credentials(home, "alice"), "bob")
        with pytest.raises(CredentialsError, match="shows a certificate instead of proving"):
            await anchor(Role.ALICE).dial(Address(HOST, door.port))
    async with listening(anchor(Role.BOB)) as bob:
        with pytest.raises((CredentialsError, LinkError)):
            await dial_anybody(HOST, bob.address.port, "bob")
        assert "offers no pre-shared key" in await bob.refusal()


def test_one_file_alone_verifies_nobody() -> None:
    root = Path(__file__).parents[2]
    packages = ("alice", "bob", "common", "qkdlink")
    files = [path for package in packages for path in (root / package).rglob("*.py")]
    lax = [path.name for path in files if "CERT_NONE" in path.read_text(encoding="utf-8")]
    assert lax == ["unauthenticated.py"]
