"""An installation may give Eve a place: a folder of her own, an account of her own, and nobody's trust."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from qkdlink.alice.settings import AliceSettings
from qkdlink.bob.settings import BobSettings
from qkdlink.common.errors import ConfigurationError, CredentialsError
from qkdlink.common.node.settings import CONFIGURATION_FILE, load_settings
from qkdlink.common.transport.addresses import Address
from qkdlink.common.transport.apparatus import apparatus_context
from qkdlink.common.trust.certificates import summarise
from qkdlink.common.trust.credentials import CredentialFiles, NodeCredentials
from qkdlink.common.trust.pem import read_certificate
from qkdlink.deployment.homes.configuration import LinkAddresses, Splice
from qkdlink.deployment.homes.home import LinkHome
from qkdlink.deployment.homes.installation import Installation, install, is_installed
from qkdlink.eve.settings import EveSettings
from qkdlink.lab.faults.kill_trials import tiny_parameters

WISH = {"--broker": "broker.example:8883", "--bob": "bob.example:7000", "--eve": "eve.example:7000"}
BROKER, BOB, BOOTSTRAP, EVE, EVE_BOOTSTRAP = (
    Address.parse(text)
    for text in (
        "broker.example:8883",
        "bob.example:7000",
        "bob.example:7001",
        "eve.example:7000",
        "eve.example:7001",
    )
)
SITE = Installation(LinkAddresses(BROKER, BOB, BOOTSTRAP), eve=Splice(EVE, EVE_BOOTSTRAP))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installation") / "link"
    install(folder, WISH, SITE, tiny_parameters())
    return folder


def test_alice_pauses_for_less_than_on_a_link_that_nobody_is_invited_to_attack(home: Path):
    assert (
        load_settings(AliceSettings, LinkHome(home).node("alice") / CONFIGURATION_FILE).reserve_lasts_s
        == 5400
    )


def test_she_finds_all_she_needs_in_her_own_folder(home: Path, tmp_path: Path):
    folder = (home / "eve").rename(tmp_path / "carried")
    try:
        settings = load_settings(EveSettings, folder / CONFIGURATION_FILE)
        for broker in (settings.broker, settings.console):
            assert broker is not None
            assert broker.authority is not None
            assert broker.certificate is not None
            assert broker.private_key is not None
            apparatus_context(
                folder / broker.authority, folder / broker.certificate, folder / broker.private_key
            )
        assert (str(settings.splice.address), str(settings.splice.bob_address)) == (
            "0.0.0.0:7000",
            "bob.example:7000",
        )
        assert settings.attacks == ()
    finally:
        folder.rename(home / "eve")


def test_each_apparatus_knows_where_its_leg_of_light_ends_and_alices_where_she_listens(home: Path):
    alice = load_settings(AliceSettings, LinkHome(home).node("alice") / CONFIGURATION_FILE)
    bob = load_settings(BobSettings, LinkHome(home).node("bob") / CONFIGURATION_FILE)
    assert alice.light_legs == {"direct": "site-b", "eve": "eve"}
    assert bob.light_legs == {"direct": "site-a", "eve": "eve"}
    place = alice.apparatus.ways["eve"].classical
    assert place is not None
    assert (place.address, place.bootstrap_address) == (EVE, EVE_BOOTSTRAP)
    assert bob.apparatus.ways["eve"].classical is None


def test_she_and_her_player_are_two_users_of_the_broker_and_nothing_vouches_for_her_to_a_node(home: Path):
    names = {
        part: summarise(read_certificate(home / "eve" / part / "certificate.pem")).names[0]
        for part in ("apparatus", "console")
    }
    assert names == {"apparatus": "eve", "console": "eve-console"}
    with pytest.raises(CredentialsError):
        NodeCredentials.load(CredentialFiles.in_folder(home / "eve" / "apparatus"), "bob", datetime.now(UTC))
    player = (
        (home / "broker" / "access-list").read_text().partition("user eve-console\n")[2].partition("user")[0]
    )
    assert "topic write qkd/link-1/eve/control" in player
    assert player.count("write") == 1
    assert "patch" not in player
    assert "light" not in player


def test_her_files_are_missed_where_she_has_a_place(home: Path):
    assert is_installed(home, WISH)
    seal = home / "eve" / "light-seal.key"
    hidden = seal.rename(home / "hidden")
    try:
        with pytest.raises(ConfigurationError, match=r"eve/light-seal\.key is gone"):
            is_installed(home, WISH)
    finally:
        hidden.rename(seal)


def test_without_her_there_is_no_folder_of_hers(tmp_path: Path):
    without = {key: value for key, value in WISH.items() if key != "--eve"}
    install(
        tmp_path / "link", without, Installation(LinkAddresses(BROKER, BOB, BOOTSTRAP)), tiny_parameters()
    )
    assert is_installed(tmp_path / "link", {**without, "--eve": None})
    assert not (tmp_path / "link" / "eve").exists()
    with pytest.raises(ConfigurationError, match="was made without --eve"):
        is_installed(tmp_path / "link", WISH)
