"""A node's configuration: read once, unknown keys refused, the environment wins, secrets for their owner alone."""

import tomllib
from pathlib import Path

import pytest

from alice.settings import AliceSettings
from bob.settings import BobSettings
from common.errors import ConfigurationError
from common.node.settings import load_settings, read_seal_key, read_secret_line
from common.transport.addresses import Address
from lab.home import ALICE, BOB, LinkAddresses, LinkHome, open_home, toml
from tests.support.processes import small_parameters

PARAMETERS = small_parameters()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> LinkHome:
    home = open_home(tmp_path_factory.mktemp("settings") / "home")
    broker, classical, bootstrap = (Address("127.0.0.1", port) for port in (1883, 5000, 5001))
    home.configure(PARAMETERS, LinkAddresses(broker, classical, bootstrap), {"blocks": 7}, log_in=True)
    return home


def test_what_the_launcher_writes_is_what_the_nodes_read(home: LinkHome) -> None:
    alice = load_settings(AliceSettings, home.configuration(ALICE))
    bob = load_settings(BobSettings, home.configuration(BOB))
    assert (alice.node, alice.peer, alice.blocks) == (ALICE, BOB, 7)
    assert (bob.node, bob.peer) == (BOB, ALICE)
    assert alice.parameters == bob.parameters == PARAMETERS
    assert alice.broker.address == Address("127.0.0.1", 1883)
    assert alice.broker.password_file == Path("broker-password")


def test_the_environment_wins_over_the_file(home: LinkHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QKDLINK_BROKER__ADDRESS", "broker:1884")
    monkeypatch.setenv("QKDLINK_CLASSICAL__PATIENCE_S", "3.5")
    alice = load_settings(AliceSettings, home.configuration(ALICE))
    assert alice.broker.address == Address("broker", 1884)
    assert alice.broker.username == ALICE, "the rest of the section stays"
    assert alice.classical.patience_s == 3.5


def test_an_environment_variable_that_makes_no_sense_is_an_error_of_one_sentence(
    home: LinkHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QKDLINK_PARAMETERS", "{not json")
    with pytest.raises(ConfigurationError, match=r"An environment variable .*parameters"):
        load_settings(AliceSettings, home.configuration(ALICE))


def test_no_setting_is_a_seed(home: LinkHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QKDLINK_SEED", "1")
    assert "seed" not in load_settings(AliceSettings, home.configuration(ALICE)).model_dump_json()


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ('colour = "blue"', r"says 'colour', which is not a key here\."),
        ("[broker.tls]\nx = 1", r"says 'broker\.tls', which is not a key here\."),
        ("blocks = 1.5", r"says 'blocks' = 1\.5: "),
        ('journal = ""\nlink = "no spaces please"', r"Cannot overwrite a value|says 'link'"),
    ],
)
def test_a_wrong_key_is_named(home: LinkHome, tmp_path: Path, line: str, sentence: str) -> None:
    file = tmp_path / "node.toml"
    text = home.configuration(ALICE).read_text()
    head, section, rest = text.partition("\n[")
    file.write_text(f"{head}\n{line}{section}{rest}" if not line.startswith("[") else f"{text}\n{line}\n")
    if line.startswith("blocks"):
        file.write_text(text.replace("blocks = 7", line))
    with pytest.raises(ConfigurationError, match=sentence):
        load_settings(AliceSettings, file)


def test_a_missing_key_is_named(home: LinkHome, tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text(home.configuration(ALICE).read_text().replace('peer = "bob"\n', ""))
    with pytest.raises(ConfigurationError, match=r"says nothing of 'peer', which is required\."):
        load_settings(AliceSettings, file)


@pytest.mark.parametrize(
    "address", ["nowhere", "127.0.0.1:0", "127.0.0.1:70000", ":1883", "::1:1883", "a b:1"]
)
def test_an_address_is_host_and_port(address: str) -> None:
    with pytest.raises(ValueError, match="is not an address: write host:port"):
        Address.parse(address)


@pytest.mark.parametrize("address", ["127.0.0.1:1883", "broker:1", "[::1]:65535", "a-b.example.org:8883"])
def test_an_address_is_written_as_it_is_read(address: str) -> None:
    assert str(Address.parse(address)) == address


def test_a_secret_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("word\n")
    file.chmod(0o640)
    with pytest.raises(ConfigurationError, match=f"is open to others: run 'chmod 600 {file}'"):
        read_secret_line(file, "password")
    file.chmod(0o600)
    assert read_secret_line(file, "password") == "word"


@pytest.mark.parametrize("text", ["", "ab", "zz" * 32, "ab" * 33, "a" * 63])
def test_a_seal_is_32_bytes_in_hexadecimal_and_is_not_shown_when_it_is_not(tmp_path: Path, text: str) -> None:
    file = tmp_path / "seal"
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(ConfigurationError, match="does not hold 32 bytes in hexadecimal") as caught:
        read_seal_key(file)
    assert not text or text not in str(caught.value).replace(str(tmp_path), "")


def test_toml_is_written_so_that_it_reads_back() -> None:
    values = {"a": 1, "b": 'quote " and \\', "c": [1.5, True], "d": {"e": {"f": "ü"}, "g": 1e-15}}
    assert tomllib.loads(toml(values)) == values
