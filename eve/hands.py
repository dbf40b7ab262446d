"""Eve's hands: what she can be told to do, done at once and told as her new state."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from qkdlink.common.errors import ConfigurationError, LinkError
from qkdlink.common.journal.event import Event
from qkdlink.common.journal.events import AttackTally, EveState
from qkdlink.common.wire.patch import Patch, Route
from qkdlink.eve.classical_attacks.base import Chain
from qkdlink.eve.classical_attacks.catalogue import text_of as treatment_text
from qkdlink.eve.classical_attacks.catalogue import treatment_from
from qkdlink.eve.half_links import HalfLinks
from qkdlink.eve.mind import Mind
from qkdlink.eve.panel import Panel
from qkdlink.eve.quantum_attacks.base import QuantumAttack
from qkdlink.eve.quantum_attacks.catalogue import ATTACKS, text_of
from qkdlink.eve.tap import LightTap


@dataclass(frozen=True, slots=True)
class Hands:
    """Carries commands out (`qkdlink.eve.control.Obedient`)."""

    mind: Mind
    light: LightTap
    words: Chain
    panel: Panel
    half_links: HalfLinks | None
    """None where she was given nothing to impersonate with."""
    own: Mapping[str, type[QuantumAttack]]
    """Attacks that her settings name, by their names."""
    tell: Callable[[Event], None]

    async def attack(self, attacks: Sequence[QuantumAttack]) -> None:
        """Make these attacks on light from the next frame on."""
        self.take_up(attacks)
        await self._plug(self.panel.wanted)

    def take_up(self, attacks: Sequence[QuantumAttack]) -> None:
        """Have these attacks in mind, without a word about it."""
        self.mind.switch(attacks)
        self.light.treat = self.mind.treat if attacks else None

    async def treat(self, treatments: Sequence[str]) -> None:
        """Do this to words from now on."""
        self.words.switch([treatment_from(text) for text in treatments])
        self.say()

    async def plug(self, light: Route, words: Route) -> None:
        """Sit in light and words, or do not."""
        await self._plug(Patch(light=light, classical=words))

    async def impersonate(self, *, on: bool) -> None:
        """Take both nodes' places, or give them back; she has to sit in light and words."""
        if self.half_links is None:
            raise ConfigurationError(
                "Eve has nothing to impersonate anybody with: her settings have no [impersonate]."
            )
        if on:
            await self.half_links.begin()
        else:
            await self.half_links.end()
        self.say()

    def routed(self, patch: Patch) -> Patch:
        """Return where she sits with what shines into Alice's outlet, which needs a place on the light."""
        probes = [getattr(attack, "probe_photons", 0.0) for attack in self.mind.attacks]
        shining = max(probes, default=0.0) if patch.light == "eve" else 0.0
        return patch.model_copy(update={"probe_photons": shining})

    def say(self) -> None:
        """Tell what she does now."""
        wanted = self.panel.wanted
        self.tell(
            EveState(
                attacks=[text_of(attack) for attack in self.mind.attacks],
                treatments=[treatment_text(attack) for attack in self.words.attacks],
                light=wanted.light,
                words=wanted.classical,
                impersonating=self.half_links is not None and self.half_links.are_living,
                known=[*ATTACKS, *self.own],
                obstacles=[why for why in (*self._of_light(), *self._of_words()) if why],
            )
        )

    def tally(self) -> None:
        """Tell of each attack since her start on how much it has acted."""
        for of_light, frames in self.mind.frames:
            obstacle = self.mind.obstacle(of_light)
            self.tell(
                AttackTally(attack=text_of(of_light), channel="quantum", acted=frames, obstacle=obstacle)
            )
        for of_words, pieces in self.words.acted.items():
            text = treatment_text(of_words)
            self.tell(AttackTally(attack=text, channel="classical", acted=pieces, obstacle=of_words.obstacle))

    def _of_light(self) -> Iterator[str | None]:
        yield from map(self.mind.obstacle, self.mind.attacks)

    def _of_words(self) -> Iterator[str | None]:
        yield from (attack.obstacle for attack in self.words.attacks)

    async def _plug(self, patch: Patch) -> None:
        with suppress(LinkError):  # the panel repeats what is wanted as soon as the broker is back
            await self.panel.plug(self.routed(patch))
        self.say()
