"""What an attack on words is: a frozen settings model that, for each connection, has a hand on both directions.

TLS hides from her where a message begins and ends, so she works on pieces: what has come at a time. Attacks form a
chain, each handed what the one before has let go on; switching them is done between two pieces.
"""

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Protocol, Self

from pydantic import BaseModel, ConfigDict, Field

from qkdlink.eve.relay import ClassicalRelay, Way


class Hand(Protocol):
    """An attack's hand on one connection."""

    async def touch(self, way: Way, data: bytes) -> bytes:
        """Return what goes on instead of a piece; an empty result goes nowhere."""


@dataclass(frozen=True, slots=True)
class Line:
    """One connection, as an attack may use it besides."""

    relay: ClassicalRelay
    connection: int
    acted: Callable[[], None] = lambda: None
    """Counts a piece on which the attack has acted."""

    def inject(self, way: Way, data: bytes) -> None:
        """Say something that nobody has said."""
        self.relay.inject(self.connection, way, data)

    def cut(self) -> None:
        """End the connection at both ends."""
        self.relay.cut(self.connection)


class ClassicalAttack(BaseModel):
    """An attack on words; its fields are what can be turned."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: ClassVar[str]

    @abstractmethod
    def begin(self, line: Line) -> Hand:
        """Lay a hand on a connection."""

    @property
    def obstacle(self) -> str | None:
        """The sentence that says why it cannot act; None if it can."""
        return None


class Counting(ClassicalAttack):
    """An attack on some pieces of each direction."""

    every: Annotated[int, Field(ge=1, le=10**6)] = 1
    """Which pieces it touches: every first, every second, ..."""

    def begin(self, line: Line) -> Hand:
        """Count each direction by itself."""
        return _CountingHand(self, line)

    @abstractmethod
    async def act(self, way: Way, data: bytes, line: Line) -> bytes:
        """Return what goes on instead of a piece that is to be touched."""


@dataclass(slots=True)
class _CountingHand:
    attack: Counting
    line: Line
    _seen: dict[Way, int] = field(default_factory=lambda: dict.fromkeys(Way, 0))

    async def touch(self, way: Way, data: bytes) -> bytes:
        self._seen[way] += 1
        if self._seen[way] % self.attack.every:
            return data
        self.line.acted()
        return await self.attack.act(way, data, self.line)


@dataclass(slots=True)
class Chain:
    """The treatment of a relay that a chain of attacks is (`qkdlink.eve.relay.Treatment`); empty while she is
    transparent."""

    relay: ClassicalRelay
    attacks: tuple[ClassicalAttack, ...] = ()
    acted: Counter[ClassicalAttack] = field(default_factory=Counter)
    """On how many pieces each attack has acted so far."""
    _hands: dict[int, list[Hand]] = field(default_factory=dict)

    @classmethod
    def on(cls, relay: ClassicalRelay) -> Self:
        """Treat what passes through a relay."""
        chain = cls(relay)
        relay.treat = chain
        relay.on_closed.append(chain.forget)
        return chain

    def switch(self, attacks: Sequence[ClassicalAttack]) -> None:
        """Make these attacks from the next piece on, nearest to the speaker first."""
        self.attacks = tuple(attacks)
        for attack in self.attacks:
            self.acted[attack] += 0  # an attack that never acts has its line in the result, too
        self._hands.clear()

    async def __call__(self, connection: int, way: Way, data: bytes) -> bytes:
        """Hand a piece from attack to attack, for as long as something is left of it."""
        if connection not in self._hands:
            self._hands[connection] = [
                attack.begin(self._line(connection, attack)) for attack in self.attacks
            ]
        for hand in self._hands[connection]:
            if not data:
                break
            data = await hand.touch(way, data)
        return data

    def _line(self, connection: int, attack: ClassicalAttack) -> Line:
        return Line(self.relay, connection, lambda: self.acted.update((attack,)))

    def forget(self, connection: int) -> None:
        """Let go of a connection that has closed."""
        self._hands.pop(connection, None)
