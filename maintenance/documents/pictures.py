"""Pictures of the protocol in plain text, drawn from the table of phases."""

from collections.abc import Iterator

from maintenance.documents.words import type_name
from qkdlink.common.protocol.phases import BLOCK_TABLE, BlockPhase, Move, Phase
from qkdlink.common.protocol.roles import Role
from qkdlink.common.wire.messages import Abort

_ABORTING = frozenset({BlockPhase.ALICE_ABORTS, BlockPhase.BOB_ABORTS})
_ARROW_WIDTH = 46


def block_picture() -> str:
    """Draw the course of a block: a line per message, loops before the way out, `*` where it may be aborted."""
    lines = ["phase                     Alice" + "Bob".rjust(_ARROW_WIDTH - 5), ""]
    reached: list[Phase] = []
    for phase, move, following in _course(BlockPhase.NEW):
        mark = "*" if (phase, Move(move.speaker, Abort)) in BLOCK_TABLE else " "
        loop = f"   ... {following} again" if following in reached else ""
        lines.append(f"{phase:<22} {mark}  {arrow(move)}{loop}")
        reached += [phase, following]
    return fenced([*lines, reached[-1]])


def abort_picture() -> str:
    """Draw how an abort is settled, whoever begins."""
    lines = []
    for speaker, first in ((Role.ALICE, BlockPhase.ALICE_ABORTS), (Role.BOB, BlockPhase.BOB_ABORTS)):
        lines.append(f"{'a phase marked *':<22}    {arrow(Move(speaker, Abort))}")
        course = list(_course(first))
        lines += [f"{phase:<22}    {arrow(move)}" for phase, move, _ in course]
        lines += [course[-1][2], ""]
    return fenced(lines[:-1])


def _course(first: Phase) -> Iterator[tuple[Phase, Move, Phase]]:
    """Follow the table of a block from `first` to its end, each row once; in it a loop stands before the way out."""
    phase, seen = first, set[tuple[Phase, Move]]()
    while rows := [
        (row, following)
        for row, following in BLOCK_TABLE.items()
        if row[0] == phase and row not in seen and following not in _ABORTING
    ]:
        row, following = rows[0]
        seen.add(row)
        yield row[0], row[1], following
        phase = following


def arrow(move: Move) -> str:
    """Draw one message, from left to right if Alice says it."""
    name = type_name(move.message)
    if move.speaker is Role.ALICE:
        return f"{name} {'-' * (_ARROW_WIDTH - len(name) - 2)}>"
    return f"<{'-' * (_ARROW_WIDTH - len(name) - 2)} {name}"


def fenced(lines: list[str]) -> str:
    """Return lines of plain text as a document shows them."""
    return "\n".join(["```text", *lines, "```"])
