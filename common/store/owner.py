"""Whose store it is, and the places that its material is sealed for: what is moved to another opens no more."""

from dataclasses import dataclass

from qkdlink.common.keys.identifiers import BlockId


@dataclass(frozen=True, slots=True)
class StoreOwner:
    """Whose store it is; a store is never opened for another node or link."""

    link: str
    node: str
    reproducible: bool


def place_of(owner: StoreOwner, block: BlockId, what: str) -> str:
    """Name the place that a part of a block, or its `proof`, is sealed for; it opens nowhere else."""
    return f"{owner.node}/{block}/{what}"


def place_of_seal(owner: StoreOwner) -> str:
    """Name the place of the empty text by which a store recognises its key."""
    return f"{owner.node}/{owner.link}/seal"


def place_of_pad(owner: StoreOwner, what: str) -> str:
    """Name the place that a pad of a pre-shared key is sealed for."""
    return f"{owner.node}/{owner.link}/{what}"
