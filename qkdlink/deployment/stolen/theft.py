"""What a thief takes from a link's home while it runs or rests, as the homes of Eve's two programs."""

import shutil
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qkdlink.common.errors import ConfigurationError
from qkdlink.common.journal.events import BlockEnded
from qkdlink.common.keys.identifiers import BlockId
from qkdlink.common.protocol.parameters import LinkParameters
from qkdlink.common.store.key_store import KeyStore
from qkdlink.common.store.schema import State
from qkdlink.common.text_files import read_text
from qkdlink.common.transport.addresses import Address
from qkdlink.deployment.brokers.ports import LOOPBACK, free_port
from qkdlink.deployment.homes.configuration import LinkAddresses, node_configuration
from qkdlink.deployment.homes.home import LinkHome
from qkdlink.deployment.homes.names import ALICE, BOB
from qkdlink.deployment.stolen.block_keys import block_keys
from qkdlink.deployment.stolen.leaks import FACING_ALICE, FACING_BOB, HOMES, Loot, furnish
from qkdlink.eve.topics import EVE

IMPERSONATION: dict[str, Any] = {"alice_home": FACING_BOB, "bob_home": FACING_ALICE}
"""The setting of Eve's that names the homes of her two programs."""

_LOOT = {
    "certificate": "certificates",
    "authority": "authority",
    "link-psk": "link_psk",
    "tag-keys": "tag_keys",
    "nothing": None,
}


def loot_from(texts: Sequence[str]) -> Loot | None:
    """Read what was stolen, as names with commas between them; None if nothing is named, not even `nothing`.

    ConfigurationError for what cannot be stolen.
    """
    names = [name.strip() for text in texts for name in text.split(",")]
    for name in names:
        if name not in _LOOT:
            raise ConfigurationError(f"{name!r} cannot be stolen: name some of {', '.join(_LOOT)}.")
    return Loot(**{part: True for name in names if (part := _LOOT[name])}) if names else None


def check_there(home: LinkHome, loot: Loot) -> None:
    """Raise ConfigurationError if something is to be stolen that neither node has yet."""
    if loot.is_of_stores and not all(KeyStore.is_latched(home.node(name)) for name in (ALICE, BOB)):
        raise ConfigurationError(
            "There is no link PSK and no tag key to steal before the link has made its first key:"
            " let it run with --home FOLDER first, then steal in another run of that home, or with"
            " `qkdlink eve --home FOLDER --stolen ...`."
        )


def no_place(folder: Path) -> str:
    """Say that Eve is not on the link of a home, and how she gets there."""
    return (
        f"Eve has no place on the link in {folder}, where there is no configuration file of hers: start it with"
        f" `qkdlink up --home {folder} --attack intercept-resend` (or make it anew with"
        " `qkdlink init --eve HOST:PORT`), then run this again."
    )


def steal(home: LinkHome, loot: Loot) -> None:
    """Take what is there now from both nodes, and make the homes of Eve's two programs of it.

    The link is configured, with Eve in it, and may be running. What an earlier theft has left is replaced.
    ConfigurationError if Eve has no place on this link, or if what is to be stolen is not there.
    """
    if not home.configuration(EVE).exists():
        raise ConfigurationError(no_place(home.folder))
    check_there(home, loot)
    hers, victim = _read(home, EVE), _read(home, ALICE)
    for folder in HOMES.values():
        shutil.rmtree(home.node(EVE) / folder, ignore_errors=True)
    furnish(home, loot, {part: _configuration(home, part, hers, victim) for part in (BOB, ALICE)})


def _read(home: LinkHome, name: str) -> dict[str, Any]:
    return tomllib.loads(read_text(home.configuration(name)))


def _configuration(home: LinkHome, part: str, hers: dict[str, Any], victim: dict[str, Any]) -> str:
    """Return the `node.toml` of her program that plays `part`: Eve's account at the broker, the victim's name."""
    splice, broker = hers["splice"], hers["broker"]
    classical, bootstrap = (
        (Address.parse(splice["bob_address"]), Address.parse(splice["bob_bootstrap_address"]))
        if part == ALICE
        else (Address(LOOPBACK, free_port()), Address(LOOPBACK, free_port()))
    )
    account = {"client_id": f"{home.link}-{EVE}-as-{part}"}
    if "username" in broker:
        account |= {"username": broker["username"], "password_file": "../broker-password"}
    told: dict[str, Any] = {name: victim[name] for name in ("trust", "authentication") if name in victim}
    told |= {"apparatus": {"site": EVE}, "credentials": {"light_seal": "../light-seal.key"}}
    if part == ALICE:
        told |= {name: victim[name] for name in ("rekey_blocks", "rekey_seconds") if name in victim}
        told |= {"blocks": 0, "backoff_longest_s": 2.0}
    scalars = {name: value for name, value in told.items() if not isinstance(value, dict)}
    tables = {name: value for name, value in told.items() if isinstance(value, dict)}
    return node_configuration(
        home.link,
        (part, BOB if part == ALICE else ALICE),
        home.sites,
        LinkAddresses(Address.parse(broker["address"]), classical, bootstrap),
        account,
        LinkParameters.model_validate(hers["parameters"]),
        {**scalars, **tables},
    )


@dataclass(frozen=True, slots=True)
class Impersonation:
    """What came of it that Eve took both nodes' places: blocks with a key, compared bit for bit in the key stores."""

    keys_of_alice: int
    known_of_alice: int
    """How many of Alice's keys Eve has."""
    keys_of_bob: int
    known_of_bob: int
    keys_in_common: int
    """How many keys Alice and Bob share."""

    @property
    def she_won(self) -> bool:
        """Whether Eve has a key that a node believes in."""
        return bool(self.known_of_alice or self.known_of_bob)


def impersonation(
    home: LinkHome, of_alice: Sequence[BlockEnded], of_bob: Sequence[BlockEnded]
) -> Impersonation:
    """Look into all four stores once everybody has ended; `of_alice` and `of_bob` are the nodes' blocks."""
    alice, bob = (
        block_keys(home.node(name), _with_key(blocks)) for name, blocks in ((ALICE, of_alice), (BOB, of_bob))
    )
    hers = [
        block_keys(home.node(EVE) / folder, list(keys), states=(State.PENDING, State.AVAILABLE))
        for folder, keys in ((FACING_ALICE, alice), (FACING_BOB, bob))
    ]
    return Impersonation(
        len(alice),
        _in_common(alice, hers[0]),
        len(bob),
        _in_common(bob, hers[1]),
        _in_common(alice, bob),
    )


def _with_key(blocks: Sequence[BlockEnded]) -> list[BlockId]:
    return [_block_id(block.block_id) for block in blocks if block.secret_bits]


def _in_common(some: dict[BlockId, bytes], others: dict[BlockId, bytes]) -> int:
    return sum(1 for block, key in some.items() if others.get(block) == key)


def _block_id(text: str) -> BlockId:
    link, session, number = text.split("/")
    return BlockId(link, session, int(number))
