"""Epochs in the documents: what changes the key of a line and when, how nodes meet, how a block's key is cut."""

from collections.abc import Iterator

from maintenance.documents.pictures import arrow, fenced
from maintenance.documents.words import table
from qkdlink.alice.line import _FIRST_DELAY_S, _LONGEST_DELAY_S
from qkdlink.alice.settings import AliceSettings
from qkdlink.alice.station import _FIRST_PAUSE_S, _LONGEST_PAUSE_S
from qkdlink.common.keys.allotment import RESERVE_TARGET_BITS, Purpose, cut
from qkdlink.common.node.dialling import MOST_KEYS_TRIED
from qkdlink.common.node.settings import ClassicalSettings
from qkdlink.common.protocol.phases import LINK_TABLE, LinkPhase, Move, Phase
from qkdlink.common.protocol.rekeying import (
    LONGEST_OVERLAP_S,
    MOST_BOOTSTRAP_KEYS,
    MOST_LIVE_EPOCHS,
    RekeyingPolicy,
)
from qkdlink.common.protocol.resumption import MOST_PENDING
from qkdlink.common.wire.messages import Goodbye

_POLICY = RekeyingPolicy(
    blocks=AliceSettings.model_fields["rekey_blocks"].default,
    seconds=AliceSettings.model_fields["rekey_seconds"].default,
)
_PATIENCE_S: float = ClassicalSettings.model_fields["patience_s"].default
_CUT_EXAMPLES = (
    (1_280, True, 0),
    (20_000, True, RESERVE_TARGET_BITS),
    (20_000, True, 0),
    (400_000, True, RESERVE_TARGET_BITS),
    (20_000, False, 0),
)
"""Bits of the key, whether tags cost generated key, bits asked for the reserve."""
_ALLOCATED_BY = {
    Purpose.LINK_PSK: "Alice",
    Purpose.TAGS_ALICE_TO_BOB: "Alice",
    Purpose.TAGS_BOB_TO_ALICE: "Bob",
    Purpose.RESERVE_AT_ALICE: "Alice",
    Purpose.RESERVE_AT_BOB: "Bob",
    Purpose.APPLICATIONS_AT_ALICE: "Alice",
    Purpose.APPLICATIONS_AT_BOB: "Bob",
}


def meeting_picture() -> str:
    """Draw how two nodes meet on a new connection: every row of the link's table on the way to blocks."""
    lines = ["phase             Alice                                      Bob", ""]
    phase: Phase = LinkPhase.CONNECTED
    while phase is not LinkPhase.ESTABLISHED:
        move, following = _on_the_way(phase)
        lines.append(f"{phase:<17} {arrow(move)}")
        phase = following
    return fenced([*lines, str(phase)])


def _on_the_way(phase: Phase) -> tuple[Move, Phase]:
    return next(
        (move, following)
        for (at, move), following in LINK_TABLE.items()
        if at == phase and move.message is not Goodbye
    )


def epoch_picture() -> str:
    """Draw the epochs of a link, with what moves it from one to the next."""
    return fenced(
        [
            "bootstrap      epoch 0: certificates, the latch is open",
            "    |",
            f"    |  due:       {_first_epoch_due()}",
            f"    |  at most:   {MOST_BOOTSTRAP_KEYS} keys by certificate; then the first epoch, or Alice's node ends",
            "    |  meeting on a line under the newest link PSK",
            "    v",
            "epoch m        the PSK of block m is in use; the latch is closed; every older PSK is destroyed",
            "    |",
            f"    |  due:       after {_POLICY.blocks} blocks or {_POLICY.seconds:g} s, whichever comes first",
            "    |  if:        a newer block has left a link PSK, else `rekeying-postponed`",
            f"    |  and:       with the new one, no more than {MOST_LIVE_EPOCHS} epochs have blocks under way",
            f"    |  refused:   again after {_FIRST_DELAY_S:g} s, doubling to {_LONGEST_DELAY_S:g} s; blocks go on",
            "    |  meeting on a line under the newest link PSK",
            "    v",
            "epoch n        the PSK of block n is in use, that of epoch m destroyed",
            f"               line of epoch m: no new blocks, closed after its last, at most {LONGEST_OVERLAP_S:g} s",
        ]
    )


def _first_epoch_due() -> str:
    at_once = _POLICY.is_due(epoch=0, blocks=0, seconds=0.0)
    return (
        "at once, with the first key whose block has ended at Alice"
        if at_once
        else f"after {_POLICY.blocks} blocks"
    )


def epoch_limits() -> str:
    """Timers and numbers of the epochs, with where they are set."""
    rows = (
        ("blocks in an epoch until the next is due", f"{_POLICY.blocks}", "`rekey_blocks`"),
        ("time in an epoch until the next is due", f"{_POLICY.seconds:g} s", "`rekey_seconds`"),
        ("keys that a certificate may authenticate", f"{MOST_BOOTSTRAP_KEYS}", "fixed"),
        ("live epochs", f"{MOST_LIVE_EPOCHS}", "fixed"),
        ("an older line, from the meeting on the newer", f"{LONGEST_OVERLAP_S:g} s", "fixed"),
        (
            "pause before the next epoch is tried again",
            f"{_FIRST_DELAY_S:g} s, doubling to {_LONGEST_DELAY_S:g} s",
            "fixed",
        ),
        (
            "pause before a lost line is dialled again",
            f"{_FIRST_PAUSE_S:g} s, doubling to {_LONGEST_PAUSE_S:g} s",
            "fixed",
        ),
        ("link PSKs that Alice offers, newest first, one a connection", f"{MOST_KEYS_TRIED}", "fixed"),
        (
            "first contact of a process, and the first epoch once the bootstrap is used up",
            f"{_PATIENCE_S:g} s",
            "`classical.patience_s`",
        ),
        ("pending blocks named at a meeting, oldest first", f"{MOST_PENDING}", "fixed"),
    )
    return table(("what", "limit", "where it is set"), rows)


def cut_rule() -> str:
    """Who allocates each part of a block's key, and its bits for some lengths, cut by the code."""
    headings = (
        f"{bits} bits, {'tags' if tags else 'no tags'}, {reserve} asked"
        for bits, tags, reserve in _CUT_EXAMPLES
    )
    return table(("part", "allocated by", *headings), _cut_rows())


def _cut_rows() -> Iterator[tuple[str, ...]]:
    examples = [
        {part.purpose: 8 * part.length for part in cut(bits, tags=tags, reserve_bits=reserve)}
        for bits, tags, reserve in _CUT_EXAMPLES
    ]
    for purpose in Purpose:
        yield f"`{purpose}`", _ALLOCATED_BY[purpose], *(str(parts.get(purpose, 0)) for parts in examples)
