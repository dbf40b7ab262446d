"""Eve's mind: which attacks she makes on light at this moment, and the notebook of what they told her."""

import threading
from collections.abc import Sequence

from common.optics.pulses import PulseTrain
from common.optics.records import Gates
from common.protocol.parameters import LinkParameters
from common.randomness import Randomness
from common.wire.pulse_frames import FrameHeader
from common.wire.topics import EVE
from eve.notebook import Bases, BlockNotes, Knowledge, Notebook
from eve.quantum_attacks.base import PublicLink, QuantumAttack, play


class Mind:
    """A chain of attacks that may be switched between two frames, and what was learnt."""

    def __init__(self, parameters: LinkParameters, seed: int | None) -> None:
        self.notebook = Notebook()
        self._link = PublicLink.of(parameters)
        self._randomness = Randomness(EVE, seed)
        self._attacks: tuple[QuantumAttack, ...] = ()
        self._at_work = threading.Lock()

    @property
    def attacks(self) -> tuple[QuantumAttack, ...]:
        """The chain, nearest to Alice first; empty while she is transparent."""
        return self._attacks

    def switch(self, attacks: Sequence[QuantumAttack]) -> None:
        """Make these attacks from the next frame on."""
        self._attacks = tuple(attacks)

    def treat(self, header: FrameHeader, train: PulseTrain) -> PulseTrain:
        """Let the chain act on a frame, and note what it tells; frames are treated one at a time."""
        with self._at_work:
            notes = self.notebook.notes((header.session, header.block))
            return play(self._attacks, train, self._randomness, self._link, header.block, notes)

    def known(self, session: str, block: int, gates: Gates, bases: Bases) -> Knowledge:
        """Return what her notes tell of the bits at `gates` (`uint32[n]`, ascending), announced to be in these bases.

        What she has stored of them is measured; of a block that she let pass untouched she knows nothing.
        """
        with self._at_work:
            place = (session, block)
            notes = self.notebook.notes(place) if place in self.notebook else BlockNotes()
            return notes.known(gates, bases)
