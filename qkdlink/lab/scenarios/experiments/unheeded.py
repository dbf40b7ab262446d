"""One long block that nobody gives up: every guard says its word, in turn, and the bound is asked what would be left.

A node stops at the first alarm. To tell which guards would have acted without the others, each is heard here and none
is heeded; the same block without Eve shows that the link makes a key and that no guard cries without cause.
"""

from typing import Annotated

from pydantic import Field

from qkdlink.common.optics.presets import DEFAULT_PRESET, preset
from qkdlink.common.protocol.parameters import LinkParameters, ProtocolName
from qkdlink.deployment.planning.planner import plan, task_for
from qkdlink.eve.quantum_attacks.catalogue import attack_from
from qkdlink.lab.light.block_with_eve import UnheededBlock, live_unheeded_block
from qkdlink.lab.scenarios.experiments.experiment import Experiment
from qkdlink.lab.scenarios.verdicts import Evidence, Verdict, refused_in_order

_WITHOUT_EVE = "transparent"


class Unheeded(Experiment):
    """A block with one attack, and the same block without."""

    attack: str
    """As `qkdlink demo --attack` takes it; one that the bound accounts for."""
    preset: str = DEFAULT_PRESET
    protocol: ProtocolName | None = None
    """Instead of the preset's own."""
    pulses: Annotated[int, Field(ge=1, le=10**9)]
    distance_km: Annotated[float, Field(ge=0)]
    rank_check: bool = False
    """Whether the key is put to the rank check, a minute for 60 000 sifted bits; else her min-entropy has to pay."""
    seed: int = 20260

    @property
    def parameters(self) -> LinkParameters:
        """What Alice and Bob have agreed on."""
        task = task_for(preset(self.preset), self.pulses, self.protocol, self.distance_km)
        return plan(task).link_parameters(reproducible=True)

    def observe(self) -> Evidence:
        """Live both."""
        parameters = self.parameters
        return {
            told: _account(
                live_unheeded_block(parameters, [attack_from(attack)], self.seed, 1, checked=self.rank_check)
            )
            for told, attack in (("without_eve", _WITHOUT_EVE), ("with_eve", self.attack))
        }

    def judge(self, evidence: Evidence) -> str:
        """Name all that acted, in order; what the bound allows has to be safe even where a monitor would refuse it."""
        honest, attacked = evidence["without_eve"], evidence["with_eve"]
        if honest["acted"] or not honest["secret_bits"]:
            return Verdict.UNCLEAR
        if not attacked["safe"]:
            return Verdict.EVE_KNOWS_OF_THE_KEY
        if attacked["acted"]:
            return refused_in_order(attacked["acted"])
        return Verdict.KEY_IS_UNDETERMINED if attacked["secret_bits"] else Verdict.NO_KEY


def _account(unheeded: UnheededBlock) -> Evidence:
    block = unheeded.block
    return {
        "acted": [str(alarm.monitor) for alarm in unheeded.alarms],
        "said": [alarm.detail for alarm in unheeded.alarms],
        "single_photon_bound": round(unheeded.best.single_photon_events),
        "known_fraction_of_sifted": round(block.known_fraction, 5),
        "min_entropy_bits": round(block.min_entropy_bits, 1),
        "qber_key": round(block.qber_key, 5),
        "qber_test": round(block.qber_test, 5),
        "leaked_bits": block.leaked_bits,
        "secret_bits": block.secret_bits,
        "undetermined_bits": None if block.check is None else block.check.undetermined_bits,
        "min_entropy_pays": block.min_entropy_pays,
        "safe": block.safe,
    }
