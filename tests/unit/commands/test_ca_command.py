import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from qkdlink.commands import ca
from qkdlink.common.errors import ConfigurationError, CredentialsError
from qkdlink.common.trust.credentials import CredentialFiles, NodeCredentials
from qkdlink.common.trust.pem import read_revocation_lists


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("link-home")
    run("init", "--home", home)
    for node, hosts in (("alice", ("--host", "127.0.0.1", "--host", "QKD.example.org")), ("bob", ())):
        run("issue", node, "--home", home, *hosts)
    return home


def run(*arguments: str | Path) -> str:
    result = CliRunner().invoke(ca.app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_three_commands_make_a_link_that_loads(tmp_path: Path) -> None:
    run("init", "--home", tmp_path / "link", "--name", "lab-authority")
    for node in ("alice", "bob"):
        told = run("issue", node, "--home", tmp_path / "link", "--host", "127.0.0.1", "--days", "30")
        credentials = NodeCredentials.load(
            CredentialFiles.in_folder(tmp_path / "link" / node), node, datetime.now(UTC)
        )
        assert credentials.fingerprint in told


def test_show_tells_what_an_operator_compares(home: Path) -> None:
    table = run("show", home / "alice" / "certificate.pem")
    for expected in (
        "CN=alice",
        "CN=qkdlink-authority-issuing",
        "qkd.example.org",
        "127.0.0.1",
        "UTC",
        "p256",
    ):
        assert expected in table


def test_show_lists_a_whole_home_as_json(home: Path) -> None:
    shown = json.loads(run("show", "--home", home, "--json"))
    by_file = {Path(entry["file"]).parent.name: entry for entry in shown}
    assert set(by_file) >= {"ca", "root", "alice", "bob"}
    assert by_file["ca"]["is_authority"]
    alice = by_file["alice"]
    assert alice["names"][0] == "alice"
    assert alice["issuer"] == "CN=qkdlink-authority-issuing"
    assert alice["fingerprint"] in run("show", home / "alice" / "certificate.pem")
    assert alice["begins"] < alice["ends"]


def test_show_never_shows_a_private_key(home: Path) -> None:
    with pytest.raises(CredentialsError, match="is not a certificate"):
        run("show", home / "alice" / "private-key.pem")


def test_show_without_anything_to_show_says_what_to_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="name certificate files"):
        run("show")
    with pytest.raises(ConfigurationError, match="there are no certificates in"):
        run("show", "--home", tmp_path)


def test_issuing_without_an_authority_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match="does not exist"):
        run("issue", "alice", "--home", tmp_path)


def test_whoever_is_revoked_is_so_in_every_home_that_is_here(tmp_path: Path) -> None:
    run("init", "--home", tmp_path)
    for node in ("alice", "bob"):
        run("issue", node, "--home", tmp_path, "--algorithm", "ed25519")
    shutil.copytree(tmp_path / "alice", tmp_path / "sites/site-a/links/link-1")
    told = run("revoke", "bob", "--home", tmp_path)
    assert "revoked CN=bob, serial " in told
    assert f"{tmp_path}/alice/revocations.pem is up to date" in told.replace("\n", "")
    lists = {path.read_bytes() for path in tmp_path.rglob("revocations.pem")}
    assert len(lists) == 1
    assert "list of qkdlink-authority-issuing, 1 revoked, good until" in run(
        "revocations", "--home", tmp_path
    )


def test_the_issuing_authority_is_revoked_and_made_anew(tmp_path: Path) -> None:
    run("init", "--home", tmp_path)
    (tmp_path / "ca" / "root").rename(tmp_path / "safe")
    root = ("--root", tmp_path / "safe")
    assert "revoked CN=qkdlink-authority-issuing" in run(
        "revoke", "--intermediate", "--home", tmp_path, *root
    )
    run("init", "--home", tmp_path, *root)
    run("issue", "alice", "--home", tmp_path)
    NodeCredentials.load(CredentialFiles.in_folder(tmp_path / "alice"), "alice", datetime.now(UTC))


@pytest.mark.parametrize("arguments", [(), ("alice", "--intermediate")])
def test_revoking_nothing_or_two_things_says_what_to_name(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    with pytest.raises(ConfigurationError, match="name what is to be revoked"):
        run("revoke", *arguments, "--home", tmp_path)


def test_the_bounds_of_a_validity_hold(tmp_path: Path) -> None:
    assert CliRunner().invoke(ca.app, ["init", "--home", str(tmp_path), "--days", "0"]).exit_code == 2


def test_lists_are_not_renewed_without_the_root_that_was_named(tmp_path: Path) -> None:
    run("init", "--home", tmp_path)
    with pytest.raises(CredentialsError, match=r"nope.* does not exist"):
        run("revocations", "--home", tmp_path, "--root", tmp_path / "nope")
    shutil.move(tmp_path / "ca" / "root", tmp_path / "safe")
    assert run("revocations", "--home", tmp_path).count("good until") == 2, "the root's as it was"
    run("revocations", "--home", tmp_path, "--root", tmp_path / "safe")


def test_a_missing_list_is_said_to_come_from_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match="does not exist: it is made with `qkdlink ca revocations`"):
        read_revocation_lists(tmp_path / "revocations.pem")
