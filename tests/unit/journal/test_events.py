import json
from typing import TypeAliasType, get_args

import pytest
from pydantic import BaseModel, ValidationError

from qkdlink.common.journal import events
from qkdlink.common.journal.event import Event
from qkdlink.common.journal.events import ENTRY, Entry, EveState, LightFault, LineLost, StageReached
from qkdlink.common.printable import LONGEST_TEXT

EVENTS = sorted(Event.__subclasses__(), key=lambda kind: kind.__name__)
HARMLESS = (str, int, float, bool, type(None))


@pytest.mark.parametrize("kind", EVENTS)
def test_no_field_of_an_event_can_hold_bytes_or_anything_that_hides_them(kind: type[Event]):
    for name, field in kind.model_fields.items():
        for held in _leaves(field.annotation):
            assert held in HARMLESS, f"{kind.__name__}.{name} can hold {held}"
    assert kind.model_config["strict"], "otherwise bytes that happen to be UTF-8 become text"


@pytest.mark.parametrize("kind", EVENTS)
def test_bytes_are_refused_by_every_field_of_an_event(kind: type[Event]):
    for name in kind.model_fields:
        for secret in (b"\xff\xfe secret", b"a secret that is ASCII", bytearray(b"7")):
            with pytest.raises(ValidationError) as refused:
                kind.model_validate({name: secret})
            assert name in {error["loc"][0] for error in refused.value.errors() if error["type"] != "missing"}


def test_an_unknown_field_is_refused():
    with pytest.raises(ValidationError, match="Extra inputs"):
        StageReached(block_id="b", number=1, stage="sift", key="0f")  # type: ignore[call-arg]


def test_text_of_an_event_is_printable_and_bounded_whoever_wrote_it_down():
    spoilt = {"type": "line-lost", "reason": "\x1b[2J" + "x" * 3000}
    state = {"type": "eve-state", "attacks": ["a\nb"], "treatments": [], "light": "direct", "words": "direct"}
    state |= {"impersonating": False, "known": []}
    read = [
        ENTRY.validate_json(json.dumps({"node": "bo\x9bb", "time": 0.0, "event": event}))
        for event in (spoilt, state)
    ]
    assert read[0].node == r"bo\x9bb"
    assert isinstance(read[0].event, LineLost)
    assert read[0].event.reason.startswith(r"\x1b[2Jxxx")
    assert len(read[0].event.reason) == LONGEST_TEXT
    assert isinstance(read[1].event, EveState)
    assert read[1].event.attacks == [r"a\nb"]


def test_every_event_can_be_told_and_read_again():
    event = LightFault(fault="lost", detail="frame 3 of 9 did not come", frames=1)
    entry = Entry(node="bob", time=1.5, event=event)
    assert ENTRY.validate_json(entry.model_dump_json()) == entry
    assert json.loads(entry.model_dump_json())["event"]["type"] == "light-fault"


def test_every_event_has_its_place_in_the_union_and_a_name_of_its_own():
    union = get_args(get_args(events.AnyEvent.__value__)[0])
    assert set(union) == set(EVENTS)
    names = [kind.model_fields["type"].default for kind in EVENTS]
    assert len(set(names)) == len(names)


def test_an_event_cannot_be_changed_after_it_was_told():
    event = StageReached(block_id="b", number=1, stage="sift")
    with pytest.raises(ValidationError, match="frozen"):
        event.stage = "amplify"  # type: ignore[misc]


def _leaves(hint: object) -> set[object]:
    if isinstance(hint, TypeAliasType):
        return _leaves(hint.__value__)
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        assert hint.model_config["strict"], "otherwise bytes that happen to be UTF-8 become text"
        return {leaf for field in hint.model_fields.values() for leaf in _leaves(field.annotation)}
    if hasattr(hint, "__metadata__"):
        return _leaves(get_args(hint)[0])
    arguments = [argument for argument in get_args(hint) if argument is not ...]
    if not arguments:
        return {hint}
    return {
        leaf
        for argument in arguments
        for leaf in ({type(argument)} if isinstance(argument, str | int) else _leaves(argument))
    }
