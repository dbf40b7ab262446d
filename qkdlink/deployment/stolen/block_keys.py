"""Key material of blocks, read from key stores: what two stores have in common can be compared bit for bit."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from qkdlink.common.keys.allotment import Purpose
from qkdlink.common.keys.derivation import KEY_BYTES
from qkdlink.common.keys.identifiers import BlockId
from qkdlink.common.store.key_store import KeyStore
from qkdlink.common.store.opening import STORE_FILE
from qkdlink.common.store.schema import State

TRAFFIC_PARTS = (Purpose.APPLICATIONS_AT_ALICE, Purpose.RESERVE_AT_ALICE)
"""What user traffic is sealed under. Blocks that pay for tags fill the reserve first, so there it has to do, but only
that of blocks since she came: what she makes with a victim she knows whole, what she has stolen she knows in parts."""


def block_keys(
    folder: Path,
    blocks: list[BlockId],
    parts: Sequence[Purpose] = TRAFFIC_PARTS,
    states: Sequence[State] = (State.AVAILABLE,),
) -> dict[BlockId, bytes]:
    """Return the keys that a store has of these blocks, if they are in one of these states; none without a store."""
    if not (folder / STORE_FILE).exists():
        return {}
    with closing(KeyStore.of(folder)) as store:
        found = {block: _traffic_key(store, block, parts) for block in blocks if store.state(block) in states}
    return {block: key for block, key in found.items() if key is not None}


def _traffic_key(store: KeyStore, block: BlockId, parts: Sequence[Purpose]) -> bytes | None:
    """Return 32 bytes of a block, from the first of these parts that has them."""
    for purpose in parts:
        material = store.material(block, purpose)
        if material is not None and len(material) >= KEY_BYTES:
            return material[:KEY_BYTES]
    return None
