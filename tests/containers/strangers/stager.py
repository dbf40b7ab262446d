"""Sets the stage for a trial in both nodes' volumes and in Eve's. Runs in a container, while no node does.

Told as JSON: `restore` a state of both homes that was kept under a name, `secure` the link otherwise (two sections of a
node's configuration), `loot` what Eve steals then, whose two programs are furnished with it, `keep` this state under
a name. What is not told is not done.
"""

import json
import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tomli_w

from qkdlink.common.trust.private_files import NewFile, write_over
from qkdlink.deployment.homes.home import LinkHome
from qkdlink.deployment.homes.names import ALICE, BOB
from qkdlink.deployment.stolen.leaks import HOMES, Loot, furnish
from qkdlink.eve.topics import EVE

HOME = LinkHome(Path("/link"))
NODES = (ALICE, BOB)
KEPT = ".kept-"
HER_BOB = {"address": "127.0.0.1:7100", "bootstrap_address": "127.0.0.1:7101"}
"""Where nobody but she herself finds it."""
HER_PATIENCE_S = 3.0
"""How long her own Alice waits where nobody can answer, before she says why it cannot come to anything."""


def entries(node: str) -> Iterator[Path]:
    """Yield what is in a node's home now, without what was kept."""
    yield from (entry for entry in HOME.node(node).iterdir() if not entry.name.startswith(KEPT))


def copy(sources: Iterator[Path], folder: Path) -> None:
    """Copy files and folders into a folder, which is made."""
    folder.mkdir(mode=0o700, exist_ok=True)
    for source in sources:
        if source.is_dir():
            shutil.copytree(source, folder / source.name)
        else:
            shutil.copy2(source, folder / source.name)


def keep(name: str) -> None:
    """Keep both homes as they are."""
    for node in NODES:
        copy(entries(node), HOME.node(node) / f"{KEPT}{name}")


def restore(name: str) -> None:
    """Bring both homes back to what was kept."""
    for node in NODES:
        for entry in entries(node):
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        copy((HOME.node(node) / f"{KEPT}{name}").iterdir(), HOME.node(node))


def settings(name: str) -> dict[str, Any]:
    """Return somebody's configuration."""
    return tomllib.loads(HOME.configuration(name).read_text())


def secure(sections: dict[str, Any]) -> None:
    """Let both nodes be secured by these sections."""
    for node in NODES:
        write_over(NewFile(HOME.configuration(node), tomli_w.dumps(settings(node) | sections).encode()))


def configuration(part: str, loot: Loot, account: dict[str, str]) -> str:
    """Return what her program that plays `part` is told: the victim's name and link, Eve's account and apparatus."""
    told = settings(part) | {
        "broker": {name: value if name == "address" else f"../{value}" for name, value in account.items()},
        "apparatus": {"site": EVE},
        "credentials": {"light_seal": "../light-seal.key"},
    }
    if part == BOB:
        told["classical"] = HER_BOB
    elif not loot.is_of_stores:
        told["classical"] |= {"patience_s": HER_PATIENCE_S}
    return tomli_w.dumps(told)


def steal(what: list[str]) -> None:
    """Take these of `Loot`; what an earlier theft has furnished is thrown away."""
    loot = Loot(**dict.fromkeys(what, True))
    for folder in HOMES.values():
        shutil.rmtree(HOME.node(EVE) / folder, ignore_errors=True)
    hers = settings(EVE)
    configurations = {part: configuration(part, loot, hers["broker"]) for part in HOMES}
    hers["impersonate"] = furnish(HOME, loot, configurations)
    write_over(NewFile(HOME.configuration(EVE), tomli_w.dumps(hers).encode()))


ACTS = {"restore": restore, "secure": secure, "loot": steal, "keep": keep}
"""In this order."""
told = json.loads(sys.argv[1])
for name, act in ACTS.items():
    if name in told:
        act(told[name])
sys.stdout.write(json.dumps({"done": [name for name in ACTS if name in told]}))
