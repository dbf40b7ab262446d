"""The explicit list of attacks on light, and how a text names one: `NAME:key=value,...` or `FILE.py:Class:...`."""

import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import cast

from pydantic import BaseModel, ValidationError

from common.errors import ConfigurationError
from eve.quantum_attacks.base import Attack, QuantumAttack
from eve.quantum_attacks.beam_splitting import BeamSplitting
from eve.quantum_attacks.blinding import Blinding
from eve.quantum_attacks.breidbart import Breidbart
from eve.quantum_attacks.intercept_resend import InterceptResend
from eve.quantum_attacks.jamming import Jamming
from eve.quantum_attacks.photon_number_splitting import PhotonNumberSplitting
from eve.quantum_attacks.state_discrimination import UnambiguousStateDiscrimination
from eve.quantum_attacks.time_shift import TimeShift
from eve.quantum_attacks.transparent import Transparent
from eve.quantum_attacks.trojan_horse import TrojanHorse

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


def attack_from(text: str) -> QuantumAttack:
    """Build the attack that a text names: `intercept-resend:fraction=0.25,bases=key`, `mine.py:Mine:strength=2`.

    Raises ConfigurationError with one sentence about what is wrong with it.
    """
    head, _, settings = text.partition(":")
    if not head.endswith(".py"):
        return attack_named(head, _settings(settings))
    of_class, _, settings = settings.partition(":")
    return _built(load_attack(f"{head}:{of_class}"), of_class, _settings(settings))


def attack_named(name: str, settings: Mapping[str, object]) -> QuantumAttack:
    """Build a listed attack from its settings. Raises ConfigurationError for a name or a setting it does not know."""
    if name not in ATTACKS:
        raise ConfigurationError(f"no attack is called {name!r}; there are {', '.join(ATTACKS)}")
    return _built(ATTACKS[name], name, settings)


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
    return cast("type[QuantumAttack]", loaded)


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
    except Exception as error:
        del sys.modules[name]
        raise ConfigurationError(f"{file} cannot be loaded: {type(error).__name__}: {error}") from error
    return module


def _built(of_class: type[QuantumAttack], name: str, settings: Mapping[str, object]) -> QuantumAttack:
    if not issubclass(of_class, BaseModel):
        if settings:
            raise ConfigurationError(f"{name} takes no settings")
        return of_class()
    try:
        return of_class.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        known = ", ".join(of_class.model_fields)
        raise ConfigurationError(
            f"{name} cannot have {key}: {first['msg']}; its settings are {known}"
        ) from None


def _settings(text: str) -> dict[str, object]:
    settings: dict[str, object] = {}
    for part in filter(None, text.split(",")):
        key, separator, value = part.partition("=")
        if not separator or not key or key in settings:
            raise ConfigurationError(f"{part!r} is not a setting, or came twice: write key=value,key=value")
        settings[key] = value
    return settings
