"""A link's home on one machine.

    ca/             the authority of the nodes
    broker/         the broker's folder
    sites/site-a/   the site of Alice; her end of the link is in `links/link-1/`
    sites/site-b/   the site of Bob
    eve/            where she was let in

Credentials, the light seal and the broker's passwords are made once and stay. The two `node.toml` are written anew at
each start, because addresses and parameters belong to the run. Which site has which role is what the sites say.
"""

import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from qkdlink.common.errors import ConfigurationError
from qkdlink.common.node.settings import CONFIGURATION_FILE, read_secret_line
from qkdlink.common.optics.seal import SEAL_KEY_BYTES
from qkdlink.common.protocol.parameters import LinkParameters
from qkdlink.common.protocol.roles import Role
from qkdlink.common.store.home_lock import PROCESS_FILE, locked_home
from qkdlink.common.trust.pki import issue
from qkdlink.common.trust.private_files import NewFile, private_folder, refuse_shared, write_new, write_over
from qkdlink.deployment.brokers.broker import BrokerUser
from qkdlink.deployment.certificates.hierarchy import create_authorities
from qkdlink.deployment.homes.access import broker_users
from qkdlink.deployment.homes.configuration import (
    PASSWORD_FILE,
    SEAL_FILE,
    LinkAddresses,
    Splice,
    eve_configuration,
    node_configuration,
    way_through_eve,
)
from qkdlink.deployment.homes.names import ALICE, BOB, ROLES
from qkdlink.deployment.homes.security import DEFAULT_SECURITY, Security
from qkdlink.deployment.homes.sites import (
    DEFAULT_LINK,
    SITES_FOLDER,
    end_of,
    make_sites,
    refuse_earlier_layout,
)
from qkdlink.eve.topics import EVE

_PARTS = ("ca", "broker", SITES_FOLDER)
ATTACKED = {"reserve_lasts_s": 5_400.0}
"""What Alice is told where Eve may attack: short pauses at first, and ninety minutes from a full reserve."""
ATTACKED_BOB = {"unproven_pause_s": 30.0}
"""What Bob is told there: an experiment that cut every line goes on half a minute after it has ended."""
KEY_LOG_FILE = "tls-keys.log"
"""Where a node writes down the secrets of its TLS sessions, if Eve is to be lent them."""


@dataclass(frozen=True, slots=True)
class LinkHome:
    """The folder of one link; `open_home` makes what is missing."""

    folder: Path
    link: str = DEFAULT_LINK

    def node(self, name: str) -> Path:
        """Return the home of one process: that of a node is at its site, Eve's is beside the sites."""
        return self.configuration(name).parent

    def configuration(self, name: str) -> Path:
        """Return the configuration file of one process."""
        role = ROLES.get(name)
        if role is None:
            return self.folder / name / CONFIGURATION_FILE
        return end_of(self.folder, self.link, role).configuration

    @property
    def sites(self) -> Mapping[Role, str]:
        """What the sites at both ends of the link are called."""
        return {role: end_of(self.folder, self.link, role).site for role in Role}

    @property
    def broker(self) -> Path:
        """The broker's folder."""
        return self.folder / "broker"

    def key_log(self, name: str) -> Path:
        """Return where a node writes down the secrets of its TLS sessions, if it was told to."""
        return self.node(name) / KEY_LOG_FILE

    def broker_users(self) -> tuple[BrokerUser, ...]:
        """Return the accounts of this link; Eve has one where she has a home."""
        return tuple(
            replace(user, password=self._password(user.name))
            for user in broker_users(self.link, self.sites)
            if self.node(user.name).is_dir()
        )

    def let_eve_in(self) -> None:
        """Give Eve a home beside the nodes', with the key of the emulated optics; a second time does nothing."""
        if self.node(EVE).is_dir():
            return
        seal = (self.node(ALICE) / SEAL_FILE).read_bytes()
        with private_folder(self.node(EVE)):
            write_new(
                NewFile(self.node(EVE) / SEAL_FILE, seal),
                NewFile(self.node(EVE) / PASSWORD_FILE, f"{secrets.token_hex(16)}\n".encode()),
            )

    def configure_eve(
        self,
        parameters: LinkParameters,
        addresses: LinkAddresses,
        splice: Splice,
        told: Mapping[str, Any],
        *,
        log_in: bool,
    ) -> None:
        """Write her configuration; `told` are settings of hers alone, such as her attacks."""
        account = {"username": EVE, "password_file": PASSWORD_FILE} if log_in else {}
        text = eve_configuration(self.link, self.sites, addresses, splice, account, parameters, told)
        self._write_configuration(EVE, text)

    def configure(
        self,
        parameters: LinkParameters,
        addresses: LinkAddresses,
        alice: Mapping[str, Any],
        *,
        log_in: bool,
        only: str | None = None,
        security: Security = DEFAULT_SECURITY,
        splice: Splice | None = None,
        key_logs: bool = False,
    ) -> None:
        """Write both nodes' configuration files, or those of one; `alice` are settings of hers alone.

        With `key_logs` both nodes write down the secrets of their TLS sessions, for a laboratory.
        """
        security.furnish(self.node(ALICE), self.node(BOB), self.link)
        for name, peer, own in ((ALICE, BOB, alice), (BOB, ALICE, {} if splice is None else ATTACKED_BOB)):
            if only not in (None, name):
                continue
            account = {"username": name, "password_file": PASSWORD_FILE} if log_in else {}
            told = {**own, **security.settings()}
            if key_logs:
                told["laboratory"] = {"tls_key_log": KEY_LOG_FILE, "insecure_tls_key_log": True}
            if splice is not None:
                told["apparatus"] = way_through_eve(splice if name == ALICE else None)
            text = node_configuration(
                self.link, (name, peer), self.sites, addresses, account, parameters, told
            )
            self._write_configuration(name, text)

    def _write_configuration(self, name: str, text: str) -> None:
        written = f"# Written by qkdlink for {name} at each start.\n{text}"
        write_over(NewFile(self.configuration(name), written.encode()))

    def _password(self, name: str) -> str:
        return read_secret_line(self.node(name) / PASSWORD_FILE, "broker password")


def new_seal() -> bytes:
    """Return the text of a new light seal, to be kept in `SEAL_FILE` at every apparatus of a link."""
    return f"{secrets.token_hex(SEAL_KEY_BYTES)}\n".encode()


def open_home(folder: Path, *, must_be_new: bool = False) -> LinkHome:
    """Open a link's home, making it if the folder is new or empty; ConfigurationError if it is something else."""
    home = check_home(folder, must_be_new=must_be_new)
    if _inside(folder):
        make_sites(folder)
    else:
        _furnish(home)
    return home


def check_home(folder: Path, *, must_be_new: bool = False) -> LinkHome:
    """Return the home that `open_home` would open, and make nothing; ConfigurationError as there."""
    refuse_shared(folder)
    refuse_earlier_layout(folder)
    inside = _inside(folder)
    if folder.exists() and not folder.is_dir():
        raise ConfigurationError(f"{folder} is not a folder: name another home.")
    if must_be_new and inside:
        raise ConfigurationError(f"A reproducible run needs an empty home, and {folder} is not empty.")
    if inside and not inside >= set(_PARTS):
        raise ConfigurationError(f"{folder} is neither empty nor the home of a link: name another home.")
    return LinkHome(folder)


def existing_home(folder: Path) -> LinkHome:
    """Return the home of a link that has been started; ConfigurationError if there is none, and nothing is made."""
    home = check_home(folder)
    if not _inside(folder):
        raise ConfigurationError(
            f"There is no link in {folder}: start one with `qkdlink up --home {folder} --attack intercept-resend`."
        )
    return home


def _inside(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()} - {PROCESS_FILE} if folder.is_dir() else set()


def _furnish(home: LinkHome) -> None:
    with private_folder(home.folder), locked_home(home.folder):
        if _inside(home.folder):
            raise ConfigurationError(f"{home.folder} was furnished by another process just now: try again.")
        _furnish_alone(home)


def _furnish_alone(home: LinkHome) -> None:
    with _all_or_nothing(home):
        create_authorities(home.folder / "ca")
        home.broker.mkdir(0o700)
        make_sites(home.folder)
        seal = new_seal()
        for name in (ALICE, BOB):
            issue(home.folder / "ca", name, home.node(name))
            write_new(
                NewFile(home.node(name) / SEAL_FILE, seal),
                NewFile(home.node(name) / PASSWORD_FILE, f"{secrets.token_hex(16)}\n".encode()),
            )


@contextmanager
def _all_or_nothing(home: LinkHome) -> Iterator[None]:
    try:
        yield
    except BaseException:
        for part in _PARTS:
            shutil.rmtree(home.folder / part, ignore_errors=True)
        raise
