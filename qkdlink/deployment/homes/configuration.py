"""The configuration files of a link's processes: where everybody is, and what each is told."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tomli_w

from qkdlink.common.protocol.parameters import LinkParameters
from qkdlink.common.protocol.roles import Role
from qkdlink.common.transport.addresses import Address
from qkdlink.deployment.homes.names import ROLES
from qkdlink.eve.topics import EVE

SEAL_FILE, PASSWORD_FILE = "light-seal.key", "broker-password"


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
    sites: Mapping[Role, str],
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
            "alice_site": sites[Role.ALICE],
            "bob_site": sites[Role.BOB],
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
    sites: Mapping[Role, str],
    addresses: LinkAddresses,
    account: Mapping[str, str],
    parameters: LinkParameters,
    own: Mapping[str, Any],
) -> str:
    """Return the text of a node's configuration file.

    `account` is who the node is at the broker, `own` what only this node is told.
    """
    name, peer = name_and_peer
    role = ROLES[name]
    return tomli_w.dumps(
        {
            "link": link,
            "node": name,
            "peer": peer,
            "site": sites[role],
            "peer_site": sites[role.peer],
            **own,
            "classical": {
                "address": str(addresses.classical),
                "bootstrap_address": str(addresses.bootstrap),
            },
            "broker": {"address": str(addresses.broker), **account},
            "parameters": parameters.model_dump(mode="json", exclude_none=True),
        }
    )
