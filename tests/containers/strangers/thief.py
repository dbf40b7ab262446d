"""Steals from both nodes' volumes and furnishes Eve's two programs with what it takes. Runs in a container."""

import json
import shutil
import sys
import tomllib
from pathlib import Path
from typing import Any

from common.wire.topics import EVE
from lab.home import ALICE, BOB, LinkHome, replace_file, toml
from lab.leaks import HOMES, Loot, furnish

HOME = LinkHome(Path("/link"))
HER_BOB = {"address": "127.0.0.1:7100", "bootstrap_address": "127.0.0.1:7101"}
"""Where nobody but she herself finds it."""
WORKS_AS = {ALICE: {"light_as": EVE}, BOB: {"receipts_as": EVE}}
HER_PATIENCE_S = 3.0
"""How long her own Alice waits where nobody can answer, before she says why it cannot come to anything."""


def settings(name: str) -> dict[str, Any]:
    """Return somebody's configuration."""
    return tomllib.loads(HOME.configuration(name).read_text())


def configuration(part: str, loot: Loot, account: dict[str, str]) -> str:
    """Return what her program that plays `part` is told: the victim's name and link, Eve's account and apparatus."""
    told = settings(part) | {
        "broker": {name: value if name == "address" else f"../{value}" for name, value in account.items()},
        "apparatus": WORKS_AS[part],
        "credentials": {"light_seal": "../light-seal.key"},
    }
    if part == BOB:
        told["classical"] = HER_BOB
    elif not loot.is_of_stores:
        told["classical"] |= {"patience_s": HER_PATIENCE_S}
    return toml(told)


def steal(*what: str) -> dict[str, object]:
    """Take these of `Loot`; what an earlier theft has furnished is thrown away."""
    loot = Loot(**dict.fromkeys(what, True))
    for folder in HOMES.values():
        shutil.rmtree(HOME.node(EVE) / folder, ignore_errors=True)
    hers = settings(EVE)
    configurations = {part: configuration(part, loot, hers["broker"]) for part in HOMES}
    hers["impersonate"] = furnish(HOME, loot, configurations)
    replace_file(HOME.configuration(EVE), toml(hers))
    return {"impersonate": hers["impersonate"]}


sys.stdout.write(json.dumps(steal(*sys.argv[1:])))
