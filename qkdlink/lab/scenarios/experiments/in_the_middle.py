"""The full man in the middle, with what she has stolen: whether she comes to own the keys of both sides."""

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Annotated

from pydantic import Field

from qkdlink.common.authentication.scheme import SchemeName
from qkdlink.common.errors import LinkError
from qkdlink.common.journal.events import BootstrapClosed
from qkdlink.deployment.homes.home import open_home
from qkdlink.deployment.homes.names import ALICE
from qkdlink.lab.faults.agreement import journal_of
from qkdlink.lab.middle.man_in_the_middle import make_latched, run_cell
from qkdlink.lab.middle.matrix import Cell, Stolen
from qkdlink.lab.scenarios.experiments.experiment import Experiment
from qkdlink.lab.scenarios.verdicts import Evidence, Verdict


class InTheMiddle(Experiment):
    """Two live half-links, each a program of hers, between two nodes."""

    stolen: Stolen
    """What she has, and since when: before the latch or after it."""
    scheme: SchemeName = SchemeName.WEGMAN_CARTER
    seconds_after_the_latch: Annotated[float, Field(ge=0, le=60)] = 0.0
    """How long she waits once the latch has closed, where she comes after it."""

    def observe(self) -> Evidence:
        """Play the cell."""
        with tempfile.TemporaryDirectory(prefix="qkdlink-") as folder:
            return asyncio.run(self._played(Path(folder)))

    def judge(self, evidence: Evidence) -> str:
        """She owns the keys if she knows all that either side has made since she came, and has read the traffic."""
        made = [(evidence[f"known_of_{name}"], evidence[f"keys_of_{name}"]) for name in ("alice", "bob")]
        if evidence["traffic_read"] and all(known == keys > 0 for known, keys in made):
            return Verdict.EVE_HAS_THE_KEY
        nothing = not evidence["traffic_read"] and not any(known for known, _ in made)
        return Verdict.EVE_IS_STOPPED if nothing else Verdict.EVE_KNOWS_OF_THE_KEY

    async def _played(self, folder: Path) -> Evidence:
        cell = Cell(self.stolen, self.scheme)
        if cell.is_from_the_start:
            return (await run_cell(cell, folder / "link")).as_json()
        await make_latched(folder / "latched", self.scheme)
        closed = [
            at
            for at, event in journal_of(open_home(folder / "latched"), ALICE)
            if isinstance(event, BootstrapClosed)
        ]
        if not closed:
            raise LinkError("The link was to close its latch before Eve came, and it has not.")
        await asyncio.sleep(max(0.0, closed[-1] + self.seconds_after_the_latch - time.time()))
        came_after = time.time() - closed[-1]
        found = await run_cell(cell, folder / "link", folder / "latched")
        return {"she_came_seconds_after_the_latch": round(came_after, 2), **found.as_json()}
