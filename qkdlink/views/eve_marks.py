"""The attacks on Eve's console: which she makes, and how strong each is."""

from dataclasses import dataclass, field
from typing import Any, Literal

from qkdlink.eve.classical_attacks.catalogue import TREATMENTS

STEP = 0.05
"""By how much a key press moves the strength of an attack on the quantum channel."""

type Channel = Literal["quantum", "classical"]


@dataclass(frozen=True, slots=True)
class Scale:
    """The setting of an attack on the classical channel that the keys change, and its values from weak to strong."""

    setting: str
    values: tuple[float, ...]
    usual: float
    unit: str = ""


_EVERY = Scale("every", (1000, 500, 200, 100, 50, 20, 10, 5, 3, 2, 1), 1)
_SCALES = {
    "delay": Scale("seconds", (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60), 0.1, " s"),
    "cut": Scale("after_bytes", (10**7, 10**6, 10**5, 10**4, 1000, 0), 0),
}


@dataclass(slots=True)
class Mark:
    """An attack on the quantum channel: whether Eve makes it, and how much of the light it touches."""

    name: str
    on: bool = False
    settings: dict[str, Any] = field(default_factory=lambda: {"fraction": 1.0})

    @property
    def channel(self) -> Channel:
        """The channel on which it acts."""
        return "quantum"

    @property
    def strength(self) -> float:
        """Share of the pulses that it touches, 0..1."""
        return float(self.settings.get("fraction", 1.0))

    @property
    def told(self) -> str:
        """Its strength in words."""
        return f"{self.strength:.0%}"

    @property
    def text(self) -> str:
        """How Eve is told of it."""
        told = ",".join(f"{key}={value}" for key, value in self.settings.items())
        return f"{self.name}:{told}" if told else self.name

    def move(self, steps: int) -> None:
        """Make it stronger or weaker, within 0..1."""
        self.settings["fraction"] = round(min(1.0, max(0.0, self.strength + steps * STEP)), 6)


@dataclass(slots=True)
class ClassicalMark(Mark):
    """An attack on the classical channel; what the keys change is its scale's setting."""

    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def channel(self) -> Channel:
        """The channel on which it acts."""
        return "classical"

    @property
    def scale(self) -> Scale | None:
        """What the keys change; None where there is nothing to change."""
        if self.name in _SCALES:
            return _SCALES[self.name]
        return _EVERY if "every" in TREATMENTS[self.name].model_fields else None

    @property
    def strength(self) -> float:
        """Place of its setting on the scale, 0..1."""
        scale = self.scale
        return 1.0 if scale is None else self._place(scale) / (len(scale.values) - 1)

    @property
    def told(self) -> str:
        """Its setting in words."""
        scale = self.scale
        if scale is None:
            return "always"
        return f"{scale.setting.replace('_', ' ')} {self._value(scale):g}{scale.unit}"

    def move(self, steps: int) -> None:
        """Go to a stronger or weaker value of the scale, as far as it reaches."""
        if (scale := self.scale) is not None:
            place = min(len(scale.values) - 1, max(0, self._place(scale) + steps))
            self.settings[scale.setting] = scale.values[place]

    def _value(self, scale: Scale) -> float:
        return float(self.settings.get(scale.setting, scale.usual))

    def _place(self, scale: Scale) -> int:
        """Index of the value on the scale that is nearest to the present one."""
        value = self._value(scale)
        return min(range(len(scale.values)), key=lambda place: abs(scale.values[place] - value))
