import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from qkdlink.alice.settings import AliceSettings
from qkdlink.bob.settings import BobSettings
from qkdlink.cli import app
from qkdlink.commands.link_plan import planned
from qkdlink.common.errors import ConfigurationError, CredentialsError
from qkdlink.common.node.settings import CONFIGURATION_FILE, NodeSettings, load_settings
from qkdlink.common.protocol.parameters import LinkParameters
from qkdlink.common.transport.addresses import Address
from qkdlink.common.transport.apparatus import apparatus_context
from qkdlink.common.trust.certificates import summarise
from qkdlink.common.trust.credentials import CredentialFiles, NodeCredentials
from qkdlink.common.trust.pem import read_certificate, read_chain
from qkdlink.deployment.homes import installation
from qkdlink.deployment.homes.configuration import LinkAddresses
from qkdlink.deployment.homes.home import LinkHome
from qkdlink.deployment.homes.installation import Installation, install, is_installed
from qkdlink.deployment.homes.link_options import LinkOptions
from qkdlink.deployment.homes.security import DEFAULT_SECURITY

WISH = {"--broker": "broker.example:8883", "--bob": "bob.example:7000"}
SITE = Installation(
    LinkAddresses(
        *(Address.parse(text) for text in ("broker.example:8883", "bob.example:7000", "bob.example:7001"))
    ),
    broker_hosts=("10.0.0.9",),
    alice={"rekey_blocks": 5},
)
SETTINGS: dict[str, type[NodeSettings]] = {"alice": AliceSettings, "bob": BobSettings}


@pytest.fixture(scope="module")
def parameters() -> LinkParameters:
    return planned(LinkOptions("metropolitan", None, "single-photon", 250_000), DEFAULT_SECURITY)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, parameters: LinkParameters) -> Path:
    folder = tmp_path_factory.mktemp("installation")
    folder.rmdir()
    install(folder, WISH, SITE, parameters)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_node_finds_all_it_needs_in_its_own_folder(home: Path, name: str, tmp_path: Path):
    folder = (LinkHome(home).node(name)).rename(tmp_path / "carried")
    try:
        settings = load_settings(SETTINGS[name], folder / CONFIGURATION_FILE)
        NodeCredentials.load(CredentialFiles.in_folder(folder), name, datetime.now(UTC))
        broker = settings.broker
        assert broker.authority is not None
        assert broker.certificate is not None
        assert broker.private_key is not None
        apparatus_context(folder / broker.authority, folder / broker.certificate, folder / broker.private_key)
    finally:
        folder.rename(LinkHome(home).node(name))


def test_alice_dials_what_bob_is_reached_by_and_bob_binds_every_interface(home: Path):
    alice, bob = (
        load_settings(SETTINGS[name], LinkHome(home).node(name) / CONFIGURATION_FILE) for name in SETTINGS
    )
    assert str(alice.classical.address) == "bob.example:7000"
    assert str(alice.classical.bootstrap_address) == "bob.example:7001"
    assert str(bob.classical.address) == "0.0.0.0:7000"
    assert alice.parameters == bob.parameters
    assert isinstance(alice, AliceSettings)
    assert alice.rekey_blocks == 5


def test_what_vouches_for_the_apparatus_vouches_for_no_node(home: Path):
    nodes, apparatus = (read_certificate(home / part / "certificate.pem") for part in ("ca", "apparatus-ca"))
    assert nodes.public_key() != apparatus.public_key()
    for name in SETTINGS:
        read_chain(LinkHome(home).node(name) / "certificate.pem")[0].verify_directly_issued_by(nodes)
        read_certificate(
            LinkHome(home).node(name) / "apparatus" / "certificate.pem"
        ).verify_directly_issued_by(apparatus)
        files = CredentialFiles(
            LinkHome(home).node(name) / "apparatus" / "certificate.pem",
            LinkHome(home).node(name) / "apparatus" / "private-key.pem",
            LinkHome(home).node(name) / "authority.pem",
            LinkHome(home).node(name) / "revocations.pem",
        )
        with pytest.raises(CredentialsError, match="not issued by the authority"):
            NodeCredentials.load(files, name, datetime.now(UTC))


def test_the_broker_answers_by_every_name_it_is_given(home: Path):
    names = summarise(read_certificate(home / "broker" / "certificate.pem")).names
    assert names == ("broker", "broker.example", "localhost", "127.0.0.1", "10.0.0.9")


def test_no_folder_that_is_carried_holds_a_secret_of_another(home: Path):
    seals = {(LinkHome(home).node(name) / "light-seal.key").read_text() for name in SETTINGS}
    assert len(seals) == 1
    secrets = {path: path.read_bytes() for path in home.rglob("private-key.pem")}
    assert len(set(secrets.values())) == len(secrets) == 8
    assert not (home / "broker" / "light-seal.key").exists()


def test_secrets_are_readable_by_their_owner_alone(home: Path):
    modes = {
        path.stat().st_mode & 0o777
        for path in home.rglob("*")
        if path.suffix == ".key" or "private" in path.name
    }
    assert modes == {0o600}


def test_an_installation_is_known_for_what_it_was_made_for(home: Path):
    assert is_installed(home, WISH)
    with pytest.raises(
        ConfigurationError, match=r"--bob bob.example:7000, not elsewhere:1: name another home"
    ):
        is_installed(home, WISH | {"--bob": "elsewhere:1"})


def test_a_file_that_is_gone_is_missed(home: Path, tmp_path: Path):
    away = (LinkHome(home).node("bob") / "light-seal.key").rename(tmp_path / "away")
    try:
        with pytest.raises(ConfigurationError, match=r"light-seal\.key is gone"):
            is_installed(home, WISH)
    finally:
        away.rename(LinkHome(home).node("bob") / "light-seal.key")


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Let the nth write of an installation fail, where n is the number in the list."""
    countdown: list[int] = [-1]
    for name in ("issue", "write_new", "create_authority", "create_authorities"):
        monkeypatch.setattr(installation, name, _failing(getattr(installation, name), countdown))
    return countdown


def _failing(write: Callable[..., object], countdown: list[int]):
    def write_or_fail(*arguments: object):
        countdown[0] -= 1
        if countdown[0] == 0:
            raise CredentialsError("the disk is full")
        write(*arguments)

    return write_or_fail


WRITES = 12


@pytest.mark.parametrize("nth", range(1, WRITES + 1))
def test_an_installation_that_fails_leaves_nothing(
    tmp_path: Path, failing: list[int], parameters: LinkParameters, nth: int
):
    (tmp_path / "home" / "sites" / "site-a").mkdir(parents=True)  # as if it were mounted there
    failing[0] = nth
    with pytest.raises(CredentialsError, match="the disk is full"):
        install(tmp_path / "home", WISH, SITE, parameters)
    assert contents(tmp_path) == {}
    assert not is_installed(tmp_path / "home", WISH)


@pytest.mark.parametrize("nth", [1, 5, WRITES])
def test_what_a_killed_run_left_behind_is_made_anew(
    tmp_path: Path, failing: list[int], parameters: LinkParameters, monkeypatch: pytest.MonkeyPatch, nth: int
):
    failing[0] = nth
    with monkeypatch.context() as killed:
        killed.setattr(installation, "_clear", lambda _: None)
        with pytest.raises(CredentialsError):
            install(tmp_path, WISH, SITE, parameters)
    left = contents(tmp_path)
    assert left
    assert not is_installed(tmp_path, WISH)
    install(tmp_path, WISH, SITE, parameters)
    assert is_installed(tmp_path, WISH)
    assert not any(
        contents(tmp_path).get(name) == data for name, data in left.items() if name.endswith("-key.pem")
    )


def test_the_writes_that_can_fail_are_all_tried(
    tmp_path: Path, failing: list[int], parameters: LinkParameters
):
    install(tmp_path, WISH, SITE, parameters)
    assert -1 - failing[0] == WRITES


def test_two_at_a_time_do_not_mix(
    tmp_path: Path, parameters: LinkParameters, monkeypatch: pytest.MonkeyPatch
):
    def meanwhile(*_: object):
        with pytest.raises(ConfigurationError, match=f"is in use by process {os.getpid()}: stop"):
            install(tmp_path, WISH, SITE, parameters)
        raise CredentialsError("seen")

    monkeypatch.setattr(installation, "create_authorities", meanwhile)
    with pytest.raises(CredentialsError, match="seen"):
        install(tmp_path, WISH, SITE, parameters)


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path, parameters: LinkParameters):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("Dear Bob")
    for refused in (lambda: is_installed(tmp_path, WISH), lambda: install(tmp_path, WISH, SITE, parameters)):
        with pytest.raises(ConfigurationError, match="neither empty nor an installation"):
            refused()
    assert contents(tmp_path) == {"letters/dear.txt": b"Dear Bob"}


def test_the_command_makes_it_once_and_says_so(tmp_path: Path):
    command = (
        f"init --home {tmp_path}/link --broker b.example:8883 --bob [2001:db8::2]:7000 --preset metropolitan"
    )
    first = CliRunner().invoke(app, command.split(), catch_exceptions=False)
    made = contents(tmp_path)
    second = CliRunner().invoke(app, command.split(), catch_exceptions=False)
    assert "for Bob's machine" in first.output
    assert "complete already; nothing was changed" in second.output
    assert contents(tmp_path) == made
    assert 'bootstrap_address = "[::]:7001"' in made["link/sites/site-b/links/link-1/node.toml"].decode()


def test_an_address_that_is_none_is_one_sentence(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="'broker' is not an address"):
        CliRunner().invoke(
            app, f"init --home {tmp_path}/x --broker broker --bob bob:1".split(), catch_exceptions=False
        )
    assert not (tmp_path / "x").exists()
