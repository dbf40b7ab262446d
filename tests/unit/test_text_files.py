"""Every text file of ours is read as people save it; each row reads one kind of file as its program does."""

import codecs
import io
import shutil
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from types import SimpleNamespace

import pytest

from qkdlink import cli
from qkdlink.alice.settings import AliceSettings
from qkdlink.common.errors import QkdlinkError
from qkdlink.common.node.settings import load_settings, read_seal_key, read_secret_line
from qkdlink.common.store.sealing import StoreSeal
from qkdlink.common.transport.addresses import Address
from qkdlink.common.transport.apparatus import apparatus_context
from qkdlink.common.trust.pem import read_chain, read_private_key, read_revocation_lists
from qkdlink.common.trust.preshared import PresharedSecret, create_preshared
from qkdlink.deployment.homes.configuration import LinkAddresses
from qkdlink.deployment.homes.installation import Installation, install, is_installed
from qkdlink.lab.scenarios.scenario import read as read_scenario
from tests.support.processes import small_parameters

SITE = Installation(LinkAddresses(*(Address("127.0.0.1", port) for port in (8883, 7000, 7001))))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation, and beside it one file of each kind that an installation does not have."""
    folder = tmp_path_factory.mktemp("files")
    install(folder / "link", {}, SITE, small_parameters())
    create_preshared(folder / "pre-shared.key", 256)
    StoreSeal.open(folder / "store.key")
    (folder / "password").write_text("secret\n")
    (folder / "password").chmod(0o600)
    (folder / "block.json").write_text("{}\n")
    name = "intercept-resend-on.toml"
    (folder / name).write_bytes(resources.files("qkdlink.lab.scenarios").joinpath(name).read_bytes())
    return folder


def shown(folder: Path) -> bool:
    """Show the apparatus' certificate to the TLS library, believing its authority."""
    files = [folder / "apparatus" / name for name in ("authority.pem", "certificate.pem", "private-key.pem")]
    return apparatus_context(*files) is not None


READ: dict[str, Callable[[Path], object]] = {
    "link/sites/site-a/links/link-1/node.toml": lambda file: load_settings(AliceSettings, file),
    "link/sites/site-a/links/link-1/light-seal.key": read_seal_key,
    "link/sites/site-a/links/link-1/certificate.pem": read_chain,
    "link/sites/site-a/links/link-1/private-key.pem": lambda file: read_private_key(file).public_key(),
    "link/sites/site-a/links/link-1/revocations.pem": read_revocation_lists,
    "link/sites/site-a/links/link-1/apparatus/authority.pem": lambda file: shown(file.parents[1]),
    "link/sites/site-a/links/link-1/apparatus/certificate.pem": lambda file: shown(file.parents[1]),
    "link/sites/site-a/links/link-1/apparatus/private-key.pem": lambda file: shown(file.parents[1]),
    "link/installation.json": lambda file: is_installed(file.parent, {}),
    "pre-shared.key": lambda file: PresharedSecret.load(file).bits,
    "store.key": lambda file: StoreSeal.open(file)._key,
    "password": lambda file: read_secret_line(file, "broker password"),
    "block.json": cli._text_of,
    "intercept-resend-on.toml": read_scenario,
}


@pytest.mark.parametrize("name", READ)
def test_a_file_that_begins_with_a_byte_order_mark_says_what_it_says_without(
    made: Path, tmp_path: Path, name: str
) -> None:
    shutil.copytree(made, tmp_path / "copy")
    file = tmp_path / "copy" / name
    before = READ[name](file)
    file.write_bytes(codecs.BOM_UTF8 + file.read_bytes())
    assert READ[name](file) == before


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
@pytest.mark.parametrize("name", READ)
def test_a_file_in_another_encoding_is_refused_in_one_sentence(
    made: Path, tmp_path: Path, name: str, encoding: str
) -> None:
    shutil.copytree(made, tmp_path / "copy")
    file = tmp_path / "copy" / name
    file.write_bytes(file.read_text("utf-8").encode(encoding))
    with pytest.raises(QkdlinkError) as refused:
        READ[name](file)
    said = str(refused.value)
    assert file.name in said
    assert "codec" not in said
    if not name.endswith(".pem"):
        assert "not text in UTF-8: save it in this encoding" in said


def test_what_comes_by_standard_input_is_read_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    for given in (codecs.BOM_UTF8 + b"{}", b"{}"):
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(given)))
        assert cli._text_of(Path("-")) == "{}"
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO("{ü}".encode("latin-1"))))
    with pytest.raises(QkdlinkError, match="The input is not text in UTF-8"):
        cli._text_of(Path("-"))
