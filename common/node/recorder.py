"""The record of a block as this node tells it: what the account holds, and what the block's authenticity rests on."""

from functools import cache
from importlib.metadata import version

from qkdlink.common.journal.block_record import BlockRecord, RecordedTrust
from qkdlink.common.keys.allotment import UNIT_BITS
from qkdlink.common.node.vault import Vault
from qkdlink.common.protocol.aborts import Aborted
from qkdlink.common.protocol.block import Block
from qkdlink.common.protocol.recording import (
    recorded_bound,
    recorded_charges,
    recorded_counts,
    recorded_monitors,
    recorded_outcome,
    recorded_parameters,
    removals,
)
from qkdlink.common.protocol.roles import Role


@cache
def software() -> str:
    """Return the version of this program."""
    return version("qkdlink")


def block_record(
    block: Block, outcome: Aborted | int, began: float, ended: float, trust: RecordedTrust
) -> BlockRecord:
    """Write the record of a block that ended in `outcome`: secret bits, or the abort; times are seconds since 1970."""
    account, parameters = block.account, block.parameters
    return BlockRecord(
        software=software(),
        block_id=str(block.id),
        number=block.id.number,
        role=block.conversation.role.word,
        began=began,
        ended=ended,
        parameters=recorded_parameters(parameters),
        counts=recorded_counts(account),
        removed=removals(account, outcome),
        exchanges=account.exchanges,
        charged=recorded_charges(account),
        bound=recorded_bound(account.reckoning),
        monitors=recorded_monitors(parameters, account.looks, outcome),
        trust=trust,
        outcome=recorded_outcome(account, outcome),
    )


def recorded_trust(block: Block, vault: Vault, epoch: int, scheme: str) -> RecordedTrust:
    """Return what the authenticity of a block rests on, and what it has spent on its tags."""
    conversation = block.conversation
    units = {role: conversation.units_of(role) for role in Role}
    return RecordedTrust(
        anchor=vault.store.anchor,
        unauthenticated=vault.store.unauthenticated or bool(block.parameters.monitors_off),
        scheme=scheme,
        epoch=epoch,
        checkpoints=conversation.checkpoints,
        units_of_alice=units[Role.ALICE],
        units_of_bob=units[Role.BOB],
        tag_bits=UNIT_BITS * sum(units.values()),
        classical_bytes=conversation.bytes_said,
    )
