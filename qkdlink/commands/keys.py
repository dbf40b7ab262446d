"""`qkdlink keys` and `qkdlink bootstrap`: what a node's store has to tell an operator; never key material."""

import json
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import typer

from qkdlink.alice.settings import AliceSettings
from qkdlink.common.errors import ConfigurationError
from qkdlink.common.keys.allotment import OF_ALICE, OF_BOB, TAG_BITS, UNIT_BITS, upkeep_bits
from qkdlink.common.node.settings import CONFIGURATION_FILE, load_settings
from qkdlink.common.protocol.economy import Backoff
from qkdlink.common.protocol.roles import Role
from qkdlink.common.store.home_lock import locked_home
from qkdlink.common.store.in_use import is_open_for_writing
from qkdlink.common.store.key_store import KeyStore
from qkdlink.common.store.ledger import Balance
from qkdlink.common.store.opening import STORE_FILE
from qkdlink.deployment.homes.node_folders import NAME_ANOTHER, NodeFolder, node_folders, one_node
from qkdlink.deployment.homes.sites import end_of, ends_in, home_above
from qkdlink.views.outlook import duration


@dataclass(frozen=True, slots=True)
class Outlook:
    """What the link needs, and how long it lasts without a new key."""

    upkeep_bits: int
    """The smallest block that pays for itself."""
    blocks_payable: int | None
    """For how many blocks both sides can pay, as far as this one knows; None where tags cost no generated key."""
    reserve_lacks_bits: int | None
    """What would fill the reserve of both sides; None likewise."""
    seconds_to_starvation: float | None
    """If every block from now on fails, by the pauses between them alone; None likewise."""


def show(home: Path, *, as_json: bool) -> None:
    """Show the balance of each node's store in a link's home, a site's folder or a node's, one after the other."""
    for folder in _with_stores(home):
        with closing(KeyStore.of(folder)) as store:
            balance, outlook = store.balance(), _outlook(store, folder)
        typer.echo(_json(balance, outlook) if as_json else _text(balance, outlook))


def bootstrap(home: Path, *, again: bool) -> None:
    """Say how the latch stands; open it if asked to, and the node is stopped."""
    folder = one_node(home, _has_store, _STORE).folder
    if again:
        with locked_home(folder, _RUNS):
            _open_bootstrap(folder)
        return
    with closing(KeyStore.of(folder)) as store:
        closed = "closed" if store.epoch().latched else "open"
        typer.echo(f"The bootstrap is {closed}; the node is in epoch {store.epoch().number}.")


_RUNS = "{folder} is in use by {process}: stop that first; the bootstrap is opened with both nodes stopped."


def _open_bootstrap(home: Path) -> None:
    runs = is_open_for_writing(home / STORE_FILE)
    with closing(KeyStore.of(home)) as store:
        if runs:
            raise ConfigurationError(
                f"{store.balance().node} is running, or something else has its key store open: stop"
                f" {store.balance().node} first; the bootstrap is opened with both nodes stopped."
            )
        store.reopen_bootstrap()
    typer.echo(
        "The bootstrap is open here: stop the other node too, do the same at its end, then start both."
    )


_STORE = "key store"


def _has_store(node: NodeFolder) -> bool:
    return (node.folder / STORE_FILE).exists()


def _with_stores(home: Path) -> list[Path]:
    found = [node.folder for node in node_folders(home) if _has_store(node)]
    if not found:
        raise ConfigurationError(f"There is no {_STORE} in {home}: {NAME_ANOTHER}.")
    return found


def _outlook(store: KeyStore, folder: Path) -> Outlook:
    if not store.units.are_cut():
        return Outlook(upkeep_bits(tags=False), None, None, None)
    payable = min(store.units.left(parts) for parts in (OF_ALICE, OF_BOB)) // (TAG_BITS // UNIT_BITS)
    seconds = _pauses(folder).seconds_to_starvation(store.units.blocks_since_a_key(), payable)
    return Outlook(upkeep_bits(tags=True), payable, store.reserve_lacks_bits(), seconds)


def _pauses(folder: Path) -> Backoff:
    """Return the pauses that Alice makes: hers, or the usual ones where her configuration is not at hand."""
    for file in (_alice_of(folder), folder / CONFIGURATION_FILE):
        with suppress(ConfigurationError):
            return load_settings(AliceSettings, file).backoff
    fields = AliceSettings.model_fields
    return Backoff(fields["backoff_first_s"].default, fields["backoff_longest_s"].default)


def _alice_of(folder: Path) -> Path:
    """Return Alice's configuration file of the link that a node serves, if both lie in one home; else the node's."""
    if (home := home_above(folder)) is None:
        return folder / CONFIGURATION_FILE
    links = (end.link for end in ends_in(home) if end.folder == folder.absolute())
    return next((end_of(home, link, Role.ALICE).configuration for link in links), folder / CONFIGURATION_FILE)


def _json(balance: Balance, outlook: Outlook) -> str:
    told = asdict(balance) | {"net_gain_per_block": round(balance.net_gain_per_block, 1)} | asdict(outlook)
    return json.dumps(told)


def _text(balance: Balance, outlook: Outlook) -> str:
    latch = "closed" if balance.latched else "open"
    head = (
        f"{balance.node}: epoch {balance.epoch}, bootstrap {latch}, {balance.pending_blocks} pending blocks"
    )
    rows = {
        "produced": f"{balance.produced_bits} bits",
        "leaked in reconciliation": f"{balance.leaked_bits}",
        "available": f"{balance.available_bits}",
        **{purpose: f"{bits}" for purpose, bits in balance.spent.items()},
        "in all for authentication": f"{balance.authentication_bits}",
        "in all for link PSKs": f"{balance.psk_bits}",
        "net gain per block": f"{balance.net_gain_per_block:.1f}",
        "smallest block that pays": f"{outlook.upkeep_bits}",
        **_prospects(outlook),
    }
    warning = ["  the bootstrap was without authentication: no application gets these keys"]
    return "\n".join(
        [
            head,
            *(warning if balance.unauthenticated else []),
            *(_row(name, value) for name, value in rows.items()),
        ]
    )


def _prospects(outlook: Outlook) -> dict[str, str]:
    if outlook.blocks_payable is None or outlook.seconds_to_starvation is None:
        return {}
    return {
        "lacking in the reserve": f"{outlook.reserve_lacks_bits}",
        "tags are left for": f"{outlook.blocks_payable} blocks",
        "if all of them fail, for": duration(outlook.seconds_to_starvation),
    }


def _row(name: str, value: str) -> str:
    number, _, unit = value.partition(" ")
    return f"  {name:30} {number:>12} {unit}".rstrip()
