"""Opens the key stores of both nodes and of Eve's two programs, and prints whose keys are whose. Runs in a container.

Nobody else may have them open. A key is 32 bytes of what a block has for applications, or has put into the reserve.
Told as JSON are the blocks from before Eve came, which are left out: she may have stolen what she has of them.
"""

import json
import sys
from contextlib import closing
from pathlib import Path

from qkdlink.common.journal.events import LineLost
from qkdlink.common.keys.allotment import Purpose
from qkdlink.common.keys.identifiers import BlockId
from qkdlink.common.store.key_store import KeyStore
from qkdlink.common.store.opening import STORE_FILE
from qkdlink.common.store.schema import State
from qkdlink.deployment.homes.home import LinkHome
from qkdlink.deployment.homes.names import ALICE, BOB
from qkdlink.deployment.stolen.leaks import FACING_ALICE, FACING_BOB
from qkdlink.eve.topics import EVE
from qkdlink.lab.faults.agreement import NODES, Audit, journal_of
from qkdlink.lab.traffic.key_exchanges import KEY_BYTES

HOME = LinkHome(Path("/link"))
HERS = {ALICE: f"{EVE}/{FACING_ALICE}", BOB: f"{EVE}/{FACING_BOB}"}
PARTS = (Purpose.APPLICATIONS_AT_ALICE, Purpose.RESERVE_AT_ALICE)
type Keys = dict[BlockId, bytes]


def keys(name: str, blocks: list[BlockId]) -> Keys:
    """Return what a store has of these blocks; nothing if there is no store."""
    if not (HOME.node(name) / STORE_FILE).exists():
        return {}
    with closing(KeyStore.of(HOME.node(name))) as store:
        found = {block: [store.material(block, part) or b"" for part in PARTS] for block in blocks}
    long_enough = {
        block: [part for part in parts if len(part) >= KEY_BYTES] for block, parts in found.items()
    }
    return {block: parts[0][:KEY_BYTES] for block, parts in long_enough.items() if parts}


def in_common(some: Keys, others: Keys) -> int:
    """Count the keys that two have bit for bit."""
    return sum(1 for block, key in some.items() if others.get(block) == key)


def reasons(name: str) -> list[str]:
    """Return why a program of hers lost its line."""
    return [event.reason for _, event in journal_of(HOME, name) if isinstance(event, LineLost)]


def audit(before: set[str]) -> dict[str, object]:
    """Compare all four."""
    states = Audit(HOME).states
    made = {
        name: [b for b, state in states[name].items() if state is State.AVAILABLE and str(b) not in before]
        for name in NODES
    }
    theirs = {name: keys(name, made[name]) for name in NODES}
    return {
        "keys": {name: len(theirs[name]) for name in NODES},
        "hers": {name: in_common(theirs[name], keys(HERS[name], made[name])) for name in NODES},
        "common": in_common(theirs[ALICE], theirs[BOB]),
        "reasons": {name: reasons(HERS[name]) for name in NODES},
    }


sys.stdout.write(json.dumps(audit(set(json.loads(sys.argv[1])))))
