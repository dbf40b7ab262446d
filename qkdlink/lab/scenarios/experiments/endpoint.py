"""A node's whole disk is copied between two epochs: exactly which keys are in the copy, and which are not.

What was used is overwritten when it is used, so it is in no copy. What waits is, and that is the link PSK and the tag
keys of the next epoch among the rest. What is made later is not in the copy; but whoever has all that authenticates can
be the man in the middle from then on, which is another scenario.
"""

import asyncio
import shutil
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Annotated

from pydantic import Field

from qkdlink.common.authentication.scheme import SchemeName
from qkdlink.common.keys.allotment import APPLICATIONS, Purpose
from qkdlink.common.keys.identifiers import BlockId
from qkdlink.common.store.key_store import KeyStore
from qkdlink.deployment.homes.home import LinkHome, open_home
from qkdlink.deployment.homes.names import ALICE, BOB
from qkdlink.deployment.homes.security import Security
from qkdlink.deployment.launching.link_result import run_to_the_end
from qkdlink.deployment.launching.link_run import LinkRun
from qkdlink.lab.faults.kill_trials import tiny_parameters, tiny_settings
from qkdlink.lab.scenarios.experiments.experiment import Experiment
from qkdlink.lab.scenarios.verdicts import Evidence, Verdict


class Endpoint(Experiment):
    """A link makes blocks, each an epoch; its applications use some; Alice's home is copied; it makes more."""

    blocks_before: Annotated[int, Field(ge=2, le=50)] = 3
    blocks_after: Annotated[int, Field(ge=1, le=50)] = 2
    used_blocks: Annotated[int, Field(ge=1, le=50)] = 2
    """Of how many blocks, from the first one on, applications had their keys delivered before."""

    def observe(self) -> Evidence:
        """Run, use, copy, run, and open the copy."""
        with tempfile.TemporaryDirectory(prefix="qkdlink-") as folder:
            return asyncio.run(self._observed(Path(folder)))

    def judge(self, evidence: Evidence) -> str:
        """Look for what was used and what came later among what fell."""
        fallen = set(evidence["fallen"])
        if not (evidence["used_before"] and evidence["unused"] and evidence["made_later"]):
            return Verdict.UNCLEAR
        if fallen & {*evidence["used_before"], *evidence["made_later"]}:
            return Verdict.EVE_HAS_THE_KEY
        return Verdict.ERASED_KEYS_STAY_SHUT if fallen == set(evidence["unused"]) else Verdict.UNCLEAR

    async def _observed(self, folder: Path) -> Evidence:
        home = open_home(folder / "link")
        before = await _run(home, self.blocks_before)
        used = _use(home, before[: self.used_blocks])
        spent = [f"{block}/{Purpose.LINK_PSK}" for block in before if not _has(home, block, Purpose.LINK_PSK)]
        unused = _parts(home.node(ALICE), before)
        shutil.copytree(home.node(ALICE), folder / "copy")
        after = await _run(home, self.blocks_after)
        fallen = _parts(folder / "copy", [*before, *after])
        with closing(KeyStore.of(folder / "copy")) as copy:
            epoch = copy.epoch()
        return {
            "epoch": epoch.number,
            "used_before": [*used, *spent],
            "unused": unused,
            "made_later": _parts(home.node(ALICE), after),
            "fallen": fallen,
            "link_psk_of_this_epoch_fell": f"{home.link}/{epoch.key_id}/{Purpose.LINK_PSK}" in fallen,
        }


async def _run(home: LinkHome, blocks: int) -> list[BlockId]:
    """Run a link, and return its blocks with a key in their order."""
    result = await run_to_the_end(
        home,
        LinkRun(
            tiny_parameters(),
            blocks=blocks,
            alice=tiny_settings(blocks_in_flight=1),
            security=Security(scheme=SchemeName.HMAC_SHA256),
        ),
    )
    ended = sorted(
        (block.number, block.block_id) for block in result.link.alice.told.ended if block.secret_bits
    )
    return [_block_id(text) for _, text in ended]


def _use(home: LinkHome, blocks: list[BlockId]) -> list[str]:
    """Deliver every application part of these blocks at both ends; return their names."""
    used = []
    for node in (ALICE, BOB):
        with closing(KeyStore.of(home.node(node))) as store:
            used += [
                f"{block}/{purpose}"
                for block in blocks
                for purpose in APPLICATIONS
                if store.deliver(block, purpose) is not None
            ]
    return sorted(set(used))


def _parts(folder: Path, blocks: list[BlockId]) -> list[str]:
    """Name every part of these blocks whose material can be taken out of a store."""
    with closing(KeyStore.of(folder)) as store:
        return [
            f"{block}/{purpose}"
            for block in blocks
            for purpose in Purpose
            if store.material(block, purpose) is not None
        ]


def _has(home: LinkHome, block: BlockId, purpose: Purpose) -> bool:
    return f"{block}/{purpose}" in _parts(home.node(ALICE), [block])


def _block_id(text: str) -> BlockId:
    link, session, number = text.split("/")
    return BlockId(link, session, int(number))
