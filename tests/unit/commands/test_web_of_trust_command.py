import json
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from qkdlink.commands import web_of_trust
from qkdlink.common.errors import CredentialsError
from qkdlink.common.protocol.roles import Role
from qkdlink.common.trust.card_holder import CardHolder, HolderFiles
from qkdlink.common.trust.certificates import fingerprint
from qkdlink.common.trust.node_card import user_id
from qkdlink.common.trust.pki import Validity
from tests.support.society import LINK, Society, needs_gpg, person, society

pytestmark = needs_gpg


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Society:
    return society(tmp_path_factory.mktemp("society"))


def run(*arguments: str | Path, status: int = 0) -> str:
    """Run the command; words are compared without the table's lines."""
    result = CliRunner().invoke(
        web_of_trust.app, [str(argument) for argument in arguments], catch_exceptions=False
    )
    assert result.exit_code == status, result.output
    return result.output


def test_one_command_makes_what_a_node_starts_with(tmp_path: Path) -> None:
    home = person(tmp_path, "alice", user_id(LINK, "alice")).home
    named = ("--link", LINK, "--node", "alice", "--role", "alice")
    told = run("card", "--home", home, *named, "--days", "30")
    names = ("node-card.json", "card-certificate.pem", "card-private-key.pem", "gnupg")
    files = HolderFiles(*(home / name for name in names))
    now = Validity.days(1).ends
    holder = CardHolder.load(files, LINK, ("alice", "bob"), Role.ALICE, now)
    assert fingerprint(holder.credentials.certificate_der) in told
    assert stat.S_IMODE(files.private_key.stat().st_mode) == 0o600
    before = files.card.read_bytes()
    with pytest.raises(CredentialsError, match="is never overwritten"):
        run("card", "--home", home, *named)
    assert files.card.read_bytes() == before


def test_a_card_needs_the_key_of_its_node(people: Society, tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match="GnuPG refuses: signing failed"):
        run(
            *("card", "--home", tmp_path / "bob", "--gnupg-home", people.alice.keyring),
            *("--link", LINK, "--node", "bob", "--role", "bob"),
        )
    assert not (tmp_path / "bob").exists()


def test_show_tells_a_card_and_what_a_keyring_thinks_of_it(people: Society, tmp_path: Path) -> None:
    card = people.alice.files().card
    told = json.loads(run("show", card, "--keyring", people.bob.keyring, "--json"))
    assert told["user_id"] == "qkdlink node alice of link-1"
    assert told["verdict"] == "accepted"
    assert "not examined" in run("show", card)
    alone = person(tmp_path, "alone", "somebody")
    refused = json.loads(run("show", card, "--keyring", alone.keyring, "--json", status=1))
    assert "does not have the key that signed it" in refused["verdict"]
