"""A link's home on one machine: `ca/`, `broker/`, and a node home each for Alice and Bob.

Credentials, the light seal and the broker's passwords are made once and stay. The two `node.toml` are written anew at
each start, because addresses and parameters belong to the run.
"""

import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tomli_w

from qkdlink.common.errors import ConfigurationError
from qkdlink.common.node.settings import CONFIGURATION_FILE, read_secret_line
from qkdlink.common.optics.seal import SEAL_KEY_BYTES
from qkdlink.common.protocol.parameters import LinkParameters
from qkdlink.common.store.home_lock import PROCESS_FILE, locked_home
from qkdlink.common.transport.addresses import Address
from qkdlink.common.trust.pki import issue
from qkdlink.common.trust.private_files import NewFile, private_folder, refuse_shared, write_new, write_over
from qkdlink.common.wire.topics import Topics
from qkdlink.deployment.brokers.broker import BrokerUser
from qkdlink.deployment.certificates.hierarchy import create_authorities
from qkdlink.deployment.homes.security import DEFAULT_SECURITY, Security
from qkdlink.eve.topics import EVE, control_topic

ALICE, BOB = "alice", "bob"
_PARTS = ("ca", "broker", ALICE, BOB)
EVE_CONSOLE = "eve-console"
"""Whoever plays Eve from a machine or container of their own; in a home they use her account."""
ATTACKED = {"reserve_lasts_s": 5_400.0}
"""What Alice is told where Eve may attack: short pauses at first, and ninety minutes from a full reserve."""
ATTACKED_BOB = {"unproven_pause_s": 30.0}
"""What Bob is told there: an experiment that cut every line goes on half a minute after it has ended."""
DEFAULT_LINK = "link-1"
SEAL_FILE, _PASSWORD_FILE = "light-seal.key", "broker-password"
KEY_LOG_FILE = "tls-keys.log"
"""Where a node writes down the secrets of its TLS sessions, if Eve is to be lent them."""


@dataclass(frozen=True, slots=True)
class LinkAddresses:
    """Where the broker is, and where Bob listens: with link PSKs, and with certificates until the latch closes."""

    broker: Address
    classical: Address
    bootstrap: Address


@dataclass(frozen=True, slots=True)
class Splice:
    """Where Eve listens in Bob's place: for link PSKs, and for bootstraps."""

    classical: Address
    bootstrap: Address


@dataclass(frozen=True, slots=True)
class LinkHome:
    """The folder of one link; `open_home` makes what is missing."""

    folder: Path
    link: str = DEFAULT_LINK

    def node(self, name: str) -> Path:
        """Return the home of one node."""
        return self.folder / name

    def configuration(self, name: str) -> Path:
        """Return a node's configuration file."""
        return self.node(name) / CONFIGURATION_FILE

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
            for user in broker_users(self.link)
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
                NewFile(self.node(EVE) / _PASSWORD_FILE, f"{secrets.token_hex(16)}\n".encode()),
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
        account = {"username": EVE, "password_file": _PASSWORD_FILE} if log_in else {}
        text = eve_configuration(self.link, addresses, splice, account, parameters, told)
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
            account = {"username": name, "password_file": _PASSWORD_FILE} if log_in else {}
            told = {**own, **security.settings()}
            if key_logs:
                told["laboratory"] = {"tls_key_log": KEY_LOG_FILE, "insecure_tls_key_log": True}
            if splice is not None:
                told["apparatus"] = way_through_eve(splice if name == ALICE else None)
            text = node_configuration(self.link, (name, peer), addresses, account, parameters, told)
            self._write_configuration(name, text)

    def _write_configuration(self, name: str, text: str) -> None:
        written = f"# Written by qkdlink for {name} at each start.\n{text}"
        write_over(NewFile(self.configuration(name), written.encode()))

    def _password(self, name: str) -> str:
        return read_secret_line(self.node(name) / _PASSWORD_FILE, "broker password")


def broker_users(link: str) -> tuple[BrokerUser, ...]:
    """Return who is at a link's broker: each writes its own topics and reads what it needs; Eve alone plugs.

    Each leg of light has one writer and one reader, so that Eve has nothing of light that goes directly.
    """
    topics = Topics(link)
    return (
        BrokerUser(
            ALICE,
            None,
            writes=(topics.light(ALICE, BOB), topics.light(ALICE, EVE), topics.journal(ALICE)),
            reads=(topics.receipts(BOB, ALICE), topics.receipts(EVE, ALICE), topics.patch()),
        ),
        BrokerUser(
            BOB,
            None,
            writes=(topics.receipts(BOB, ALICE), topics.receipts(BOB, EVE), topics.journal(BOB)),
            reads=(topics.light(ALICE, BOB), topics.light(EVE, BOB), topics.patch()),
        ),
        BrokerUser(
            EVE,
            None,
            writes=(
                topics.light(EVE, BOB),
                topics.receipts(EVE, ALICE),
                topics.journal(EVE),
                topics.patch(),
                control_topic(topics),
            ),
            reads=(
                topics.light(ALICE, EVE),
                topics.receipts(BOB, EVE),
                *(topics.journal(name) for name in (ALICE, BOB, EVE)),
                control_topic(topics),
            ),
        ),
        BrokerUser(
            EVE_CONSOLE,
            None,
            writes=(control_topic(topics),),
            reads=tuple(topics.journal(name) for name in (ALICE, BOB, EVE)),
        ),
    )


def way_through_eve(dialled: Splice | None) -> dict[str, Any]:
    """Return what a node's apparatus is told, so that the patch panel can lead light, and what is dialled, to Eve."""
    way: dict[str, Any] = {"site": EVE}
    if dialled is not None:
        way["classical"] = {
            "address": str(dialled.classical),
            "bootstrap_address": str(dialled.bootstrap),
        }
    return {"ways": {EVE: way}}


def eve_configuration(
    link: str,
    addresses: LinkAddresses,
    splice: Splice,
    account: Mapping[str, str],
    parameters: LinkParameters,
    told: Mapping[str, Any],
) -> str:
    """Return the text of Eve's configuration; `account` is who she is at the broker, `told` what only she is told."""
    return tomli_w.dumps(
        {
            "link": link,
            **told,
            "splice": {
                "address": str(splice.classical),
                "bootstrap_address": str(splice.bootstrap),
                "bob_address": str(addresses.classical),
                "bob_bootstrap_address": str(addresses.bootstrap),
            },
            "broker": {"address": str(addresses.broker), **account},
            "parameters": parameters.model_dump(mode="json", exclude_none=True),
        }
    )


def node_configuration(
    link: str,
    name_and_peer: tuple[str, str],
    addresses: LinkAddresses,
    account: Mapping[str, str],
    parameters: LinkParameters,
    own: Mapping[str, Any],
) -> str:
    """Return the text of a node's configuration file.

    `account` is who the node is at the broker, `own` what only this node is told.
    """
    name, peer = name_and_peer
    return tomli_w.dumps(
        {
            "link": link,
            "node": name,
            "peer": peer,
            **own,
            "classical": {
                "address": str(addresses.classical),
                "bootstrap_address": str(addresses.bootstrap),
            },
            "broker": {"address": str(addresses.broker), **account},
            "parameters": parameters.model_dump(mode="json", exclude_none=True),
        }
    )


def new_seal() -> bytes:
    """Return the text of a new light seal, to be kept in `SEAL_FILE` at every apparatus of a link."""
    return f"{secrets.token_hex(SEAL_KEY_BYTES)}\n".encode()


def open_home(folder: Path, *, must_be_new: bool = False) -> LinkHome:
    """Open a link's home, making it if the folder is new or empty; ConfigurationError if it is something else."""
    home = check_home(folder, must_be_new=must_be_new)
    if not _inside(folder):
        _furnish(home)
    return home


def check_home(folder: Path, *, must_be_new: bool = False) -> LinkHome:
    """Return the home that `open_home` would open, and make nothing; ConfigurationError as there."""
    refuse_shared(folder)
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
        seal = new_seal()
        for name in (ALICE, BOB):
            issue(home.folder / "ca", name, home.node(name))
            write_new(
                NewFile(home.node(name) / SEAL_FILE, seal),
                NewFile(home.node(name) / _PASSWORD_FILE, f"{secrets.token_hex(16)}\n".encode()),
            )


@contextmanager
def _all_or_nothing(home: LinkHome) -> Iterator[None]:
    try:
        yield
    except BaseException:
        for part in _PARTS:
            shutil.rmtree(home.folder / part, ignore_errors=True)
        raise
