"""A node's configuration: read once, unknown keys refused, the environment wins, secrets for their owner alone."""

import codecs
import ssl
import stat
import tomllib
from pathlib import Path

import pytest
import tomli_w
from pydantic import ValidationError

from qkdlink.alice.settings import AliceSettings
from qkdlink.bob.settings import BobSettings
from qkdlink.common.errors import ConfigurationError
from qkdlink.common.node.settings import LaboratorySettings, load_settings, read_seal_key, read_secret_line
from qkdlink.common.transport.addresses import Address
from qkdlink.common.transport.key_log import write_secrets
from qkdlink.deployment.homes.configuration import SEAL_FILE, LinkAddresses, node_configuration
from qkdlink.deployment.homes.home import LinkHome, open_home
from qkdlink.deployment.homes.names import ALICE, BOB
from tests.support.processes import small_parameters

PARAMETERS = small_parameters()
ADDRESSES = LinkAddresses(*(Address("127.0.0.1", port) for port in (1883, 5000, 5001)))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> LinkHome:
    home = open_home(tmp_path_factory.mktemp("settings") / "home")
    home.configure(PARAMETERS, ADDRESSES, {"blocks": 7}, log_in=True)
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
        ('[apparatus.ways.moon]\nsite = "eve"', r"says 'apparatus\.ways\.moon\.\[key\]' = 'moon'"),
        (
            '[apparatus.ways.direct]\nsite = "eve"',
            r"the direct way leads to the peer and is no entry of ways",
        ),
        ('[apparatus.ways.eve]\nsite = "a/b"', r"says 'apparatus\.ways\.eve\.site' = 'a/b'"),
        ('[apparatus.ways.eve]\nsite = "#"', r"says 'apparatus\.ways\.eve\.site' = '#'"),
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


@pytest.mark.parametrize(
    ("block_pulses", "settings", "sentence"),
    [
        (
            2**21,
            {"clock_hz": 3.0},
            r" and frame_pulses = 1048576 at clock_hz = 3 make 2097152 frames of light",
        ),
        (
            2**20 + 1,
            {"frame_pulses": 1},
            r" and frame_pulses = 1 make 1048577 frames of light, .* at most 1048576",
        ),
        (2**32, {"frame_pulses": 4095}, r" and frame_pulses = 4095 make 1048833 frames .* more per frame"),
    ],
)
def test_a_block_of_too_many_frames_is_refused_before_the_node_lives(
    home: LinkHome, tmp_path: Path, block_pulses: int, settings: dict[str, float], sentence: str
) -> None:
    file = _alice_with(home, tmp_path, block_pulses, settings)
    with pytest.raises(ConfigurationError, match=rf"block_pulses = {block_pulses}{sentence}"):
        load_settings(AliceSettings, file)


@pytest.mark.parametrize(
    ("block_pulses", "settings"),
    [(2**21, {"clock_hz": 4.0}), (2**20, {"frame_pulses": 1}), (2**32, {"frame_pulses": 4096})],
)
def test_a_block_may_have_as_many_frames_as_its_opening_can_say(
    home: LinkHome, tmp_path: Path, block_pulses: int, settings: dict[str, float]
) -> None:
    alice = load_settings(AliceSettings, _alice_with(home, tmp_path, block_pulses, settings))
    assert alice.parameters.block_pulses == block_pulses


def _alice_with(home: LinkHome, folder: Path, block_pulses: int, settings: dict[str, float]) -> Path:
    values = tomllib.loads(home.configuration(ALICE).read_text()) | settings
    values["parameters"]["block_pulses"] = block_pulses
    file = folder / "node.toml"
    file.write_text(tomli_w.dumps(values))
    return file


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


def test_what_is_written_reads_back_whatever_is_in_it(home: LinkHome, tmp_path: Path) -> None:
    journal = 'quote " and \\, ü and \U0001f511'
    text = node_configuration(
        home.link, (ALICE, BOB), home.sites, ADDRESSES, {}, PARAMETERS, {"journal": journal}
    )
    (tmp_path / "node.toml").write_text(text)
    assert load_settings(AliceSettings, tmp_path / "node.toml").journal == Path(journal)


def test_a_key_log_has_to_be_called_insecure_and_is_for_its_owner_alone(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="tls_key_log needs insecure_tls_key_log = true"):
        LaboratorySettings(tls_key_log=Path("keys.log"))
    assert LaboratorySettings().key_log_in(tmp_path) is None
    laboratory = LaboratorySettings(tls_key_log=Path("keys.log"), insecure_tls_key_log=True)
    path = laboratory.key_log_in(tmp_path)
    assert path == tmp_path / "keys.log"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    with pytest.raises(ConfigurationError, match=r"keys\.log is open to others: run 'chmod 600"):
        laboratory.key_log_in(tmp_path)
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError, match=r"keys\.log cannot be written"):
        laboratory.key_log_in(tmp_path)


def test_no_context_writes_secrets_unless_it_is_told_to(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    write_secrets(context, None)
    assert context.keylog_filename is None
    write_secrets(context, tmp_path / "keys.log")
    assert context.keylog_filename == str(tmp_path / "keys.log")


def test_a_configuration_and_a_secret_that_begin_with_a_byte_order_mark_are_read(
    home: LinkHome, tmp_path: Path
) -> None:
    written, seal = home.configuration(ALICE), home.node(ALICE) / SEAL_FILE
    for file in (written, seal):
        (tmp_path / file.name).write_bytes(codecs.BOM_UTF8 + file.read_bytes())
        (tmp_path / file.name).chmod(0o600)
    assert load_settings(AliceSettings, tmp_path / written.name) == load_settings(AliceSettings, written)
    assert read_seal_key(tmp_path / seal.name) == read_seal_key(seal)
