"""The explicit list of attacks on words, and how a text names one: `NAME:key=value,...`."""

from pydantic import ValidationError

from qkdlink.common.errors import ConfigurationError
from qkdlink.common.value_faults import first_fault
from qkdlink.eve.classical_attacks.base import ClassicalAttack
from qkdlink.eve.classical_attacks.cut import Cut
from qkdlink.eve.classical_attacks.delay import Delay
from qkdlink.eve.classical_attacks.drop import Drop
from qkdlink.eve.classical_attacks.reflect import Reflect
from qkdlink.eve.classical_attacks.replay import Replay
from qkdlink.eve.classical_attacks.show_certificate import ShowCertificate
from qkdlink.eve.classical_attacks.tamper import Tamper

_LISTED: tuple[type[ClassicalAttack], ...] = (Delay, Drop, Tamper, Replay, Reflect, Cut, ShowCertificate)

TREATMENTS: dict[str, type[ClassicalAttack]] = {attack.name: attack for attack in _LISTED}
"""Every attack on words by its name."""


def treatment_from(text: str) -> ClassicalAttack:
    """Build the attack that a text names: `delay:seconds=0.2`, `tamper:every=50`.

    Raises ConfigurationError with one sentence about what is wrong with it.
    """
    name, _, told = text.partition(":")
    if name not in TREATMENTS:
        raise ConfigurationError(f"no attack on words is called {name!r}; there are {', '.join(TREATMENTS)}")
    settings = dict(_setting(each, text) for each in told.split(",")) if told else {}
    try:
        return TREATMENTS[name].model_validate_strings(settings)
    except ValidationError as error:
        raise ConfigurationError(f"the attack on words {text!r} says {first_fault(error)}") from None


def text_of(attack: ClassicalAttack) -> str:
    """Write an attack as the text that names it, with the settings that are not as usual."""
    told = ",".join(f"{key}={value}" for key, value in attack.model_dump(exclude_defaults=True).items())
    return f"{attack.name}:{told}" if told else attack.name


def _setting(text: str, whole: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator:
        raise ConfigurationError(f"{text!r} in {whole!r} is no setting: write key=value")
    return key.strip(), value.strip()
