"""Two hundred re-keyings while blocks flow, and what they cost.

Each part runs the real processes twice, in changing order: once with a new epoch for every block (or as soon as two
epochs no longer overlap, in parts with two blocks in flight), once with one epoch for all. Blocks are tiny, so that
re-keying weighs as heavily as it ever can.
"""

import asyncio
import time
from itertools import pairwise
from typing import Any

from qkdlink.common.journal.events import AnyEvent, BlockEnded, EpochBegan, LineLost, PeerRefused
from qkdlink.deployment.homes.home import LinkHome
from qkdlink.deployment.homes.names import ALICE, BOB
from qkdlink.lab.faults.agreement import NODES, Audit, journal_faults, journal_of
from qkdlink.lab.faults.kill_trials import tiny_link
from qkdlink.lab.faults.mortal import Mortal

PARTS = 12
_REKEYINGS = 200
_BLOCKS = 24
_EVERY_BLOCK, _NEVER = "rekeying_every_block", "never_rekeying"
_KINDS = ((_EVERY_BLOCK, 1), (_NEVER, 1_000_000))
_TIMEOUT_S = 120.0
_LOOK_EVERY_S = 0.01
_SETTLING_LOOKS = 500


def run_part(seed: int, part: int) -> dict[str, Any]:
    """Run both links, each first in every other part, with one block in flight or two."""
    del seed
    in_flight, runs = 1 + part // 2 % 2, {}
    for kind, rekey_blocks in _KINDS if part % 2 else _KINDS[::-1]:
        runs[kind] = asyncio.run(_run(rekey_blocks, in_flight))
    return {"in_flight": in_flight, **runs}


def conclude(findings: list[dict[str, Any]]) -> dict[str, Any]:
    """Add up re-keyings and faults, and compare blocks per second of both kinds."""
    rekeyings = sum(finding[_EVERY_BLOCK]["rekeyings"] for finding in findings)
    faults = [fault for finding in findings for kind, _ in _KINDS for fault in finding[kind]["faults"]]
    return {
        "passed": not faults and rekeyings * PARTS >= _REKEYINGS * len(findings),
        "rekeyings": rekeyings,
        "blocks": _BLOCKS * len(findings),
        "faults": faults,
        "throughput": {
            f"{in_flight} in flight": _throughput(
                [each for each in findings if each["in_flight"] == in_flight]
            )
            for in_flight in sorted({finding["in_flight"] for finding in findings})
        },
    }


def _throughput(findings: list[dict[str, Any]]) -> dict[str, Any]:
    seconds = {kind: sum(finding[kind]["seconds"] for finding in findings) for kind, _ in _KINDS}
    per_part = [finding[_NEVER]["seconds"] / finding[_EVERY_BLOCK]["seconds"] for finding in findings]
    return {
        **{f"blocks_per_s_{kind}": round(_BLOCKS * len(findings) / seconds[kind], 2) for kind in seconds},
        "ratio": round(seconds[_NEVER] / seconds[_EVERY_BLOCK], 3),
        "ratio_of_each_part": [round(ratio, 3) for ratio in per_part],
    }


async def _run(rekey_blocks: int, in_flight: int) -> dict[str, Any]:
    """Run a link to its end and look for every fault."""
    async with tiny_link(blocks=_BLOCKS, rekey_blocks=rekey_blocks, blocks_in_flight=in_flight) as home:
        bob, alice = Mortal(home, BOB), Mortal(home, ALICE)
        try:
            faults = await _to_the_end(home, alice)
        finally:
            alice.stop()
            bob.stop()
        told = {name: journal_of(home, name) for name in NODES}
        events = {name: [event for _, event in entries] for name, entries in told.items()}
        faults += [*Audit(home).settled_faults(), *journal_faults(home, float("inf"))]
        faults += [*_lost(events), *_mismatched(events)]
        ends = [at for at, event in told[ALICE] if isinstance(event, BlockEnded)]
        return {
            "rekeyings": sum(isinstance(event, EpochBegan) for event in events[ALICE]) - 1,
            "seconds": ends[-1] - ends[0],  # the first block pays for the start of the processes
            "faults": faults,
        }


async def _to_the_end(home: LinkHome, alice: Mortal) -> list[str]:
    deadline = time.monotonic() + _TIMEOUT_S
    while alice.is_alive:
        if time.monotonic() > deadline:
            return [f"Alice has not come to her end within {_TIMEOUT_S:g} s"]
        await asyncio.sleep(_LOOK_EVERY_S)
    for _ in range(_SETTLING_LOOKS):
        if Audit(home).is_settled:
            break
        await asyncio.sleep(_LOOK_EVERY_S)
    return [] if alice.status == 0 else [alice.words.strip()]


def _lost(told: dict[str, list[AnyEvent]]) -> list[str]:
    """Name every block without a key, and every line or peer that was given up."""
    return [
        f"{name}: {event}"
        for name, events in told.items()
        for event in events
        if isinstance(event, LineLost | PeerRefused)
        or (isinstance(event, BlockEnded) and not event.secret_bits)
    ]


def _mismatched(told: dict[str, list[AnyEvent]]) -> list[str]:
    """Compare both journals: the same blocks and epochs, each named after its key, which is newer than the last."""
    blocks = [
        {event.block_id: event.secret_bits for event in told[name] if isinstance(event, BlockEnded)}
        for name in NODES
    ]
    epochs = [
        [(event.epoch, event.key_id, event.session) for event in told[name] if isinstance(event, EpochBegan)]
        for name in NODES
    ]
    numbers = [(epoch, int((key or "/0").rpartition("/")[2])) for epoch, key, _ in epochs[0]]
    in_order = all(one < two for one, two in pairwise(numbers)) and all(
        epoch == key for epoch, key in numbers
    )
    return [
        *([] if blocks[0] == blocks[1] else ["the blocks differ"]),
        *([] if epochs[0] == epochs[1] else ["the epochs differ"]),
        *([] if in_order else [f"epochs and keys are not in order: {numbers}"]),
    ]
