"""Trojan horse: shine a probe into Alice's outlet, and read her settings off what comes back.

The apparatus sends the probe (`probe_photons`); the reflections fly out beside Alice's pulses with their polarisation
(`qkdlink.common.optics.outlet`). At Eve's entrance they are parted from her light, whatever is done to that, and here
they are kept until the bases are known. With a mean of mu_out reflected photons a bit is known with probability 1 -
exp(-mu_out). Bob sees nothing; a watchdog on Alice's outlet sees the probe, and isolation keeps mu_out small.

Sources: Gisin, Fasel, Kraus, Zbinden, Ribordy, Phys. Rev. A 73, 022320 (2006); Lucamarini et al., Phys. Rev. X 5,
031030 (2015).
"""

from typing import Annotated, ClassVar

from pydantic import Field

from qkdlink.common.optics.adversary import Mask
from qkdlink.common.optics.pulses import PulseTrain
from qkdlink.eve.notebook import BlockNotes, StoredPage
from qkdlink.eve.quantum_attacks.base import Attack, EveTools, PublicLink


class TrojanHorse(Attack):
    """Collects the reflections of a probe."""

    name: ClassVar[str] = "trojan-horse"
    probe_photons: Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)] = 1e6
    """Mean photon number per pulse of the probe that shines into Alice's outlet."""

    def act(self, train: PulseTrain, chosen: Mask, tools: EveTools, notes: BlockNotes) -> PulseTrain:
        """Keep the reflections, send the light on."""
        first, end = train.first_pulse, train.first_pulse + len(train)
        reflected = tools.reflections.take(chosen, tools.bench)
        notes.add(StoredPage(first, end, tools.bench.store(reflected), beside=True))
        return train

    def obstacle(self, link: PublicLink) -> str | None:
        """Say that a probe without photons brings nothing back."""
        if not self.probe_photons:
            return f"{self.name} brings nothing back: its probe has no photons."
        return super().obstacle(link)
