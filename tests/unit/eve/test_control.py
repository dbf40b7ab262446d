"""What Eve can be told: commands are obeyed, nonsense is refused in one sentence, and neither ends her."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from qkdlink.common.errors import ConfigurationError, LinkError
from qkdlink.common.journal.event import Event
from qkdlink.common.journal.events import CommandRefused
from qkdlink.common.transport.mqtt import Delivery
from qkdlink.eve.control import LONGEST_COMMAND_BYTES, Control, decode
from qkdlink.eve.quantum_attacks.base import QuantumAttack
from qkdlink.eve.quantum_attacks.catalogue import ATTACKS, attack_from, own_attacks, text_of

OWN = """
from typing import ClassVar

from qkdlink.eve.quantum_attacks.base import Attack


class Mine(Attack):
    name: ClassVar[str] = "mine"
    strength: int = 1

    def act(self, train, chosen, tools, notes):
        return train
"""


@dataclass
class Puppet:
    """Notes what it is told to do."""

    done: list[object] = field(default_factory=list)
    broken: bool = False

    async def attack(self, attacks: Sequence[QuantumAttack]) -> None:
        self.done.append([text_of(attack) for attack in attacks])

    async def treat(self, treatments: Sequence[str]) -> None:
        self.done.append(list(treatments))

    async def plug(self, light: str, words: str) -> None:
        self.done.append((light, words))

    async def impersonate(self, *, on: bool) -> None:
        if self.broken:
            raise LinkError("bob ended with status 2")
        self.done.append(on)

    def say(self) -> None:
        self.done.append("said")


@dataclass
class Stage:
    """Eve's control with a puppet in her place."""

    own: dict[str, type[QuantumAttack]] = field(default_factory=dict)
    puppet: Puppet = field(default_factory=Puppet)
    told: list[Event] = field(default_factory=list)

    async def say(self, command: object, *, retained: bool = False) -> bool:
        payload = command if isinstance(command, bytes) else json.dumps(command).encode()
        return await Control(self.puppet, self.own, self.told.append).hear(Delivery(payload, retained))

    @property
    def refusal(self) -> str:
        (refused,) = self.told
        assert isinstance(refused, CommandRefused)
        assert self.puppet.done == []
        return refused.reason


async def test_whoever_comes_later_asks_what_she_does():
    stage = Stage()
    await stage.say({"command": "tell"})
    assert stage.puppet.done == ["said"]


async def test_attacks_plugs_treatments_and_impersonation_are_carried_out_in_order():
    stage = Stage()
    await stage.say({"command": "attack", "attacks": ["breidbart:fraction=0.25", "jamming:kind=darkness"]})
    await stage.say({"command": "plug", "light": "eve", "words": "direct"})
    await stage.say({"command": "treat", "treatments": ["delay:seconds=1"]})
    await stage.say({"command": "impersonate", "on": True})
    await stage.say({"command": "attack", "attacks": []})
    first, *others = stage.puppet.done
    assert isinstance(first, list)
    assert [text.partition(":")[0] for text in first] == ["breidbart", "jamming"]
    assert others == [("eve", "direct"), ["delay:seconds=1"], True, []]
    assert stage.told == []


async def test_only_go_ends_her():
    assert await Stage().say({"command": "go"})
    assert not await Stage().say({"command": "attack", "attacks": []})
    assert not await Stage().say(b"nonsense")


NONSENSE = {
    "no-json": (b"{", "Invalid JSON"),
    "empty": (b"", "Invalid JSON"),
    "not-text": (b"\xff\xfe", "Invalid JSON"),
    "a-list": ([], "must be a table of keys"),
    "no-command": ({}, "discriminator"),
    "unknown-command": ({"command": "dance"}, "dance"),
    "surplus": ({"command": "go", "now": True}, "'go.now', which is not a key here"),
    "unknown-route": ({"command": "plug", "light": "moon", "words": "eve"}, "moon"),
    "one-for-true": ({"command": "impersonate", "on": 1}, "impersonate.on"),
    "a-text-for-true": ({"command": "impersonate", "on": "yes"}, "impersonate.on"),
    "half-a-plug": ({"command": "plug", "light": "eve"}, "words"),
    "unknown-attack": ({"command": "attack", "attacks": ["teleport"]}, "No attack is called 'teleport'"),
    "unknown-setting": ({"command": "attack", "attacks": ["breidbart:x=1"]}, "its settings are fraction"),
    "impossible-strength": ({"command": "attack", "attacks": ["breidbart:fraction=2"]}, "must be at most 1"),
    "not-a-number": ({"command": "attack", "attacks": ["breidbart:fraction=nan"]}, "fraction"),
    "no-setting": ({"command": "attack", "attacks": ["breidbart:loud"]}, "write key=value"),
    "too-many": ({"command": "attack", "attacks": 9 * ["breidbart"]}, "at most 8"),
    "too-long-a-name": ({"command": "attack", "attacks": [201 * "x"]}, "200 characters"),
    "too-long": (b" " * (LONGEST_COMMAND_BYTES + 1), "longer than 4096 bytes"),
    "deep": (b"[" * 4000, "JSON"),
}


@pytest.mark.parametrize("case", NONSENSE)
async def test_nonsense_is_refused_in_one_sentence_and_changes_nothing(case: str):
    said, reason = NONSENSE[case]
    stage = Stage()
    await stage.say(said)
    assert reason in stage.refusal
    assert len(stage.refusal) <= 400
    assert "\n" not in stage.refusal


async def test_a_command_that_the_broker_kept_is_refused():
    stage = Stage()
    await stage.say({"command": "attack", "attacks": []}, retained=True)
    assert "The broker kept it" in stage.refusal


async def test_no_program_is_loaded_because_of_a_message(tmp_path: Path):
    (tmp_path / "bomb.py").write_text(
        f"from pathlib import Path\nPath({str(tmp_path / 'loaded')!r}).touch()\n"
    )
    for text in (f"{tmp_path}/bomb.py:Bomb", f"{tmp_path}/bomb.py"):
        stage = Stage()
        await stage.say({"command": "attack", "attacks": [text]})
        assert "no program is loaded because of a message" in stage.refusal
    assert not (tmp_path / "loaded").exists()


async def test_an_attack_of_ones_own_that_her_settings_name_is_called_by_its_name(tmp_path: Path):
    (tmp_path / "mine.py").write_text(OWN)
    stage = Stage(own=own_attacks([f"{tmp_path}/mine.py:Mine"]))
    await stage.say({"command": "attack", "attacks": ["mine:strength=3"]})
    assert stage.puppet.done == [["mine:fraction=1.0,strength=3"]]


async def test_what_cannot_be_carried_out_is_told_like_a_refusal():
    stage = Stage(puppet=Puppet(broken=True))
    assert not await stage.say({"command": "impersonate", "on": True})
    assert "ended with status 2" in stage.refusal


@pytest.mark.parametrize("name", ATTACKS)
def test_the_text_of_an_attack_names_that_attack(name: str):
    attack = attack_from(name)
    assert attack_from(text_of(attack)) == attack


def test_a_command_that_is_none_is_no_crash_but_an_error_for_people():
    with pytest.raises(ConfigurationError, match="it says"):
        decode(Delivery(b"1", retained=False))
