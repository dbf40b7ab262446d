"""A node's apparatus at a broker that asks for certificates: the one of an installation, run by Mosquitto."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from qkdlink.alice.settings import AliceSettings
from qkdlink.commands.link_plan import planned
from qkdlink.common.errors import CredentialsError, LinkError
from qkdlink.common.node.broker import broker_access, light_access
from qkdlink.common.node.settings import BrokerSettings, load_settings
from qkdlink.common.transport import mqtt
from qkdlink.common.transport.addresses import Address
from qkdlink.common.transport.apparatus import apparatus_context
from qkdlink.common.transport.light_line import connect_light
from qkdlink.common.transport.mqtt import BrokerAccess, Bus, connect
from qkdlink.common.trust.pki import create_authority, issue
from qkdlink.deployment.brokers.broker import find_mosquitto
from qkdlink.deployment.brokers.ports import free_port
from qkdlink.deployment.homes.configuration import LinkAddresses
from qkdlink.deployment.homes.home import LinkHome
from qkdlink.deployment.homes.installation import Installation, install
from qkdlink.deployment.homes.link_options import LinkOptions
from qkdlink.deployment.homes.security import DEFAULT_SECURITY
from tests.support.processes import guarded

pytestmark = pytest.mark.skipif(find_mosquitto() is None, reason="no mosquitto on this machine")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installation")
    address = Address("localhost", free_port())
    parameters = planned(LinkOptions("metropolitan", None, "single-photon", 250_000), DEFAULT_SECURITY)
    install(
        folder, {"port": address.port}, Installation(LinkAddresses(address, address, address)), parameters
    )
    issue(folder / "apparatus-ca", "visitor", folder / "visitor")
    create_authority(folder / "other-ca")
    issue(folder / "other-ca", "alice", folder / "other")
    return folder


@pytest.fixture(scope="module")
def port(home: Path) -> Iterator[int]:
    mosquitto = find_mosquitto()
    assert mosquitto is not None
    port = int((home / "broker" / "mosquitto.conf").read_text().split("listener ")[1].split()[0])
    command = (mosquitto, "-c", "mosquitto.conf")
    with guarded(command, cwd=home / "broker"):
        yield port


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mqtt, "_CONNECT_TIMEOUT_S", 1.0)


def access(port: int, folder: Path, authority: Path | None = None, host: str = "localhost") -> BrokerAccess:
    context = apparatus_context(
        authority or folder / "authority.pem", folder / "certificate.pem", folder / "private-key.pem"
    )
    return BrokerAccess(Address(host, port), secrets.token_hex(8), tls=context)


async def connected(access: BrokerAccess) -> AsyncIterator[Bus]:
    async with asyncio.timeout(10):
        while True:
            try:
                async with connect(access) as bus:
                    yield bus
                    return
            except LinkError:
                await asyncio.sleep(0.05)  # it has only just been started


async def test_each_certificate_may_do_what_its_name_may(home: Path, port: int):
    alice, bob, visitor = (
        access(port, folder)
        for folder in (
            *(LinkHome(home).node(name) / "apparatus" for name in ("alice", "bob")),
            home / "visitor",
        )
    )
    async for hers in connected(alice):
        async for his in connected(bob):
            async for theirs in connected(visitor):
                light = await his.subscribe("qkd/link-1/site-a/light/site-b")
                stolen = await theirs.subscribe("qkd/link-1/site-a/light/site-b")
                with pytest.raises(LinkError, match="may not write there; correct the broker's access list"):
                    await theirs.publish("qkd/link-1/site-a/light/site-b", b"forged")
                prying = await hers.subscribe("qkd/link-1/site-b/journal")
                with pytest.raises(LinkError, match="may not write there; correct the broker's access list"):
                    await his.publish("qkd/link-1/site-a/light/site-b", b"forged")
                await his.publish("qkd/link-1/site-b/journal", b"bob's own")
                await hers.publish("qkd/link-1/site-a/light/site-b", b"light")
                assert (await asyncio.wait_for(light.get(), 5)).payload == b"light"
                for unheard in (stolen, prying):
                    with pytest.raises(TimeoutError):
                        await asyncio.wait_for(unheard.get(), 0.3)


async def test_a_node_has_two_lines_at_once_and_nobody_who_knows_its_name_logs_it_out(home: Path, port: int):
    settings = load_settings(AliceSettings, LinkHome(home).node("alice") / "node.toml")
    his = access(port, LinkHome(home).node("bob") / "apparatus")
    async for bus in connected(broker_access(settings, "alice", LinkHome(home).node("alice"))):
        async with (
            connect_light(light_access(settings, "alice", LinkHome(home).node("alice"))) as line,
            connect(his) as bobs,
        ):
            receipts = await line.subscribe("qkd/link-1/site-b/receipts/site-a")
            for guess in ("alice", "link-1-alice", "link-1-alice-light"):
                async with connect(replace(his, client_id=guess)):
                    pass
            for number in range(12):  # for longer than either line would need to come back
                await bus.publish("qkd/link-1/site-a/journal", b"here I am")
                await bobs.publish("qkd/link-1/site-b/receipts/site-a", bytes([number]))
                assert (await asyncio.wait_for(receipts.get(), 5)).payload == bytes([number])
                await asyncio.sleep(0.05)


def test_a_node_is_never_at_the_broker_under_an_id_that_it_had_before(home: Path):
    settings = load_settings(AliceSettings, LinkHome(home).node("alice") / "node.toml")
    names = {
        each(settings, "alice", LinkHome(home).node("alice")).client_id
        for each in 2 * (broker_access, light_access)
    }
    assert len(names) == 4


async def test_the_broker_refuses_a_certificate_of_another_authority(home: Path, port: int):
    async for _ in connected(access(port, LinkHome(home).node("alice") / "apparatus")):
        pass
    for stranger in (home / "other", LinkHome(home).node("alice")):
        with pytest.raises((LinkError, CredentialsError)):  # a node's own is a chain, and not even shown
            async with connect(access(port, stranger, home / "apparatus-ca" / "certificate.pem")):
                pass


async def test_the_broker_refuses_whoever_shows_none(home: Path, port: int):
    async for _ in connected(access(port, LinkHome(home).node("alice") / "apparatus")):
        pass
    nobody = BrokerAccess(
        Address("localhost", port), "test", tls=apparatus_context(home / "apparatus-ca" / "certificate.pem")
    )
    with pytest.raises(LinkError):
        async with connect(nobody):
            pass


async def test_a_node_refuses_a_broker_of_another_authority_or_name(home: Path, port: int):
    async for _ in connected(access(port, LinkHome(home).node("alice") / "apparatus")):
        pass
    other = home / "ca" / "certificate.pem"
    for opened in (connect, connect_light):
        with pytest.raises(CredentialsError, match="from another authority than this link's; carry"):
            async with opened(access(port, LinkHome(home).node("alice") / "apparatus", other)):
                pass
        with pytest.raises(
            CredentialsError, match=r"for another address; let `address` in \[broker\] be a name"
        ):
            async with opened(access(port, LinkHome(home).node("alice") / "apparatus", host="127.0.0.2")):
                pass


def test_a_key_of_another_certificate_is_refused_before_it_is_shown(home: Path):
    with pytest.raises(CredentialsError, match="is not the key of"):
        apparatus_context(
            LinkHome(home).node("alice") / "apparatus/authority.pem",
            LinkHome(home).node("alice") / "apparatus/certificate.pem",
            LinkHome(home).node("bob") / "apparatus/private-key.pem",
        )


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"certificate": "c.pem"}, "go together"),
        ({"private_key": "k.pem"}, "go together"),
        ({"certificate": "c.pem", "private_key": "k.pem"}, "name its authority"),
    ],
)
def test_half_an_identity_at_the_broker_is_a_fault_of_the_configuration(given: dict[str, str], sentence: str):
    with pytest.raises(ValueError, match=sentence):
        BrokerSettings.model_validate({"address": "broker:8883", **given})
