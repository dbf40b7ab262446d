"""`qkdlink init`: everything that broker, Alice and Bob need on machines or in containers of their own."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import ConfigurationError
from common.transport.addresses import Address
from eve.topics import EVE
from lab.home import ALICE, BOB, LinkAddresses, Splice
from lab.installation import (
    APPARATUS_AUTHORITY,
    BROKER,
    EVE_OPTION,
    NODES_AUTHORITY,
    Site,
    install,
    is_installed,
)
from lab.security import Security
from qkdlink.demo import planned


@dataclass(frozen=True, slots=True)
class Places:
    """Addresses as they were typed, and names that the certificates carry besides."""

    broker: str
    bob: str
    bob_bootstrap: str | None
    broker_hosts: tuple[str, ...]
    bob_hosts: tuple[str, ...]
    eve: str | None = None
    """Where Alice would find Eve; the next port is for bootstraps."""


@dataclass(frozen=True, slots=True)
class Physics:
    """What the parameters of the link are planned from; None leaves the choice to the planner."""

    preset: str
    distance_km: float | None
    protocol: str | None
    block_pulses: int | None


def init(home: Path, places: Places, physics: Physics, alice: Mapping[str, Any], security: Security) -> None:
    """Make an installation in `home`, or say that it is there already; nothing of it is ever overwritten."""
    site = _site(places, alice, security)
    wish = _wish(site, physics)
    if is_installed(home, wish):
        _say(f"{home} is complete already; nothing was changed.")
        return
    parameters = planned(
        physics.preset,
        physics.distance_km,
        physics.protocol,
        physics.block_pulses,
        reproducible=False,
        security=security,
    )
    install(home, wish, site, parameters)
    for part, meaning in (
        (ALICE, "for Alice's machine"),
        (BOB, "for Bob's machine"),
        (BROKER, "for the broker's machine"),
        *([] if site.eve is None else [(EVE, "for Eve's machine")]),
        (NODES_AUTHORITY, "the authority of the nodes; keep it here"),
        (APPARATUS_AUTHORITY, "the authority of the broker and its clients; keep it here"),
    ):
        _say(f"{home / part}  {meaning}")


def _site(places: Places, alice: Mapping[str, Any], security: Security) -> Site:
    classical = _address(places.bob)
    bootstrap = _address(places.bob_bootstrap) if places.bob_bootstrap else _next(classical)
    found_at = None if places.eve is None else _address(places.eve)
    eve = None if found_at is None else Splice(found_at, _next(found_at))
    addresses = LinkAddresses(_address(places.broker), classical, bootstrap)
    return Site(addresses, places.broker_hosts, places.bob_hosts, security, eve, alice)


def _wish(site: Site, physics: Physics) -> dict[str, object]:
    """Return what was asked for as JSON values, under the names of the options."""
    return {
        "--broker": str(site.addresses.broker),
        "--bob": str(site.addresses.classical),
        "--bob-bootstrap": str(site.addresses.bootstrap),
        EVE_OPTION: None if site.eve is None else str(site.eve.classical),
        "--broker-host": list(site.broker_hosts),
        "--bob-host": list(site.bob_hosts),
        "--preset": physics.preset,
        "--distance": physics.distance_km,
        "--protocol": physics.protocol,
        "--block-pulses": physics.block_pulses,
        "--anchor": str(site.security.anchor),
        "--authentication": str(site.security.scheme),
        **{f"--{name.replace('_', '-')}": value for name, value in site.alice.items()},
    }


def _next(address: Address) -> Address:
    return Address(address.host, address.port + 1)


def _address(text: str) -> Address:
    try:
        return Address.parse(text)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
