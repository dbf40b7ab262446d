"""A link begins with a trust anchor and goes on by itself: equal keys, and generated key authenticates in the end."""

import asyncio
import tempfile
from pathlib import Path
from typing import Annotated

from pydantic import Field

from qkdlink.common.authentication.scheme import SchemeName
from qkdlink.common.trust.anchor import AnchorName
from qkdlink.deployment.homes.home import open_home
from qkdlink.deployment.homes.security import Security
from qkdlink.deployment.launching.link_result import run_to_the_end
from qkdlink.deployment.launching.link_run import LinkRun
from qkdlink.lab.faults.kill_trials import tiny_parameters
from qkdlink.lab.scenarios.experiments.experiment import Experiment
from qkdlink.lab.scenarios.verdicts import Evidence, Verdict

_REKEY_BLOCKS = 2


class Bootstrap(Experiment):
    """A whole link, as real processes."""

    anchor: AnchorName
    scheme: SchemeName = SchemeName.WEGMAN_CARTER
    blocks: Annotated[int, Field(ge=3, le=100)] = 4

    def observe(self) -> Evidence:
        """Run it."""
        with tempfile.TemporaryDirectory(prefix="qkdlink-") as folder:
            result = asyncio.run(
                run_to_the_end(
                    open_home(Path(folder)),
                    LinkRun(
                        tiny_parameters(),
                        blocks=self.blocks,
                        alice={"rekey_blocks": _REKEY_BLOCKS, "blocks_in_flight": 1},
                        security=Security(self.anchor, self.scheme),
                    ),
                )
            )
        told = result.as_json()
        return {
            "keys_equal": told["keys_equal"],
            "secret_bits": told["secret_bits"],
            "bootstrap": told["bootstrap"],
            "lines_authenticated_by": [epoch["authenticated_by"] for epoch in told["epochs"]],
            "blocks_authenticated_by": [block["authenticated_by"] for block in told["blocks"]],
            "asked_for": str(self.scheme),
        }

    def judge(self, evidence: Evidence) -> str:
        """Keys agree, the latch has closed, and the last block was authenticated as was asked for."""
        closed = evidence["bootstrap"]["seconds"] is not None
        goes_on = evidence["blocks_authenticated_by"][-1] == evidence["asked_for"]
        if not evidence["keys_equal"]:
            return Verdict.NO_KEY
        return Verdict.KEYS_AGREE if closed and goes_on else Verdict.UNCLEAR
