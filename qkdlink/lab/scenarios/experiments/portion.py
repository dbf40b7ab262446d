"""The small portion: how much of the key that a link makes goes into authenticating the line on which it makes it."""

import asyncio
import tempfile
from pathlib import Path
from typing import Annotated

from pydantic import Field

from qkdlink.common.authentication.scheme import SchemeName
from qkdlink.common.optics.presets import DEFAULT_PRESET, preset
from qkdlink.common.protocol.variants.single_photon import SINGLE_PHOTON
from qkdlink.deployment.homes.home import open_home
from qkdlink.deployment.launching.link_result import run_to_the_end
from qkdlink.deployment.launching.link_run import LinkRun
from qkdlink.deployment.planning.planner import plan, task_for
from qkdlink.lab.scenarios.experiments.experiment import Experiment
from qkdlink.lab.scenarios.verdicts import Evidence, Verdict


class Portion(Experiment):
    """A link whose tags are cut from its own key, measured in its ledger."""

    pulses: Annotated[int, Field(ge=10_000, le=10**8)]
    limit: Annotated[float, Field(gt=0, lt=1)]
    """Of the secret bits of a block, at most so much for tags and for the next link PSK."""
    blocks: Annotated[int, Field(ge=3, le=100)] = 4

    def observe(self) -> Evidence:
        """Run it, and read Alice's ledger."""
        task = task_for(preset(DEFAULT_PRESET), self.pulses, SINGLE_PHOTON.name)
        with tempfile.TemporaryDirectory(prefix="qkdlink-") as folder:
            result = asyncio.run(
                run_to_the_end(
                    open_home(Path(folder)),
                    LinkRun(
                        plan(task).link_parameters(),
                        blocks=self.blocks,
                        alice={"rekey_blocks": 1, "blocks_in_flight": 1},
                    ),
                )
            )
        paying = [
            block.secret_bits
            for block in result.link.alice.told.ended
            if block.authenticated_by == SchemeName.WEGMAN_CARTER
        ]
        balance = result.balance
        spent = balance.authentication_bits + balance.psk_bits
        return {
            "keys_equal": result.keys_equal,
            "blocks_that_paid": len(paying),
            "secret_bits_of_these": sum(paying),
            "authentication_bits": balance.authentication_bits,
            "psk_bits": balance.psk_bits,
            "portion": round(spent / sum(paying), 6) if sum(paying) else None,
            "limit": self.limit,
        }

    def judge(self, evidence: Evidence) -> str:
        """Compare what was spent with what was made."""
        if not evidence["keys_equal"] or not evidence["blocks_that_paid"]:
            return Verdict.UNCLEAR
        spent = evidence["authentication_bits"] + evidence["psk_bits"]
        small = spent / evidence["secret_bits_of_these"] < evidence["limit"]
        return Verdict.SMALL_PORTION if small else Verdict.LARGE_PORTION
