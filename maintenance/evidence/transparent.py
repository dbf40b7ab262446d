"""What a transparent Eve changes, and what she costs: the same seeded link with and without her, in turns.

Nature and all choices of a seeded link are functions of its seed, so that nothing has to be left to statistics: every
count, every rate and every key must be the same. What she costs is time, which is measured beside.
"""

import asyncio
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from qkdlink.common.journal.events import BlockEnded, BlockOpened, Entry
from qkdlink.common.optics.presets import DEFAULT_PRESET, preset
from qkdlink.common.protocol.parameters import LinkParameters
from qkdlink.common.protocol.variants.one_decoy import ONE_DECOY
from qkdlink.deployment.homes.home import open_home
from qkdlink.deployment.homes.names import ALICE
from qkdlink.deployment.launching.link_result import run_to_the_end
from qkdlink.deployment.launching.link_run import LinkRun, Observer
from qkdlink.deployment.planning.planner import plan, task_for

PARTS = 5
_BLOCKS = 3
_PULSES = 20_000_000
_TRANSPARENT: Mapping[str, Any] = {"key_logs": []}
"""In light and words, with no attack, and without a laboratory's loan to follow what is said."""
_NOT_OF_THE_SEED = {
    "block_id",
    "seconds",
    "classical_bytes",
    "authentication_bytes",
    "authentication_seconds",
}
"""Times, and what rests on sessions, certificates and signatures: these are of the operating system in every run."""


def run_part(seed: int, part: int) -> dict[str, Any]:
    """Run a pair; every other time she comes first."""
    task = task_for(preset(DEFAULT_PRESET), _PULSES, ONE_DECOY.name)
    return compare(
        plan(task).link_parameters(reproducible=True), _BLOCKS, seed + part, eve_first=part % 2 == 1
    )


def compare(parameters: LinkParameters, blocks: int, seed: int, *, eve_first: bool = False) -> dict[str, Any]:
    """Run the same link without Eve and with a transparent one; `differing` names what is not the same."""
    runs: dict[bool, _Run] = {}
    for with_eve in (eve_first, not eve_first):
        runs[with_eve] = asyncio.run(_run(parameters, blocks, seed, _TRANSPARENT if with_eve else None))
    alone, with_her = runs[False], runs[True]
    differing = {
        name
        for one, other in zip(alone.blocks, with_her.blocks, strict=True)
        for name in one
        if one[name] != other[name]
    }
    if (
        None in (*alone.fingerprints, *with_her.fingerprints)
        or len({*alone.fingerprints, *with_her.fingerprints}) > 1
    ):
        differing.add("keys")
    return {
        "differing": sorted(differing),
        "sifted_bits": [block["sifted_bits"] for block in alone.blocks],
        "secret_bits": [block["secret_bits"] for block in alone.blocks],
        "pulses_per_second_alone": alone.pulses_per_second,
        "pulses_per_second_with_her": with_her.pulses_per_second,
    }


def conclude(findings: list[dict[str, Any]]) -> dict[str, Any]:
    """Pass if nothing ever differs and keys were made; say what she costs."""
    alone, with_her = (
        median(each[f"pulses_per_second_{name}"] for each in findings) for name in ("alone", "with_her")
    )
    return {
        "passed": all(not each["differing"] and all(each["secret_bits"]) for each in findings),
        "pairs": len(findings),
        "blocks": sum(len(each["secret_bits"]) for each in findings),
        "block_pulses": _PULSES,
        "pulses_per_second_alone": alone,
        "pulses_per_second_with_her": with_her,
        "ratio": with_her / alone,
        "runs": findings,
    }


class _Run:
    """What Alice told of a run, and what both ends fingerprinted."""

    def __init__(self) -> None:
        self.blocks: list[dict[str, Any]] = []
        self.fingerprints: tuple[str | None, str | None] = (None, None)
        self.pulses_per_second = 0.0
        self._began: list[float] = []
        self._ended: list[float] = []

    def hear(self, entry: Entry) -> None:
        """Keep when her blocks began and ended."""
        if entry.node == ALICE and isinstance(entry.event, BlockOpened):
            self._began.append(entry.time)
        elif entry.node == ALICE and isinstance(entry.event, BlockEnded):
            self._ended.append(entry.time)
            told = entry.event.model_dump(exclude=_NOT_OF_THE_SEED)
            self.blocks = sorted([*self.blocks, told], key=lambda block: int(block["number"]))
            pulses = sum(block["pulses"] for block in self.blocks)
            self.pulses_per_second = pulses / (max(self._ended) - min(self._began))


async def _run(parameters: LinkParameters, blocks: int, seed: int, eve: Mapping[str, Any] | None) -> _Run:
    run = _Run()
    with tempfile.TemporaryDirectory() as folder:
        result = await run_to_the_end(
            open_home(Path(folder)),
            LinkRun(parameters, blocks=blocks, seed=seed, eve=eve),
            Observer(watch=run.hear),
        )
    run.fingerprints = (result.link.alice.fingerprint, result.link.bob.fingerprint)
    return run
