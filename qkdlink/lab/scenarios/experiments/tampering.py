"""Bits are flipped on the wire of a link that has keys: the line is lost, no key is wrong, and new ones are made."""

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from qkdlink.common.journal.events import LineLost
from qkdlink.deployment.homes.home import LinkHome, open_home
from qkdlink.deployment.launching.link_result import run_to_the_end
from qkdlink.deployment.launching.link_run import LinkRun
from qkdlink.lab.faults.agreement import NODES, Audit, journal_of
from qkdlink.lab.faults.kill_trials import tiny_parameters
from qkdlink.lab.scenarios.experiments.experiment import Experiment
from qkdlink.lab.scenarios.verdicts import Evidence, Verdict

_IMPATIENT = {"rekey_blocks": 1, "backoff_first_s": 0.01, "backoff_longest_s": 0.1}
_DOES_NOT_OPEN = "bad record mac"


class Tampering(Experiment):
    """The same link three times: without Eve, with her hand on its words, and without her again."""

    treatment: str = "tamper:every=6"
    """An attack on words, as her settings take it; a block takes more pieces than six, so none comes to its end."""
    blocks: Annotated[int, Field(ge=2, le=100)] = 3

    def observe(self) -> Evidence:
        """Run it."""
        with tempfile.TemporaryDirectory(prefix="qkdlink-") as folder:
            return asyncio.run(self._observed(open_home(Path(folder))))

    def judge(self, evidence: Evidence) -> str:
        """Keys before and after, a flipped bit named by a node in between, and nothing that differs at any time."""
        before, tampered, after = (evidence[name] for name in ("before", "tampered", "after"))
        named = any(_DOES_NOT_OPEN in sentence.lower() for sentence in tampered["said"])
        wrong = any(each["faults"] for each in (before, tampered, after))
        if wrong or not named or not before["keys_equal"]:
            return Verdict.UNCLEAR
        return Verdict.KEYS_AGREE if after["keys_equal"] else Verdict.NO_KEY

    async def _observed(self, home: LinkHome) -> Evidence:
        # she needs no secret of any session for this: no key logs are lent to her
        hand = {"treatments": [self.treatment], "key_logs": []}
        phases: dict[str, dict[str, Any] | None] = {"before": None, "tampered": hand, "after": None}
        return {name: await self._run(home, eve) for name, eve in phases.items()}

    async def _run(self, home: LinkHome, eve: dict[str, Any] | None) -> Evidence:
        since = time.time()
        result = await run_to_the_end(
            home, LinkRun(tiny_parameters(), blocks=self.blocks, alice=_IMPATIENT, eve=eve)
        )
        said = [
            event.reason
            for name in NODES
            for at, event in journal_of(home, name)
            if at >= since and isinstance(event, LineLost)
        ]
        return {
            "keys_equal": result.keys_equal,
            "secret_bits": result.secret_bits,
            "aborted": [block.aborted for block in result.link.alice.told.ended],
            "said": sorted(set(said)),
            "faults": list(Audit(home).settled_faults()),
        }
