"""Eve is not plugged into the light: an attack that is armed tells her nothing, and the link is the one without her.

The runs have one seed, so that nothing is left to statistics: every count and every key has to be the same.
"""

import asyncio
import tempfile
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from qkdlink.deployment.homes.home import open_home
from qkdlink.deployment.launching.link_result import run_to_the_end
from qkdlink.deployment.launching.link_run import LinkRun
from qkdlink.eve.recorder import Wire, read_recording
from qkdlink.lab.faults.kill_trials import tiny_parameters
from qkdlink.lab.scenarios.experiments.experiment import Experiment
from qkdlink.lab.scenarios.verdicts import Evidence, Verdict

_OF_THE_SEED = ("detections", "sifted_bits", "qber_key", "qber_test", "gains", "secret_bits", "aborted")


class Unplugged(Experiment):
    """The same link three times: without Eve; with her attack armed and light direct; and with her on the light.

    She hears every word the second and the third time, the secrets of every TLS session in hand, and records all
    wires.
    """

    attack: str = "intercept-resend:bases=key"
    """As `qkdlink demo --attack` takes it."""
    blocks: Annotated[int, Field(ge=1, le=100)] = 2
    seed: int = 20260

    def observe(self) -> Evidence:
        """Run all three."""
        return {
            told: asyncio.run(self._run(eve))
            for told, eve in (
                ("without_eve", None),
                ("unplugged", {"attacks": [self.attack], "intercept_light": False}),
                ("plugged", {"attacks": [self.attack]}),
            )
        }

    def judge(self, evidence: Evidence) -> str:
        """Look at what she has of direct light; without a contrast in which the attack tells her, it is no answer."""
        alone, direct, contrast = (evidence[name] for name in ("without_eve", "unplugged", "plugged"))
        eve = direct["eve"]
        if eve["key_recovered"]:
            return Verdict.EVE_HAS_THE_KEY
        if eve["known_fraction_of_sifted"] or eve["key_undetermined"] is False:
            return Verdict.EVE_KNOWS_OF_THE_KEY
        follows = eve["key_undetermined"] and not eve["frames_seen"]
        tells = contrast["eve"]["known_fraction_of_sifted"] and contrast["eve"]["frames_seen"]
        same = alone["keys_equal"] and direct["keys_equal"] and alone["blocks"] == direct["blocks"]
        return Verdict.KEY_IS_UNDETERMINED if follows and tells and same else Verdict.UNCLEAR

    async def _run(self, eve: dict[str, Any] | None) -> Evidence:
        with tempfile.TemporaryDirectory(prefix="qkdlink-") as folder:
            wires = Path(folder) / "wires"
            result = await run_to_the_end(
                open_home(Path(folder) / "home"),
                LinkRun(
                    tiny_parameters().model_copy(update={"reproducible": True}),
                    blocks=self.blocks,
                    seed=self.seed,
                    alice={"backoff_first_s": 0.01},
                    eve=None if eve is None else {**eve, "record": str(wires)},
                ),
            )
            passed = Counter(each.wire for each in read_recording(wires)) if eve is not None else Counter()
        told = result.as_json()
        evidence: Evidence = {
            "keys_equal": told["keys_equal"],
            "blocks": [{name: block[name] for name in _OF_THE_SEED} for block in told["blocks"]],
        }
        if eve is not None:
            evidence["eve"] = {
                **told["eve"],
                "frames_seen": passed[Wire.LIGHT],
            }
        return evidence
