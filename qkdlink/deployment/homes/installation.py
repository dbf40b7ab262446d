"""An installation for machines or containers that share addresses and nothing else: made once, carried by folders.

    ca/             the nodes' authority; it stays where it was made, and the folder `root` in it belongs in a safe
    apparatus-ca/   the authority of the broker and its clients; no classical channel ever believes it
    sites/site-a/   Alice's site, to be carried as it is: `site.toml`, and in `links/link-1/` all that her node needs:
                    credentials, light seal, `apparatus/` (who it is at the broker), node.toml
    sites/site-b/   Bob's
    broker/         Mosquitto's certificate, configuration and access list
    eve/            only if she is asked for: light seal, `apparatus/`, `console/` for whoever plays her, node.toml

A journal of intent stands in the folder until the last file is there, and becomes the installation's record in the
same instant. What an interrupted run has left behind is made anew, all of it: nobody can have used it.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from qkdlink.common.errors import ConfigurationError
from qkdlink.common.node.settings import CONFIGURATION_FILE
from qkdlink.common.protocol.parameters import LinkParameters
from qkdlink.common.store.home_lock import PROCESS_FILE, locked_home
from qkdlink.common.text_files import read_text
from qkdlink.common.transport.addresses import Address
from qkdlink.common.trust.pem import AUTHORITY_FILE, CERTIFICATE_FILE, PRIVATE_KEY_FILE, REVOCATIONS_FILE
from qkdlink.common.trust.pki import create_authority, issue
from qkdlink.common.trust.private_files import NewFile, private_folder, refuse_shared, write_new, write_over
from qkdlink.deployment.brokers.broker import BrokerUser, access_list, house_rules
from qkdlink.deployment.certificates.hierarchy import create_authorities
from qkdlink.deployment.homes.access import broker_users
from qkdlink.deployment.homes.configuration import (
    SEAL_FILE,
    LinkAddresses,
    Splice,
    eve_configuration,
    node_configuration,
    way_through_eve,
)
from qkdlink.deployment.homes.home import ATTACKED, ATTACKED_BOB, new_seal
from qkdlink.deployment.homes.link_options import difference
from qkdlink.deployment.homes.names import ALICE, BOB, EVE_CONSOLE, ROLES
from qkdlink.deployment.homes.security import DEFAULT_SECURITY, Security
from qkdlink.deployment.homes.sites import (
    DEFAULT_LINK,
    DEFAULT_SITES,
    SITES_FOLDER,
    end_of,
    make_sites,
    refuse_earlier_layout,
)
from qkdlink.eve.topics import EVE

NODES_AUTHORITY, APPARATUS_AUTHORITY = "ca", "apparatus-ca"
BROKER, APPARATUS, CONSOLE = "broker", "apparatus", "console"
EVE_OPTION = "--eve"
"""Under this name a wish says where Eve listens; without it there is none."""
RECORD_FILE, INTENT_FILE = "installation.json", "unfinished-installation.json"
BROKER_VERSION_TOPIC = "$SYS/broker/version"
"""All that the broker's own certificate may read: enough for a health check to see it alive."""
_PARTS = (
    NODES_AUTHORITY,
    APPARATUS_AUTHORITY,
    *(f"{SITES_FOLDER}/{name}" for name in DEFAULT_SITES.values()),
    BROKER,
    EVE,
)
_CREDENTIALS = (PRIVATE_KEY_FILE, CERTIFICATE_FILE, AUTHORITY_FILE)
_NODE_FILES = (
    CONFIGURATION_FILE,
    SEAL_FILE,
    *_CREDENTIALS,
    REVOCATIONS_FILE,
    *(f"{APPARATUS}/{name}" for name in _CREDENTIALS),
)
_EVE_FILES = (
    CONFIGURATION_FILE,
    SEAL_FILE,
    *(f"{part}/{name}" for part in (APPARATUS, CONSOLE) for name in _CREDENTIALS),
)
_BROKER_FILES = ("mosquitto.conf", "access-list", *_CREDENTIALS)


@dataclass(frozen=True, slots=True)
class Installation:
    """Where everything is, further names of the two that are dialled, and what only Alice is told."""

    addresses: LinkAddresses
    broker_hosts: tuple[str, ...] = ()
    bob_hosts: tuple[str, ...] = ()
    security: Security = DEFAULT_SECURITY
    eve: Splice | None = None
    """Where Alice would find Eve, if she is to have a place."""
    alice: Mapping[str, Any] = field(default_factory=dict)


def is_installed(folder: Path, wish: Mapping[str, object]) -> bool:
    """Whether `folder` holds the installation that was made for `wish` (what the user asked for, as JSON values).

    False if nothing is there, or only what an interrupted run has left. ConfigurationError if another installation is
    there, if files of this one are missing, or if the folder is something else.
    """
    refuse_shared(folder)
    refuse_earlier_layout(folder)
    record = folder / RECORD_FILE
    if not record.exists():
        _refuse_foreign(folder)
        return False
    try:
        made_for = json.loads(read_text(record))
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"{record} is no record of an installation any more: bring it back, or remove {folder} and make it anew."
        ) from error
    differing = sorted(key for key in made_for | dict(wish) if made_for.get(key) != wish.get(key))
    if differing:
        asked = ", and ".join(difference(key, made_for.get(key), wish.get(key)) for key in differing)
        raise ConfigurationError(f"{folder} was made {asked}: name another home, or remove this one first.")
    missing = [
        path for path in _files(folder, with_eve=wish.get(EVE_OPTION) is not None) if not path.exists()
    ]
    if missing:
        raise ConfigurationError(f"{missing[0]} is gone: bring it back, or remove {folder} and make it anew.")
    return True


def install(folder: Path, wish: Mapping[str, object], site: Installation, parameters: LinkParameters) -> None:
    """Make the installation in `folder`, whole or not at all; QkdlinkError, one sentence, if that fails."""
    _refuse_foreign(folder)
    with private_folder(folder), locked_home(folder), _whole_or_nothing(folder, wish):
        create_authorities(folder / NODES_AUTHORITY)
        create_authority(folder / APPARATUS_AUTHORITY, "qkdlink-apparatus-authority")
        make_sites(folder)
        seal, homes = new_seal(), _node_homes(folder)
        for name, hosts in ((ALICE, ()), (BOB, (site.addresses.classical.host, *site.bob_hosts))):
            issue(folder / NODES_AUTHORITY, name, homes[name], hosts)
            issue(folder / APPARATUS_AUTHORITY, name, homes[name] / APPARATUS)
            write_new(NewFile(homes[name] / SEAL_FILE, seal))
        site.security.furnish(homes[ALICE], homes[BOB], DEFAULT_LINK)
        _configure_nodes(folder, site, parameters)
        if site.eve is not None:
            _make_eve(folder / EVE, site, site.eve, seal, parameters)
        _make_broker(folder, site)


def _node_homes(folder: Path) -> dict[str, Path]:
    return {name: end_of(folder, DEFAULT_LINK, role).folder for name, role in ROLES.items()}


def _configure_nodes(folder: Path, site: Installation, parameters: LinkParameters) -> None:
    homes, access, eve = _node_homes(folder), _account(APPARATUS), site.eve
    dialled = site.addresses
    bound = replace(
        dialled, classical=_every_interface(dialled.classical), bootstrap=_every_interface(dialled.bootstrap)
    )
    alice, bob = (site.alice, {}) if eve is None else ({**ATTACKED, **site.alice}, ATTACKED_BOB)
    for name, peer, where, own in ((ALICE, BOB, dialled, alice), (BOB, ALICE, bound, bob)):
        told = {**own, **site.security.settings()}
        if eve is not None:
            told["apparatus"] = way_through_eve(eve if name == ALICE else None)
        text = node_configuration(DEFAULT_LINK, (name, peer), DEFAULT_SITES, where, access, parameters, told)
        write_new(NewFile(homes[name] / CONFIGURATION_FILE, text.encode()))


def _account(part: str) -> dict[str, str]:
    """Say who somebody is at the broker, by the credentials in a folder of their home."""
    return {
        "authority": f"{part}/{AUTHORITY_FILE}",
        "certificate": f"{part}/{CERTIFICATE_FILE}",
        "private_key": f"{part}/{PRIVATE_KEY_FILE}",
    }


def _make_eve(
    home: Path, site: Installation, found_at: Splice, seal: bytes, parameters: LinkParameters
) -> None:
    """Give Eve what the apparatus needs; nothing in it vouches for her to a node."""
    for part, name in ((APPARATUS, EVE), (CONSOLE, EVE_CONSOLE)):
        issue(home.parent / APPARATUS_AUTHORITY, name, home / part)
    bound = Splice(_every_interface(found_at.classical), _every_interface(found_at.bootstrap))
    told = {"console": {"address": str(site.addresses.broker), **_account(CONSOLE)}}
    text = eve_configuration(
        DEFAULT_LINK, DEFAULT_SITES, site.addresses, bound, _account(APPARATUS), parameters, told
    )
    write_new(NewFile(home / SEAL_FILE, seal), NewFile(home / CONFIGURATION_FILE, text.encode()))


def _every_interface(dialled: Address) -> Address:
    """Return what to bind so that `dialled` reaches it, be it the address of a router or of a container."""
    return Address("::" if ":" in dialled.host else "0.0.0.0", dialled.port)  # noqa: S104 - who may enter is checked


def _make_broker(folder: Path, site: Installation) -> None:
    address = site.addresses.broker
    hosts = (address.host, "localhost", "127.0.0.1", *site.broker_hosts)
    issue(folder / APPARATUS_AUTHORITY, BROKER, folder / BROKER, hosts)
    users = (
        *broker_users(DEFAULT_LINK, DEFAULT_SITES),
        BrokerUser(BROKER, None, writes=(), reads=(BROKER_VERSION_TOPIC,)),
    )
    write_new(
        NewFile(folder / BROKER / "access-list", access_list(users).encode()),
        NewFile(folder / BROKER / "mosquitto.conf", mosquitto_configuration(address.port).encode()),
    )


def mosquitto_configuration(port: int) -> str:
    """Return the configuration of a Mosquitto that is started in its own folder and listens everywhere."""
    return (
        "# Start in this folder, as its owner: mosquitto -c mosquitto.conf\n"
        f"listener {port}\n"
        f"cafile {AUTHORITY_FILE}\n"
        f"certfile {CERTIFICATE_FILE}\n"
        f"keyfile {PRIVATE_KEY_FILE}\n"
        "tls_version tlsv1.3\n"
        "require_certificate true\n"
        "use_identity_as_username true\n"
        "allow_anonymous false\n"
        "acl_file access-list\n"
    ) + house_rules()


@contextmanager
def _whole_or_nothing(folder: Path, wish: Mapping[str, object]) -> Iterator[None]:
    intent = folder / INTENT_FILE
    _clear(folder)
    write_over(NewFile(intent, (json.dumps(dict(wish)) + "\n").encode()))
    try:
        yield
        intent.rename(folder / RECORD_FILE)
    except BaseException:
        _clear(folder)
        raise


def _clear(folder: Path) -> None:
    """Remove what an unfinished run has made, but not the folders themselves, which may be mounted."""
    if not (folder / INTENT_FILE).exists():
        return
    for part in _PARTS:
        for entry in (folder / part).glob("*"):
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        with suppress(OSError):
            (folder / part).rmdir()
    with suppress(OSError):
        (folder / SITES_FOLDER).rmdir()
    (folder / INTENT_FILE).unlink()


def _refuse_foreign(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise ConfigurationError(f"{folder} is not a folder: name another home.")
    if (folder / INTENT_FILE).exists():
        return
    if any(not entry.is_dir() and entry.name != PROCESS_FILE for entry in folder.rglob("*")):
        raise ConfigurationError(f"{folder} is neither empty nor an installation: name another home.")


def _files(folder: Path, *, with_eve: bool) -> Iterator[Path]:
    for authority in (NODES_AUTHORITY, APPARATUS_AUTHORITY):
        yield folder / authority / CERTIFICATE_FILE
    for home in _node_homes(folder).values():
        yield from (home / file for file in _NODE_FILES)
    yield from (folder / BROKER / file for file in _BROKER_FILES)
    if with_eve:
        yield from (folder / EVE / file for file in _EVE_FILES)
