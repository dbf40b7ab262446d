"""How much key a node has and for what, told so that no view has to open its store."""

from typing import Annotated, Literal

from pydantic import Field

from qkdlink.common.journal.event import Event, Part

type Natural = Annotated[int, Field(ge=0)]


class KeyLevel(Part):
    """The key of one purpose, which one of the two sides allocates from; in bits."""

    purpose: Annotated[str, Field(max_length=128)]
    """As in the rule by which a key is cut: `link-psk`, `tags-alice-to-bob`, `reserve-at-bob` and so on."""
    available_bits: Natural
    """Stored, confirmed and not used."""
    pending_bits: Natural
    """Stored, and not confirmed by the peer yet."""
    spent_bits: Natural
    """Used for its purpose, by the ledger."""
    burnt_bits: Natural
    """Destroyed unused, by the ledger."""


class KeyLevels(Event):
    """What the key store holds per purpose, told at start and end, and after each block or epoch that changed it."""

    type: Literal["key-levels"] = "key-levels"
    version: Literal[1] = 1
    levels: Annotated[tuple[KeyLevel, ...], Field(max_length=16, strict=False)]
    """One for each purpose, in the order in which a key is cut."""
    produced_bits: Natural
    """Of all confirmed blocks."""
    leaked_bits: Natural
    """What their reconciliation has disclosed."""
    confirmed_blocks: Natural
    pending_blocks: Natural
    highest_block: Natural
    """The highest block number that this node has heard of; 0 before the first."""
    epoch: Natural
    """The block whose link PSK authenticates the line; 0 at the bootstrap."""
    epoch_since: Annotated[float, Field(ge=0)] | None
    """When that block's key became available here, seconds since 1970, from which the key's age counts; else null."""
    latched: bool
    """Whether the bootstrap is closed."""
    anchor: Annotated[str, Field(max_length=128)]
    """The trust anchor that the bootstrap goes back to; empty before the first line."""
    unauthenticated: bool
    """Whether the keys go back to a bootstrap without authentication: no application gets any."""
    upkeep_bits: Natural
    """What a block costs: the shortest key that pays for itself."""
    blocks_payable: Natural | None
    """For how many blocks both sides can pay, as far as this one knows; null where tags cost no generated key."""
    reserve_lacks_bits: Natural | None
    """What would fill the reserve of both sides; null likewise."""
