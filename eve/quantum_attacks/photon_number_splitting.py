"""Photon-number splitting: count, keep one photon where there are several, and send the rest over a lossless fibre.

The kept photon is measured when its basis is announced: she knows that bit and no error tells. Single photons she
blocks as far as Bob's signal still clicks as often as he expects; where pulses of several photons alone would click
too often, she blocks some of them, too. Only the gains of the decoys give her away, since blocking goes by photon
number and the decoys have others.

Sources: Huttner, Imoto, Gisin, Mor, Phys. Rev. A 51, 1863 (1995); Brassard, Luetkenhaus, Mor, Sanders, Phys. Rev.
Lett. 85, 1330 (2000); Luetkenhaus, Jahma, New J. Phys. 4, 44 (2002).
"""

from typing import ClassVar

import numpy as np

from qkdlink.common.optics.adversary import Mask
from qkdlink.common.optics.pulses import PulseTrain
from qkdlink.common.optics.states import PHOTON_NUMBERS
from qkdlink.eve.flight import COUNTED, GONE, Marks
from qkdlink.eve.notebook import BlockNotes, StoredPage
from qkdlink.eve.quantum_attacks.base import Attack, EveTools, PublicLink
from qkdlink.eve.quantum_attacks.gain import detected, expected_light_clicks, shares_to_pass, signal_photons

_CHOICES = 1


class PhotonNumberSplitting(Attack):
    """Splits pulses of two and more photons and blocks single ones."""

    name: ClassVar[str] = "photon-number-splitting"
    gain_matching: bool = True
    """Pass as much as keeps Bob's signal gain; otherwise all that was split and no single photon."""

    def act(self, train: PulseTrain, chosen: Mask, tools: EveTools, notes: BlockNotes) -> PulseTrain:
        """Count, keep one, block, send on."""
        first, count = train.first_pulse, len(train)
        multiple_share, single_share = self.shares(tools.link)
        numbers, train = tools.bench.count(train)
        kept, rest = tools.bench.extract(train, numbers >= 2)
        by_number = np.full(PHOTON_NUMBERS, multiple_share)
        by_number[:2] = single_share
        passes = tools.decide(rest, by_number[numbers], _CHOICES)
        onward = np.where(passes & (numbers > 0), np.uint8(COUNTED + 1), np.uint8(GONE)) * chosen
        notes.add(StoredPage(first, first + count, tools.bench.store(kept), Marks.of(onward)))
        passed, _ = tools.bench.switch(rest, passes)
        return tools.bench.launch(passed, tools.link.lossless_fibre)

    def obstacle(self, link: PublicLink) -> str | None:
        """Say that a source of single photons leaves nothing to split."""
        if link.has_single_photons:
            return f"{self.name} has nothing to split: no pulse of this source has more than one photon."
        return super().obstacle(link)

    def shares(self, link: PublicLink) -> tuple[float, float]:
        """Shares 0..1 of the pulses with several photons, and with a single one, that she lets pass."""
        if not self.gain_matching:
            return 1.0, 0.0
        at_bob = link.detector.efficiency
        photons = signal_photons(link.source)
        multiple = sum(p * detected(n - 1, at_bob) for n, p in enumerate(photons) if n >= 2)
        wanted = expected_light_clicks(link.source, link.fibre.transmittance * at_bob)
        multiple_share, single_share = shares_to_pass(wanted, (multiple, photons[1] * at_bob))
        return multiple_share, single_share
