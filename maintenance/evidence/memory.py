"""Whether memory is flat over a run: the resident memory of both nodes after each of many blocks.

What a node keeps of every block would show as a slope. It is taken between the medians of the second and the last
quarter of the blocks, because a process grows at first (compiled kernels, the arenas of as many threads as are ever
busy), and up and down with what is under way at that moment. Blocks are small, so that there are many; a node that
kept one block's conversation would grow by some hundred kibibytes per block.
"""

import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from qkdlink.benchmarks.process_costs import cost_of
from qkdlink.common.journal.events import BlockEnded, Entry
from qkdlink.common.optics.presets import DEFAULT_PRESET, preset
from qkdlink.common.protocol.parameters import LinkParameters, ProtocolName
from qkdlink.common.protocol.variants.one_decoy import ONE_DECOY
from qkdlink.common.protocol.variants.single_photon import SINGLE_PHOTON
from qkdlink.deployment.homes.home import open_home
from qkdlink.deployment.homes.names import ALICE, BOB
from qkdlink.deployment.launching.link_run import LinkRun, Observer
from qkdlink.deployment.launching.running_link import RunningLink, run_link
from qkdlink.deployment.planning.planner import plan, task_for

MOST_KIB_PER_BLOCK = 32.0


@dataclass(frozen=True, slots=True)
class Run:
    """Blocks of one kind, one after the other."""

    protocol: ProtocolName
    pulses: int
    blocks: int

    def parameters(self) -> LinkParameters:
        """Plan the link."""
        return plan(task_for(preset(DEFAULT_PRESET), self.pulses, self.protocol)).link_parameters()


RUNS = (Run(SINGLE_PHOTON.name, 200_000, 400), Run(ONE_DECOY.name, 3_000_000, 120))


def run_part(seed: int, part: int) -> dict[str, Any]:
    """Run a link to its end: a few minutes."""
    del seed
    return asyncio.run(_run(RUNS[part]))


def conclude(findings: list[dict[str, Any]]) -> dict[str, Any]:
    """Pass if neither node has grown with the blocks."""
    runs = [
        {
            "protocol": finding["protocol"],
            "block_pulses": finding["block_pulses"],
            "blocks": len(finding[ALICE]),
            **{
                name: {
                    "mib_in_second_quarter": round(median(_quarter(finding[name], 1)), 1),
                    "mib_in_last_quarter": round(median(_quarter(finding[name], 3)), 1),
                    "kib_per_block": round(kib_per_block(finding[name]), 1),
                }
                for name in (ALICE, BOB)
            },
        }
        for finding in findings
    ]
    return {
        "passed": all(
            run[name]["kib_per_block"] <= MOST_KIB_PER_BLOCK for run in runs for name in (ALICE, BOB)
        ),
        "most_kib_per_block": MOST_KIB_PER_BLOCK,
        "runs": runs,
    }


def kib_per_block(resident_mib: Sequence[float]) -> float:
    """Return the slope of some readings, one per block in order, at least four; KiB per block, below 0 if it shrank."""
    grown_mib = median(_quarter(resident_mib, 3)) - median(_quarter(resident_mib, 1))
    return 1024 * grown_mib / (len(resident_mib) / 2)


def _quarter(readings: Sequence[float], number: int) -> Sequence[float]:
    return readings[number * len(readings) // 4 : (number + 1) * len(readings) // 4]


async def _run(run: Run) -> dict[str, Any]:
    resident_mib: dict[str, list[float]] = {ALICE: [], BOB: []}
    running: list[RunningLink] = []

    def watch(entry: Entry) -> None:
        if entry.node == ALICE and isinstance(entry.event, BlockEnded) and running:
            for name, node in ((ALICE, running[0].alice), (BOB, running[0].bob)):
                if (cost := cost_of(node.process.pid)) is not None:
                    resident_mib[name].append(round(cost.resident_mib, 2))

    with tempfile.TemporaryDirectory(prefix="qkdlink-memory-") as folder:
        async with run_link(
            open_home(Path(folder)), LinkRun(run.parameters(), blocks=run.blocks), Observer(watch=watch)
        ) as link:
            running.append(link)
            await link.until_done()
    return {"protocol": run.protocol, "block_pulses": run.pulses, **resident_mib}
