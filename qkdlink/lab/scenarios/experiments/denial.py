"""Denial of service on a link that has keys: no more are made, none is lost or leaked, and the link outlasts a day."""

import asyncio
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Annotated

from pydantic import Field

from qkdlink.alice.settings import AliceSettings
from qkdlink.common.keys.allotment import OF_ALICE, OF_BOB, TAG_BITS, UNIT_BITS
from qkdlink.common.optics.presets import DEFAULT_PRESET, preset
from qkdlink.common.protocol.economy import Backoff
from qkdlink.common.protocol.variants.single_photon import SINGLE_PHOTON
from qkdlink.common.store.key_store import KeyStore
from qkdlink.deployment.homes.home import LinkHome, open_home
from qkdlink.deployment.homes.names import ALICE
from qkdlink.deployment.launching.link_result import run_to_the_end
from qkdlink.deployment.launching.link_run import LinkRun
from qkdlink.deployment.planning.planner import plan, task_for
from qkdlink.lab.scenarios.experiments.experiment import Experiment
from qkdlink.lab.scenarios.verdicts import Evidence, Verdict

_DAY_S = 86_400.0
_PAYS = TAG_BITS // UNIT_BITS


class Denial(Experiment):
    """A link makes keys; then Eve jams, and it goes on trying."""

    attack: str = "jamming"
    pulses: Annotated[int, Field(ge=10_000, le=10**8)] = 3_000_000
    """Single photons: enough to fill the reserve for tags with the first block or two."""
    blocks: Annotated[int, Field(ge=2, le=100)] = 3
    jammed_blocks: Annotated[int, Field(ge=1, le=100)] = 3

    def observe(self) -> Evidence:
        """Run it without her, then with her."""
        with tempfile.TemporaryDirectory(prefix="qkdlink-") as folder:
            return asyncio.run(self._observed(open_home(Path(folder))))

    def judge(self, evidence: Evidence) -> str:
        """No new key, none of the old ones gone but for tags, nothing known, and a day's reserve."""
        if evidence["secret_bits_while_jammed"]:
            return Verdict.KEYS_AGREE
        if evidence["known_fraction_of_sifted"]:
            return Verdict.EVE_KNOWS_OF_THE_KEY
        kept = evidence["available_bits_lost"] <= evidence["tags_bits_spent"] + evidence["psk_bits_spent"]
        lasts = evidence["seconds_to_starvation"] >= _DAY_S
        return Verdict.NO_KEY if evidence["keys_equal_before"] and kept and lasts else Verdict.UNCLEAR

    async def _observed(self, home: LinkHome) -> Evidence:
        task = task_for(preset(DEFAULT_PRESET), self.pulses, SINGLE_PHOTON.name)
        parameters, hurry = plan(task).link_parameters(), {"rekey_blocks": 1, "backoff_first_s": 0.01}
        before = await run_to_the_end(home, LinkRun(parameters, blocks=self.blocks, alice=hurry))
        jammed = await run_to_the_end(
            home, LinkRun(parameters, blocks=self.jammed_blocks, alice=hurry, eve={"attacks": [self.attack]})
        )
        with closing(KeyStore.of(home.node(ALICE))) as store:
            payable = min(store.units.left(parts) for parts in (OF_ALICE, OF_BOB)) // _PAYS
        fields = AliceSettings.model_fields
        pauses = Backoff(fields["backoff_first_s"].default, fields["backoff_longest_s"].default)
        return {
            "keys_equal_before": before.keys_equal,
            "secret_bits_before": before.secret_bits,
            "aborted": [block.aborted for block in jammed.link.alice.told.ended],
            "secret_bits_while_jammed": jammed.secret_bits,
            "known_fraction_of_sifted": jammed.known_fraction_of_sifted,
            "available_bits_lost": before.balance.available_bits - jammed.balance.available_bits,
            "tags_bits_spent": jammed.balance.authentication_bits - before.balance.authentication_bits,
            "psk_bits_spent": jammed.balance.psk_bits - before.balance.psk_bits,
            "tags_left_for_blocks": payable,
            "seconds_to_starvation": pauses.seconds_to_starvation(0, payable),
        }
