"""The explicit list of attacks on light, and how a text names one: `NAME:key=value,...` or `FILE.py:Class:...`."""

import hashlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import cast

from pydantic import BaseModel, ValidationError

from qkdlink.common.errors import ConfigurationError
from qkdlink.common.value_faults import value_fault
from qkdlink.eve.quantum_attacks.base import Attack, QuantumAttack
from qkdlink.eve.quantum_attacks.beam_splitting import BeamSplitting
from qkdlink.eve.quantum_attacks.blinding import Blinding
from qkdlink.eve.quantum_attacks.breidbart import Breidbart
from qkdlink.eve.quantum_attacks.intercept_resend import InterceptResend
from qkdlink.eve.quantum_attacks.jamming import Jamming
from qkdlink.eve.quantum_attacks.photon_number_splitting import PhotonNumberSplitting
from qkdlink.eve.quantum_attacks.state_discrimination import UnambiguousStateDiscrimination
from qkdlink.eve.quantum_attacks.time_shift import TimeShift
from qkdlink.eve.quantum_attacks.transparent import Transparent
from qkdlink.eve.quantum_attacks.trojan_horse import TrojanHorse

_LISTED: tuple[type[Attack], ...] = (
    Transparent,
    InterceptResend,
    Breidbart,
    PhotonNumberSplitting,
    BeamSplitting,
    UnambiguousStateDiscrimination,
    Blinding,
    TimeShift,
    TrojanHorse,
    Jamming,
)

ATTACKS: dict[str, type[Attack]] = {attack.name: attack for attack in _LISTED}
"""Every attack by its name."""

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


def attack_from(text: str) -> QuantumAttack:
    """Build the attack that a text names: `intercept-resend:fraction=0.25,bases=key`, `mine.py:Mine:strength=2`.

    Raises ConfigurationError with one sentence about what is wrong with it.
    """
    head, _, rest = text.partition(":")
    if not head.endswith(".py"):
        return attack_named(*split_text(text))
    of_class, settings = split_text(rest)
    return _built(load_attack(f"{head}:{of_class}"), of_class, settings)


def attack_named(
    name: str, settings: Mapping[str, object], among: Mapping[str, type[QuantumAttack]] = ATTACKS
) -> QuantumAttack:
    """Build a listed attack from its settings. Raises ConfigurationError for a name or a setting it does not know."""
    if name not in among:
        raise ConfigurationError(f"no attack is called {name!r}; there are {', '.join(among)}")
    return _built(among[name], name, settings)


def split_text(text: str) -> tuple[str, dict[str, object]]:
    """Read `NAME:key=value,...` as a name and its settings; ConfigurationError if these are none."""
    name, _, settings = text.partition(":")
    return name, _settings(settings)


def text_of(attack: QuantumAttack) -> str:
    """Return the text that names an attack with all its settings."""
    settings = attack.model_dump(mode="json") if isinstance(attack, BaseModel) else {}
    told = ",".join(f"{key}={value}" for key, value in settings.items() if value is not None)
    return f"{attack.name}:{told}" if told else attack.name


def own_attacks(places: Sequence[str]) -> dict[str, type[QuantumAttack]]:
    """Load attacks of one's own from `FILE.py:Class` texts, by their names.

    Raises ConfigurationError if one cannot be loaded, or if two have one name.
    """
    own: dict[str, type[QuantumAttack]] = {}
    for place in places:
        attack = load_attack(place)
        if attack.name in own:
            raise ConfigurationError(f"{place} is called {attack.name!r}, as another attack of one's own is")
        own[attack.name] = attack
    return own


def load_attack(where: str) -> type[QuantumAttack]:
    """Load the class of an attack of one's own from `FILE.py:Class`; the file is run as the user's own program.

    Raises ConfigurationError with one sentence if there is no such file or class, or if it is no attack.
    """
    file, separator, name = where.rpartition(":")
    if not separator or not file.endswith(".py") or not name.isidentifier():
        raise ConfigurationError(f"{where!r} does not name an attack: write FILE.py:Class")
    loaded = getattr(_module(Path(file)), name, None)
    if not inspect.isclass(loaded):
        raise ConfigurationError(f"{file} defines no class {name}")
    if not callable(getattr(loaded, "touch", None)) or not isinstance(getattr(loaded, "name", None), str):
        raise ConfigurationError(
            f"{name} in {file} is no attack: it needs a `name` and a method touch(train, tools, notes)"
        )
    if inspect.isabstract(loaded):
        raise ConfigurationError(f"{name} in {file} is no attack yet: it lacks the method `act`")
    attack = cast("type[QuantumAttack]", loaded)
    _check_name(attack.name, f"{name} in {file}")
    return attack


def _check_name(name: str, place: str) -> None:
    """Refuse what cannot be said on a command line or in a message, and what is said for something else."""
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{place} is called {name!r}: its `name` has to be of at most 64 lower-case letters, digits and hyphens"
        )
    if name in ATTACKS:
        raise ConfigurationError(f"{place} is called {name!r}, as a listed attack is: give it another `name`")


def _module(file: Path) -> ModuleType:
    if not file.is_file():
        raise ConfigurationError(f"there is no file {file}")
    # pydantic looks a class's module up by its name, which must not be that of a package of ours
    name = f"attack_{hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:16]}"
    specification = importlib.util.spec_from_file_location(name, file)
    if specification is None or specification.loader is None:
        raise ConfigurationError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    try:
        specification.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise ConfigurationError(f"{file} cannot be loaded: {type(error).__name__}: {error}") from error
    return module


def _built(of_class: type[QuantumAttack], name: str, settings: Mapping[str, object]) -> QuantumAttack:
    if settings and not issubclass(of_class, BaseModel):
        raise ConfigurationError(f"{name} takes no settings")
    try:
        return _validated(of_class, name, settings) if issubclass(of_class, BaseModel) else of_class()
    except ConfigurationError:
        raise
    except (Exception, SystemExit) as error:
        raise ConfigurationError(f"{name} cannot be made: {type(error).__name__}: {error}") from error


def _validated[Model: BaseModel](of_class: type[Model], name: str, settings: Mapping[str, object]) -> Model:
    try:
        return of_class.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        known = ", ".join(of_class.model_fields)
        raise ConfigurationError(
            f"{name} cannot have {key}: {value_fault(first, key)}; its settings are {known}"
        ) from None


def _settings(text: str) -> dict[str, object]:
    settings: dict[str, object] = {}
    for part in filter(None, text.split(",")):
        key, separator, value = part.partition("=")
        if not separator or not key or key in settings:
            raise ConfigurationError(f"{part!r} is not a setting, or came twice: write key=value,key=value")
        settings[key] = value
    return settings
