"""A site says which links end there and in which role; homes of an earlier version are refused with a way to move."""

import re
import stat
import subprocess
import tomllib
from pathlib import Path

import pytest

from qkdlink.alice.settings import AliceSettings
from qkdlink.bob.settings import BobSettings
from qkdlink.commands.doctor import doctor
from qkdlink.commands.keys import bootstrap, show
from qkdlink.common.errors import ConfigurationError
from qkdlink.common.node.settings import load_settings
from qkdlink.common.protocol.roles import Role
from qkdlink.common.transport.addresses import Address
from qkdlink.deployment.homes.configuration import LinkAddresses
from qkdlink.deployment.homes.home import LinkHome, check_home, existing_home, open_home
from qkdlink.deployment.homes.installation import Installation, install, is_installed
from qkdlink.deployment.homes.names import ALICE, BOB
from qkdlink.deployment.homes.site import Site, read_site
from qkdlink.deployment.homes.sites import DEFAULT_SITES, ends_in, make_sites
from qkdlink.lab.faults.kill_trials import tiny_parameters

ADDRESSES = LinkAddresses(*(Address("127.0.0.1", port) for port in (1883, 5000, 5001)))
SITE = """\
name = "amsterdam"

[[links]]
name = "link-1"
role = "bob"
configuration = "links/link-1/node.toml"
"""
RELAY = SITE + '[[links]]\nname = "link-2"\nrole = "alice"\nconfiguration = "links/link-2/node.toml"\n'


def written(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "site.toml").write_text(text)
    return folder


def test_what_is_written_of_a_site_reads_back(tmp_path: Path) -> None:
    made = Site.of_one_link("site-a", "link-1", Role.ALICE)
    assert read_site(written(tmp_path, made.toml())) == made
    assert tomllib.loads(made.toml())["links"] == [
        {"name": "link-1", "role": "alice", "configuration": "links/link-1/node.toml"}
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("= =", "is not TOML"),
        (SITE.replace("[[links]]", "[[lines]]"), "says nothing of 'links', which is required"),
        (SITE.replace("bob", "eve"), "'links.0.role' = 'eve': it must be 'alice' or 'bob'"),
        (SITE.replace("links/", "../"), "it must be a file in a folder of the site's own"),
        (SITE.replace("links/", "/links/"), "it must be a file in a folder of the site's own"),
        (SITE.replace("links/link-1/", ""), "it must be a file in a folder of the site's own"),
        (SITE.replace("amsterdam", "eve"), "'name' = 'eve': topics of that name are Eve's"),
        (SITE.replace("amsterdam", "a/b"), "'name' = 'a/b'"),
        (SITE + "peer = 1\n", "says 'links.0.peer', which is not a key here"),
        (RELAY.replace("link-2", "link-1"), "two of its links have the same name"),
        (RELAY.replace("links/link-2", "links/link-1"), "two of its links have the same configuration"),
        ('name = "amsterdam"\nlinks = []\n', "'links' = []: it must have at least 1 entries"),
    ],
)
def test_a_site_that_is_wrong_is_refused_in_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(sentence)):
        read_site(written(tmp_path, text))


def test_a_node_is_found_where_the_sites_say_whatever_their_folders_are_called(tmp_path: Path) -> None:
    home = open_home(tmp_path / "home")
    sites = home.folder / "sites"
    (sites / "site-a").rename(sites / "north")
    (sites / "site-b").rename(sites / "south")
    for folder, name in (("north", "oslo"), ("south", "rome")):
        file = sites / folder / "site.toml"
        file.write_text(re.sub(r'name = "site-.', f'name = "{name}', file.read_text()))
    assert home.node(ALICE) == sites / "north/links/link-1"
    open_home(home.folder).configure(tiny_parameters(), ADDRESSES, {}, log_in=True)
    alice = load_settings(AliceSettings, home.configuration(ALICE))
    bob = load_settings(BobSettings, home.configuration(BOB))
    assert (alice.node, alice.apparatus_site, alice.light_legs) == ("alice", "oslo", {"direct": "rome"})
    assert (bob.node, bob.apparatus_site, bob.light_legs) == ("bob", "rome", {"direct": "oslo"})
    users = {user.name: user for user in home.broker_users()}
    assert "qkd/link-1/oslo/light/rome" in users[ALICE].writes
    assert "qkd/link-1/oslo/light/rome" in users[BOB].reads


def test_a_site_may_be_bob_of_one_link_and_alice_of_another(tmp_path: Path) -> None:
    relay = written(tmp_path / "sites" / "relay", RELAY)
    assert LinkHome(tmp_path, "link-1").node(BOB) == relay / "links/link-1"
    assert LinkHome(tmp_path, "link-2").node(ALICE) == relay / "links/link-2"
    with pytest.raises(ConfigurationError, match=r"No site in \S+/sites is alice on link-1: correct"):
        LinkHome(tmp_path, "link-1").node(ALICE)


@pytest.mark.parametrize(("name", "sentence"), [("berlin", "More than one site"), ("amsterdam", "two sites")])
def test_two_sites_with_one_role_or_one_name_are_refused(tmp_path: Path, name: str, sentence: str) -> None:
    written(tmp_path / "sites/one", SITE)
    written(tmp_path / "sites/two", SITE.replace("amsterdam", name))
    with pytest.raises(ConfigurationError, match=sentence):
        LinkHome(tmp_path).node(BOB)


def test_every_site_has_a_private_place_for_its_key_manager(tmp_path: Path) -> None:
    home = open_home(tmp_path / "home")
    places = [home.folder / "sites" / name / "kme" for name in DEFAULT_SITES.values()]
    assert [list(place.iterdir()) for place in places] == [[], []]
    assert {stat.S_IMODE(place.stat().st_mode) for place in places} == {0o700}


def of_an_earlier_version(home: Path) -> None:
    """Bring a home to the layout that it had before there were sites."""
    for name in (ALICE, BOB):
        LinkHome(home).node(name).rename(home / name)
    for name in DEFAULT_SITES.values():
        (home / "sites" / name / "site.toml").unlink()
        for empty in ("links", "kme", "."):
            (home / "sites" / name / empty).rmdir()
    (home / "sites").rmdir()


def refusal(home: Path) -> str:
    """Return the one sentence that everything says of such a home."""
    attempts = (
        lambda: check_home(home),
        lambda: existing_home(home),
        lambda: show(home, as_json=True),
        lambda: bootstrap(home, again=True),
        lambda: doctor(None, home, None, as_json=True),
        lambda: is_installed(home, {}),
    )
    said = set()
    for attempt in attempts:
        with pytest.raises(ConfigurationError) as refused:
            attempt()
        said.add(str(refused.value))
    assert len(said) == 1
    return said.pop()


def test_a_home_of_an_earlier_version_is_moved_by_the_command_in_its_refusal(tmp_path: Path) -> None:
    folder = tmp_path / "it's a home"
    before = open_home(folder).node(ALICE) / "certificate.pem"
    certificate = before.read_bytes()
    of_an_earlier_version(folder)
    command = refusal(folder).split("`")[1]
    subprocess.run(["/bin/sh", "-c", f"umask 002; {command}"], check=True)
    home = open_home(folder)
    assert before.read_bytes() == certificate
    assert [(end.site, end.role) for end in ends_in(home.folder)] == [
        ("site-a", Role.ALICE),
        ("site-b", Role.BOB),
    ]
    assert (folder / "sites/site-a/site.toml").exists()
    home.configure(tiny_parameters(), ADDRESSES, {}, log_in=True)
    assert load_settings(AliceSettings, home.configuration(ALICE)).apparatus_site == "site-a"


def test_an_installation_of_an_earlier_version_is_moved_likewise_and_its_nodes_keep_their_topics(
    tmp_path: Path,
) -> None:
    folder, wish = tmp_path / "link", {"--bob": "127.0.0.1:5000"}
    install(folder, wish, Installation(ADDRESSES), tiny_parameters())
    of_an_earlier_version(folder)
    for name in (ALICE, BOB):
        file = folder / name / "node.toml"
        file.write_text(re.sub(r"(?m)^(peer_)?site = .*\n", "", file.read_text()))
    subprocess.run(["/bin/sh", "-c", refusal(folder).split("`")[1]], check=True)
    assert is_installed(folder, wish)
    make_sites(folder)
    alice = load_settings(AliceSettings, LinkHome(folder).configuration(ALICE))
    assert (alice.apparatus_site, alice.light_legs) == ("alice", {"direct": "bob"})


def test_a_command_for_one_node_takes_a_site_and_names_both_of_a_home(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = open_home(tmp_path / "home")
    home.configure(tiny_parameters(), ADDRESSES, {}, log_in=True)
    with pytest.raises(ConfigurationError) as refused:
        doctor(None, home.folder, None, as_json=True)
    assert f"name {home.node(ALICE)} or {home.node(BOB)}" in str(refused.value)
    for name, site in ((ALICE, "site-a"), (BOB, "site-b")):
        doctor(None, home.folder / "sites" / site, None, as_json=True)
        assert f'"role": "{name}"' in capsys.readouterr().out
    with pytest.raises(ConfigurationError, match=r"There is no configuration file in .*: name the home"):
        doctor(None, tmp_path, None, as_json=True)
    with pytest.raises(ConfigurationError, match="Name either the node's --config file or a --home"):
        doctor(None, None, None, as_json=True)
