"""Eve's mind: which attacks she makes on light at this moment, and the notebook of what they told her.

Frames come from one thread and questions from another; a block is in one hand at a time. What she has noted of other
blocks can be asked for while an attack is at work, or stuck.
"""

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from qkdlink.common.optics.pulses import PulseTrain
from qkdlink.common.optics.records import Gates
from qkdlink.common.protocol.parameters import LinkParameters
from qkdlink.common.randomness import Randomness
from qkdlink.common.wire.pulse_frames import FrameHeader
from qkdlink.eve.click_memory import Published
from qkdlink.eve.guarded import Guarded, place_of
from qkdlink.eve.kept_blocks import Notebook, Place
from qkdlink.eve.notebook import Bases, BlockNotes, Knowledge
from qkdlink.eve.quantum_attacks.base import Attack, PublicLink, QuantumAttack, play
from qkdlink.eve.quantum_attacks.catalogue import text_of
from qkdlink.eve.topics import EVE


class Mind:
    """A chain of attacks that may be switched between two frames, and what was learnt."""

    def __init__(self, parameters: LinkParameters, seed: int | None) -> None:
        self.notebook = Notebook()
        self._link = PublicLink.of(parameters)
        self._block_pulses = parameters.block_pulses
        self._randomness = Randomness(EVE, seed)
        self._attacks: tuple[QuantumAttack, ...] = ()
        self._in_hand: set[Place] = set()
        self._changed = threading.Condition()
        self._latest: QuantumAttack | None = None
        self._frames: Counter[str] = Counter()
        self._by_text: dict[str, QuantumAttack] = {}

    @property
    def attacks(self) -> tuple[QuantumAttack, ...]:
        """The chain, nearest to Alice first; empty while she is transparent."""
        return self._attacks

    def switch(self, attacks: Sequence[QuantumAttack]) -> None:
        """Make these attacks from the next frame on."""
        self._attacks = tuple(attacks)
        self._by_text |= {text_of(attack): attack for attack in self._attacks}

    def obstacle(self, attack: QuantumAttack) -> str | None:
        """Return why an attack cannot act on this link; None if it can, or if its author has not said so."""
        return attack.obstacle(self._link) if isinstance(attack, Attack) else None

    @property
    def frames(self) -> list[tuple[QuantumAttack, int]]:
        """How many frames each attack has been given, whether or not it is still in the chain."""
        return [(attack, self._frames[text]) for text, attack in self._by_text.items()]

    def treat(self, header: FrameHeader, train: PulseTrain) -> PulseTrain:
        """Let the chain act on a frame, and note what it tells.

        Raises AttackError if an attack goes wrong, FrameRefused if the frame's place in its block is taken or none.
        """
        chain = [Guarded(attack, self._begin) for attack in self._attacks]
        with self._at((header.session, header.block)) as place:
            with self._changed:
                notes = self.notebook.notes(place)
            notes.begin(header, self._block_pulses)
            return play(chain, train, self._randomness, self._link, header.block, notes)

    def known(self, session: str, block: int, gates: Gates, bases: Bases) -> Knowledge:
        """Return what her notes tell of the bits at `gates` (`uint32[n]`, ascending), announced to be in these bases.

        What she has stored of them is measured; of a block that she let pass untouched she knows nothing.
        """
        with self._at((session, block)) as place:
            with self._changed:
                notes = self.notebook.notes(place) if place in self.notebook else BlockNotes()
            return notes.known(gates, bases)

    def known_of_key(self, session: str, block: int, published: Published) -> Knowledge:
        """Return what her notes tell of a block's sifted key, with what its reconciliation has made public."""
        with self._at((session, block)) as place:
            with self._changed:
                notes = self.notebook.notes(place) if place in self.notebook else BlockNotes()
            return notes.known_of_key(published, self._link.gate_behind(self._link.fibre))

    def opened(self, session: str, block: int) -> None:
        """Keep the notes on a block that Alice has announced before those on others."""
        with self._changed:
            self.notebook.announce((session, block))

    def ended(self, session: str, block: int) -> None:
        """Let the notes on a block go when room is needed."""
        with self._changed:
            self.notebook.end((session, block))

    @property
    def latest(self) -> str:
        """Which attack was the last to get a frame, as `qkdlink.eve.guarded` names it."""
        return "an attack" if self._latest is None else place_of(self._latest)

    def _begin(self, attack: QuantumAttack) -> None:
        self._latest = attack
        self._frames[text_of(attack)] += 1

    @contextmanager
    def _at(self, place: Place) -> Iterator[Place]:
        """Have a block in hand."""
        with self._changed:
            self._changed.wait_for(lambda: place not in self._in_hand)
            self._in_hand.add(place)
        try:
            yield place
        finally:
            with self._changed:
                self._in_hand.discard(place)
                self._changed.notify_all()
