"""Ordeals: hundreds of kills at random instants, with cut, stalled and slowed lines and full disks among them."""

import asyncio
from collections import Counter
from dataclasses import asdict
from typing import Any

from qkdlink.lab.faults.ordeal import run_ordeal

PARTS = 28
_STRIKES = 26
_LEAST_KILLS = 500


def run_part(seed: int, part: int) -> dict[str, Any]:
    """Run one ordeal."""
    return asdict(asyncio.run(run_ordeal(_STRIKES, seed + part)))


def conclude(findings: list[dict[str, Any]]) -> dict[str, Any]:
    """Count kills, strikes and keys, and name every fault."""
    strikes: Counter[str] = Counter()
    for finding in findings:
        strikes.update(finding["strikes"])
    kills = sum(finding["kills"] for finding in findings)
    faults = [fault for finding in findings for fault in finding["faults"]]
    return {
        "passed": not faults and (kills >= _LEAST_KILLS or len(findings) < PARTS),
        "ordeals": len(findings),
        "kills": kills,
        "strikes": dict(sorted(strikes.items())),
        "nodes_ended_by_a_full_disk": sum(finding["full_disks"] for finding in findings),
        "keys": sum(finding["keys"] for finding in findings),
        "faults": faults,
    }
