"""`qkdlink init`: everything that broker, Alice and Bob need on machines or in containers of their own."""

import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import combinations
from pathlib import Path
from typing import Any

from qkdlink.commands.link_plan import planned, rekeying, security_of
from qkdlink.common.errors import ConfigurationError
from qkdlink.common.protocol.roles import Role
from qkdlink.common.transport.addresses import Address
from qkdlink.deployment.homes.configuration import LinkAddresses, Splice
from qkdlink.deployment.homes.installation import (
    APPARATUS_AUTHORITY,
    BROKER,
    EVE_OPTION,
    NODES_AUTHORITY,
    Installation,
    install,
    is_installed,
)
from qkdlink.deployment.homes.link_options import LinkOptions
from qkdlink.deployment.homes.security import Security
from qkdlink.deployment.homes.sites import DEFAULT_SITES, SITES_FOLDER, make_sites
from qkdlink.eve.topics import EVE

_LAST_PORT = 65_535
_LOOPBACK = "localhost"


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


def init(home: Path, places: Places, options: LinkOptions) -> None:
    """Make an installation in `home`, or say that it is there already; nothing of it is ever overwritten."""
    site = _site(places, rekeying(options), security_of(options))
    wish = _wish(site, options)
    if is_installed(home, wish):
        make_sites(home)
        _say(f"{home} is complete already; nothing was changed.")
        return
    install(home, wish, site, planned(options, site.security))
    for part, meaning in (
        (f"{SITES_FOLDER}/{DEFAULT_SITES[Role.ALICE]}", "for Alice's machine"),
        (f"{SITES_FOLDER}/{DEFAULT_SITES[Role.BOB]}", "for Bob's machine"),
        (BROKER, "for the broker's machine"),
        *([] if site.eve is None else [(EVE, "for Eve's machine")]),
        (NODES_AUTHORITY, "the authority of the nodes; keep it here"),
        (APPARATUS_AUTHORITY, "the authority of the broker and its clients; keep it here"),
    ):
        _say(f"{home / part}  {meaning}")


def _site(places: Places, alice: Mapping[str, Any], security: Security) -> Installation:
    classical = _address(places.bob)
    bootstrap = (
        _address(places.bob_bootstrap)
        if places.bob_bootstrap
        else _next(classical, "--bob", "name --bob-bootstrap")
    )
    found_at = None if places.eve is None else _address(places.eve)
    eve = None if found_at is None else Splice(found_at, _next(found_at, EVE_OPTION, "choose a lower one"))
    addresses = LinkAddresses(_address(places.broker), classical, bootstrap)
    _refuse_shared_ports(addresses, eve, places)
    return Installation(addresses, places.broker_hosts, places.bob_hosts, security, eve, alice)


def _wish(site: Installation, options: LinkOptions) -> dict[str, object]:
    """Return what was asked for as JSON values, under the names of the options."""
    return {
        "--broker": str(site.addresses.broker),
        "--bob": str(site.addresses.classical),
        "--bob-bootstrap": str(site.addresses.bootstrap),
        EVE_OPTION: None if site.eve is None else str(site.eve.classical),
        "--broker-host": list(site.broker_hosts),
        "--bob-host": list(site.bob_hosts),
        "--preset": options.preset,
        "--distance": options.distance,
        "--protocol": options.protocol,
        "--block-pulses": options.block_pulses,
        "--anchor": str(site.security.anchor),
        "--authentication": str(site.security.scheme),
        **{f"--{name.replace('_', '-')}": value for name, value in site.alice.items()},
    }


def _next(address: Address, option: str, remedy: str) -> Address:
    if address.port == _LAST_PORT:
        raise ConfigurationError(f"{option} {address} leaves no next port for bootstraps: {remedy}.")
    return Address(address.host, address.port + 1)


def _refuse_shared_ports(addresses: LinkAddresses, eve: Splice | None, places: Places) -> None:
    """Raise ConfigurationError where two programs would listen on one port of one machine.

    Bob has his two ports on every interface of one machine, whatever its names are, and so has Eve.
    """
    bob = _names(addresses.classical.host, addresses.bootstrap.host, *places.bob_hosts)
    broker = _names(addresses.broker.host, *places.broker_hosts)
    listeners = [
        ("--broker", addresses.broker, broker),
        ("--bob", addresses.classical, bob),
        ("--bob-bootstrap", addresses.bootstrap, bob),
    ]
    if eve is not None:
        hers = _names(eve.classical.host)
        listeners += [(EVE_OPTION, eve.classical, hers), (f"{EVE_OPTION} (bootstraps)", eve.bootstrap, hers)]
    for (one, at, names), (other, also_at, other_names) in combinations(listeners, 2):
        if at.port == also_at.port and names & other_names:
            raise ConfigurationError(
                f"{one} {at} and {other} {also_at} are one port of one machine: give each a port of its own."
            )


def _names(*hosts: str) -> set[str]:
    """Return the names of one machine in one spelling; all addresses of loopback are the same machine."""
    return {_LOOPBACK if _is_loopback(host) else host.lower().rstrip(".") for host in hosts}


def _is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host.lower() == _LOOPBACK


def _address(text: str) -> Address:
    try:
        return Address.parse(text)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
