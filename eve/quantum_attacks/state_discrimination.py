"""Unambiguous state discrimination: three or more copies of a BB84 state sometimes tell which it is, without error.

With 1 to 8 photons a conclusive answer has probability 0, 0, 1/2, 1/2, 3/4, 3/4, 7/8, 7/8. She sends on what she
knows, over a lossless fibre and with as many photons as there were; what she asked without an answer is gone. Pulses
of one and two photons pass untouched as far as Bob's signal gain needs them.

Source: Dusek, Jahma, Luetkenhaus, Phys. Rev. A 62, 022306 (2000).
"""

from typing import ClassVar

import numpy as np

from qkdlink.common.optics.adversary import NO_CONCLUSION, Counted, Mask, conclusive_probability
from qkdlink.common.optics.pulses import PulseTrain
from qkdlink.common.optics.states import Basis, bb84_polarisation
from qkdlink.eve.flight import COUNTED, GONE
from qkdlink.eve.notebook import BlockNotes, MeasuredPage
from qkdlink.eve.quantum_attacks.base import Attack, EveTools, PublicLink
from qkdlink.eve.quantum_attacks.gain import detected, expected_light_clicks, shares_to_pass, signal_photons

_CONCLUSIVE, _REST = 1, 2
_ENOUGH = 3
_TEST = np.uint8(bb84_polarisation(Basis.TEST, 0))
_ONE = np.uint8(4)


class UnambiguousStateDiscrimination(Attack):
    """Asks pulses of three and more photons which state they are."""

    name: ClassVar[str] = "unambiguous-state-discrimination"
    gain_matching: bool = True
    """Pass as much as keeps Bob's signal gain; otherwise every conclusive pulse and no other."""

    def act(self, train: PulseTrain, chosen: Mask, tools: EveTools, notes: BlockNotes) -> PulseTrain:
        """Count, ask, note, send on."""
        first = train.first_pulse
        conclusive_share, rest_share = self.shares(tools.link)
        numbers, train = tools.bench.count(train)
        asked, rest = tools.bench.switch(train, numbers >= _ENOUGH)
        passes = tools.decide(rest, rest_share, _REST)
        passed, _ = tools.bench.switch(rest, passes)
        states = tools.bench.discriminate(asked)
        told = (states != NO_CONCLUSION).astype(np.uint8)
        ones = (states & _ONE > 0) & (told > 0)
        untouched = passes & (numbers > 0) & (numbers < _ENOUGH)
        onward = np.where(untouched, numbers + np.uint8(COUNTED), np.uint8(GONE)) * chosen
        analysers = states & _TEST & told * _TEST
        notes.add(MeasuredPage.write(first, analysers, Counted(told - ones, told * ones), onward=onward))
        sent = told * tools.decide(passed, conclusive_share, _CONCLUSIVE)
        known = tools.bench.prepare((states, numbers * sent), tools.link.lossless_fibre, first)
        return tools.bench.join(known, passed)

    def obstacle(self, link: PublicLink) -> str | None:
        """Say that a source of single photons has no pulse that can be discriminated."""
        if link.has_single_photons:
            return f"{self.name} needs pulses of three photons or more: this source sends single ones."
        return super().obstacle(link)

    def shares(self, link: PublicLink) -> tuple[float, float]:
        """Shares 0..1 of the conclusive pulses, and of those with one or two photons, that she lets pass."""
        if not self.gain_matching:
            return 1.0, 0.0
        at_bob = link.detector.efficiency
        clicks = [p * detected(n, at_bob) for n, p in enumerate(signal_photons(link.source))]
        conclusive = sum(click * conclusive_probability(n) for n, click in enumerate(clicks) if n >= _ENOUGH)
        wanted = expected_light_clicks(link.source, link.fibre.transmittance * at_bob)
        conclusive_share, rest_share = shares_to_pass(wanted, (conclusive, sum(clicks[:_ENOUGH])))
        return conclusive_share, rest_share
