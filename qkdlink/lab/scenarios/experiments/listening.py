"""Every word of the classical channel is read while it is said: the same keys as unread, and none of them known."""

import asyncio
import tempfile
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from qkdlink.deployment.homes.home import open_home
from qkdlink.deployment.launching.link_result import run_to_the_end
from qkdlink.deployment.launching.link_run import LinkRun
from qkdlink.lab.faults.kill_trials import tiny_parameters
from qkdlink.lab.scenarios.experiments.experiment import Experiment
from qkdlink.lab.scenarios.verdicts import Evidence, Verdict


class Listening(Experiment):
    """The same link twice: without Eve, and with her on both channels, the secrets of every TLS session in hand."""

    attacks: tuple[str, ...] = ()
    """What she does to light besides."""
    blocks: Annotated[int, Field(ge=1, le=100)] = 3

    def observe(self) -> Evidence:
        """Run both."""
        return {
            "unread": asyncio.run(self._run(None)),
            "read": asyncio.run(self._run({"attacks": self.attacks})),
        }

    def judge(self, evidence: Evidence) -> str:
        """Say what came of the link that was read; without the same keys as unread it is no answer."""
        unread, read = evidence["unread"], evidence["read"]
        eve = read["eve"]
        if not eve["parities_heard"]:
            return Verdict.UNCLEAR
        if read["keys_equal"] and eve["key_recovered"]:
            return Verdict.EVE_HAS_THE_KEY
        if not read["keys_equal"]:
            return Verdict.NO_KEY
        same = unread["keys_equal"] and unread["aborted"] == read["aborted"]
        return Verdict.KEYS_AGREE if same and eve["known_fraction_of_sifted"] == 0 else Verdict.UNCLEAR

    async def _run(self, eve: dict[str, Any] | None) -> Evidence:
        with tempfile.TemporaryDirectory(prefix="qkdlink-") as folder:
            result = await run_to_the_end(
                open_home(Path(folder)),
                LinkRun(tiny_parameters(), blocks=self.blocks, alice={"backoff_first_s": 0.01}, eve=eve),
            )
        told = result.as_json()
        evidence: Evidence = {
            "keys_equal": told["keys_equal"],
            "secret_bits": told["secret_bits"],
            "aborted": [block["aborted"] for block in told["blocks"]],
        }
        if result.link.eve is not None:
            learnt = result.link.state.eve.learnt
            evidence["eve"] = {
                **told["eve"],
                "parities_heard": sum(each.disclosed_bits for each in learnt),
                "removed_bits": sum(each.removed_bits for each in learnt),
            }
        return evidence
