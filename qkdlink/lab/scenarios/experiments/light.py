"""An attack on light, over whole blocks without a socket: what refuses them, and whether Eve could know the key.

A countermeasure is turned off by naming its monitor (`without`), or by an analysis that leaves it out.
"""

from functools import lru_cache
from typing import Annotated

from pydantic import Field

from qkdlink.common.distillation.monitors import Monitor
from qkdlink.common.optics.outlet import Outlet
from qkdlink.common.optics.presets import DEFAULT_PRESET, preset
from qkdlink.common.optics.source import choosable_basis_probability
from qkdlink.common.optics.watchful_receiver import DetectorFlaws
from qkdlink.common.protocol.parameters import LinkParameters, ProtocolName
from qkdlink.common.protocol.variants.single_photon import SINGLE_PHOTON
from qkdlink.deployment.planning.planner import plan, task_for
from qkdlink.eve.quantum_attacks.catalogue import attack_from
from qkdlink.lab.light.analysis import Analysis
from qkdlink.lab.light.block_with_eve import BlockWithEve, Hardware, live_block
from qkdlink.lab.scenarios.experiments.experiment import Experiment
from qkdlink.lab.scenarios.verdicts import Evidence, Verdict, refused_by


class Light(Experiment):
    """Blocks of light with one attack."""

    attack: str
    """As `qkdlink demo --attack` takes it."""
    preset: str = DEFAULT_PRESET
    protocol: ProtocolName = SINGLE_PHOTON.name
    pulses: Annotated[int, Field(ge=1, le=10**8)] = 60_000
    distance_km: Annotated[float, Field(ge=0)] = 0.0
    key_basis_probability: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Instead of the one that was planned."""
    blocks: Annotated[int, Field(ge=1, le=1000)] = 3
    seed: int = 20260
    without: tuple[Monitor, ...] = ()
    """Monitors that do not look."""
    without_monitors: bool = False
    """None of them looks."""
    analysis: Analysis = Analysis.AS_AGREED
    switched_off_probability: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Bob's random efficiency."""
    timing_mismatch: Annotated[float, Field(ge=0, le=1)] = 0.5
    watchdog_photons: Annotated[float, Field(gt=0)] = float("inf")
    """From which probe on Alice's watchdog barks."""
    probe_photons: Annotated[float, Field(ge=0)] = 0.0

    @property
    def parameters(self) -> LinkParameters:
        """What Alice and Bob have agreed on."""
        planned = _planned(self.preset, self.protocol, self.pulses, self.distance_km)
        if self.key_basis_probability is None:
            return planned
        bias = choosable_basis_probability(self.key_basis_probability)
        return planned.model_copy(update={"key_basis_probability": bias})

    @property
    def hardware(self) -> Hardware:
        """What their devices are like besides."""
        return Hardware(
            DetectorFlaws(self.timing_mismatch),
            self.switched_off_probability,
            Outlet(watchdog_photons=self.watchdog_photons),
            self.probe_photons,
        )

    def block(self, number: int) -> BlockWithEve:
        """Live one block."""
        return live_block(
            self.parameters,
            [attack_from(self.attack)],
            self.seed,
            number,
            hardware=self.hardware,
            turned_off=tuple(Monitor) if self.without_monitors else self.without,
            analysis=self.analysis,
        )

    def observe(self) -> Evidence:
        """Live the blocks and account for them."""
        return {"blocks": [_account(self.block(number)) for number in range(1, self.blocks + 1)]}

    def judge(self, evidence: Evidence) -> str:
        """Look at the keys if there are any, else at what refused them."""
        keys = [block for block in evidence["blocks"] if block["secret_bits"]]
        if not keys:
            return refused_by(block["refused_by"] for block in evidence["blocks"])
        if all(block["safe"] for block in keys):
            return Verdict.KEY_IS_UNDETERMINED
        if all(block["undetermined_bits"] == 0 for block in keys):
            return Verdict.EVE_HAS_THE_KEY
        return Verdict.EVE_KNOWS_OF_THE_KEY


@lru_cache(maxsize=64)
def _planned(name: str, protocol: ProtocolName, pulses: int, distance_km: float) -> LinkParameters:
    return plan(task_for(preset(name), pulses, protocol, distance_km)).link_parameters(reproducible=True)


def _account(block: BlockWithEve) -> Evidence:
    return {
        "refused_by": block.refused_by,
        "qber_key": round(block.qber_key, 5),
        "qber_test": round(block.qber_test, 5),
        "known_fraction_of_sifted": round(block.known_fraction, 5),
        "min_entropy_bits": round(block.min_entropy_bits, 1),
        "leaked_bits": block.leaked_bits,
        "secret_bits": block.secret_bits,
        "undetermined_bits": None if block.check is None else block.check.undetermined_bits,
        "min_entropy_pays": block.min_entropy_pays,
        "safe": block.safe,
    }
