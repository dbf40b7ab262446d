"""Beam splitting: keep with a beam splitter what the fibre would have lost, and send the rest over a lossless one.

Bob sees exactly what he expects, in every class and basis. Of a coherent pulse of mean photon number mu she keeps
mu (1 - t), independently of what reaches Bob, and knows the bit where that is at least one photon: a fraction
1 - exp(-mu (1 - t)). Nothing alarms anybody, and nothing has to: the decoy bound counts these pulses as lost already.

Source: Bennett, Bessette, Brassard, Salvail, Smolin, J. Cryptology 5, 3 (1992), section 5; Calsamiglia, Barnett,
Luetkenhaus, Phys. Rev. A 65, 012312 (2001).
"""

from typing import ClassVar

import numpy as np

from qkdlink.common.optics.adversary import Mask
from qkdlink.common.optics.pulses import PulseTrain
from qkdlink.eve.flight import TAPPED, Marks
from qkdlink.eve.notebook import BlockNotes, StoredPage
from qkdlink.eve.quantum_attacks.base import Attack, EveTools, PublicLink


class BeamSplitting(Attack):
    """Taps the light of the line's own loss."""

    name: ClassVar[str] = "beam-splitting"

    def act(self, train: PulseTrain, chosen: Mask, tools: EveTools, notes: BlockNotes) -> PulseTrain:
        """Split, store, send on."""
        first, count, loss = train.first_pulse, len(train), train.medium.transmittance
        passed, kept = tools.bench.split(train, loss)
        tapped = Marks.of(chosen * np.uint8(TAPPED))
        notes.add(StoredPage(first, first + count, tools.bench.store(kept), tapped, loss))
        return tools.bench.launch(passed, tools.link.lossless_fibre)

    def obstacle(self, link: PublicLink) -> str | None:
        """Say where nothing can be kept: of a single photon no second part reaches Bob, and a line may lose none."""
        if link.has_single_photons:
            return f"{self.name} learns nothing: what it keeps of a single photon never reaches Bob."
        if link.fibre.transmittance == 1:
            return f"{self.name} has nothing to keep: this line loses no light."
        return super().obstacle(link)
