"""What Eve can be told while she runs: JSON commands, and what she answers with, a refusal or her new state.

    {"command": "attack", "attacks": ["breidbart:fraction=0.5"]}   what she does to light, nearest to Alice first
    {"command": "treat", "treatments": ["delay:seconds=0.2"]}      what she does to words
    {"command": "plug", "light": "eve", "words": "direct"}         where she sits
    {"command": "impersonate", "on": true}                         be Bob to Alice, and Alice to Bob
    {"command": "tell"}                                            say what you do and where you sit
    {"command": "go"}                                              take yourself out and end

Whoever may write her topic at the broker may say these, so they are untrusted: bounded in size, unknown fields are
refused, and an attack is called by a name that she knows. A file is never loaded because of a message; attacks of one's
own are named in her settings.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol, assert_never

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from qkdlink.common.errors import ConfigurationError, QkdlinkError
from qkdlink.common.journal.event import Event
from qkdlink.common.journal.events import CommandRefused
from qkdlink.common.sentences import sentence
from qkdlink.common.transport.mqtt import Delivery, Subscription
from qkdlink.common.unique_json import refuse_repeated_members
from qkdlink.common.value_faults import first_fault
from qkdlink.common.wire.patch import Route
from qkdlink.eve.quantum_attacks.base import QuantumAttack
from qkdlink.eve.quantum_attacks.catalogue import ATTACKS, attack_named, split_text

LONGEST_COMMAND_BYTES = 4096
MOST_ATTACKS = 8
_LONGEST_REASON = 400

type Text = Annotated[str, StringConstraints(min_length=1, max_length=200)]
"""An attack and its settings: `NAME:key=value,...`."""


class _Command(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class AttackLight(_Command):
    """Make these attacks on light from the next frame on; none is transparent."""

    command: Literal["attack"] = "attack"
    attacks: Annotated[tuple[Text, ...], Field(max_length=MOST_ATTACKS)]


class TreatWords(_Command):
    """Do this to words from now on; nothing passes them on."""

    command: Literal["treat"] = "treat"
    treatments: Annotated[tuple[Text, ...], Field(max_length=MOST_ATTACKS)]


class Plug(_Command):
    """Sit in light or words, or do not."""

    command: Literal["plug"] = "plug"
    light: Route
    words: Route


class Impersonate(_Command):
    """Take both nodes' places with whatever was stolen, or give them back."""

    command: Literal["impersonate"] = "impersonate"
    on: bool


class Tell(_Command):
    """Say what you do and where you sit; for a front end that has come later."""

    command: Literal["tell"] = "tell"


class Go(_Command):
    """Give the link back and end."""

    command: Literal["go"] = "go"


type Command = AttackLight | TreatWords | Plug | Impersonate | Tell | Go

_COMMANDS: TypeAdapter[Command] = TypeAdapter(Annotated[Command, Field(discriminator="command")])


class Obedient(Protocol):
    """Who carries commands out; each is done, or refused with a QkdlinkError that leaves all as it was."""

    async def attack(self, attacks: Sequence[QuantumAttack]) -> None:
        """Make these attacks on light."""

    async def treat(self, treatments: Sequence[str]) -> None:
        """Do this to words."""

    async def plug(self, light: Route, words: Route) -> None:
        """Sit there."""

    async def impersonate(self, *, on: bool) -> None:
        """Take both nodes' places, or give them back."""

    def say(self) -> None:
        """Tell what she does now."""


def decode(delivery: Delivery) -> Command:
    """Read a command; ConfigurationError, one sentence, if it is none."""
    if delivery.retained:
        raise ConfigurationError("the broker kept it; a command is for the moment at which it is said")
    if len(delivery.payload) > LONGEST_COMMAND_BYTES:
        raise ConfigurationError(f"it is longer than {LONGEST_COMMAND_BYTES} bytes")
    try:
        command = _COMMANDS.validate_json(bytes(delivery.payload))
        refuse_repeated_members(bytes(delivery.payload))
    except ValidationError as error:
        raise ConfigurationError(f"it says {first_fault(error)}") from None
    except ValueError as error:
        raise ConfigurationError(f"it says {error}") from None
    return command


def attack_for(text: str, own: Mapping[str, type[QuantumAttack]]) -> QuantumAttack:
    """Build the attack that a command names, a listed one or one of her `own`; ConfigurationError for a file."""
    if text.partition(":")[0].endswith(".py"):
        raise ConfigurationError(
            "an attack of one's own is named in Eve's settings or on her command line:"
            " no program is loaded because of a message"
        )
    return attack_named(*split_text(text), {**ATTACKS, **own})


@dataclass(frozen=True, slots=True)
class Control:
    """Takes commands, one after the other."""

    eve: Obedient
    own: Mapping[str, type[QuantumAttack]]
    tell: Callable[[Event], None]

    async def run(self, commands: Subscription) -> None:
        """Obey until told to go."""
        while not await self.hear(await commands.get()):
            pass

    async def hear(self, delivery: Delivery) -> bool:
        """Obey one command or refuse it; returns whether it was to go."""
        try:
            command = decode(delivery)
            if isinstance(command, Go):
                return True
            await self._obey(command)
        except QkdlinkError as error:
            self.tell(CommandRefused(reason=sentence(error)[:_LONGEST_REASON]))
        return False

    async def _obey(self, command: AttackLight | TreatWords | Plug | Impersonate | Tell) -> None:
        match command:
            case AttackLight(attacks=texts):
                await self.eve.attack([attack_for(text, self.own) for text in texts])
            case TreatWords(treatments=texts):
                await self.eve.treat(texts)
            case Plug(light=light, words=words):
                await self.eve.plug(light, words)
            case Impersonate(on=on):
                await self.eve.impersonate(on=on)
            case Tell():
                self.eve.say()
            case _ as never:
                assert_never(never)
