"""`qkdlink keys` and `qkdlink bootstrap`: what a node's store has to tell an operator; never key material."""

import json
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import typer

from common.errors import ConfigurationError
from common.store.key_store import STORE_FILE, Balance, KeyStore


def show(home: Path, *, as_json: bool) -> None:
    """Show the balance of a node's store, or of every node of a link's home, one after the other."""
    for folder in _node_homes(home):
        with closing(KeyStore.of(folder)) as store:
            balance = store.balance()
        typer.echo(json.dumps(asdict(balance)) if as_json else _text(balance))


def bootstrap(home: Path, *, again: bool) -> None:
    """Say how the latch stands; open it if asked to."""
    with closing(KeyStore.of(home)) as store:
        if again:
            store.reopen_bootstrap()
            typer.echo("The bootstrap is open here: do the same at the other end, then start both nodes.")
        else:
            closed = "closed" if store.epoch().latched else "open"
            typer.echo(f"The bootstrap is {closed}; the node is in epoch {store.epoch().number}.")


def _node_homes(home: Path) -> list[Path]:
    if (home / STORE_FILE).exists():
        return [home]
    found = sorted(path.parent for path in home.glob(f"*/{STORE_FILE}"))
    if not found:
        raise ConfigurationError(f"There is no key store in {home}: name the home of a node that has run.")
    return found


def _text(balance: Balance) -> str:
    spent = "".join(f"\n  {purpose:30} {bits:>12}" for purpose, bits in balance.spent.items())
    latch = "closed" if balance.latched else "open"
    return (
        f"{balance.node}: epoch {balance.epoch}, bootstrap {latch}, {balance.pending_blocks} pending blocks\n"
        f"  {'produced':30} {balance.produced_bits:>12} bits\n"
        f"  {'leaked in reconciliation':30} {balance.leaked_bits:>12}\n"
        f"  {'available':30} {balance.available_bits:>12}{spent}"
    )
