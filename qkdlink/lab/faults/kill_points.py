"""Where a process may be killed: named moments before or after a call of a method of the program.

Nothing of this is in the program itself. The process that is to die wraps the method when it starts, counts the calls
that match, and sends itself SIGKILL, so that not a line of it runs any more.
"""

import inspect
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from qkdlink.bob.receiver import MqttReceiver
from qkdlink.bob.station import Bob
from qkdlink.common.keys.allotment import OF_ALICE, OF_BOB, Purpose
from qkdlink.common.node import dialling
from qkdlink.common.node.link import Link
from qkdlink.common.protocol.conversation import Conversation
from qkdlink.common.protocol.phases import BlockPhase
from qkdlink.common.store import opening, sealing
from qkdlink.common.store.database import Database
from qkdlink.common.store.key_store import KeyStore
from qkdlink.common.store.ledger import Ledger
from qkdlink.common.store.schema import Entry
from qkdlink.common.store.sealing import StoreSeal
from qkdlink.common.store.tag_units import TagUnits
from qkdlink.common.transport.light import LightOutlet
from qkdlink.common.wire.messages import (
    AmplificationSeed,
    Checkpoint,
    Confirmation,
    Hello,
    Holdings,
    ParityAnswers,
    ParityQuestions,
)
from qkdlink.deployment.homes.names import ALICE, BOB

type Matches = Callable[..., bool]
"""Whether a call counts: of its arguments, followed by its result where the point comes after the call."""

_BOTH, _ALICE, _BOB = (ALICE, BOB), (ALICE,), (BOB,)
_LATER = 3
_CONFIRMATIONS = (BlockPhase.BOB_CONFIRMED, BlockPhase.CONFIRMED)


@dataclass(frozen=True, slots=True)
class KillPoint:
    """Where a process may die."""

    name: str
    owner: Any
    """A class, or a module whose global it is."""
    method: str
    after: bool
    nodes: tuple[str, ...] = _BOTH
    matches: Matches = lambda *_: True
    later: int = _LATER
    """At which of its calls a link is well past its bootstrap."""


def _before(name: str, owner: object, method: str, nodes: tuple[str, ...] = _BOTH) -> KillPoint:
    return KillPoint(name, owner, method, after=False, nodes=nodes)


def _after(
    name: str, owner: object, method: str, nodes: tuple[str, ...] = _BOTH, later: int = _LATER
) -> KillPoint:
    return KillPoint(name, owner, method, after=True, nodes=nodes, later=later)


def _within(name: str, owner: object, method: str, matches: Matches) -> KillPoint:
    """In the middle of a change of the store, whose transaction is still open after this call."""
    return KillPoint(name, owner, method, after=True, matches=matches)


def _at_first_start(name: str, owner: object, method: str, *, after: bool = True) -> KillPoint:
    return KillPoint(name, owner, method, after=after, later=1)


def _said(name: str, *kinds: type, nodes: tuple[str, ...] = _BOTH, later: int = _LATER) -> KillPoint:
    return KillPoint(
        name,
        Conversation,
        "say",
        after=True,
        nodes=nodes,
        matches=lambda _, message, __: isinstance(message, kinds),
        later=later,
    )


def _heard(name: str, kind: type) -> KillPoint:
    return KillPoint(name, Conversation, "hear", after=True, matches=lambda *call: isinstance(call[-1], kind))


def _is_last_checkpoint(conversation: Conversation, *call: object) -> bool:
    return conversation.phase in _CONFIRMATIONS and any(isinstance(each, Checkpoint) for each in call)


POINTS = (
    _at_first_start("before-the-store-key", sealing, "write_new", after=False),
    _at_first_start("before-furnishing-the-store", opening, "_open_seal"),
    _at_first_start("mid-furnishing-the-store", Database, "set_meta"),
    _after("mid-light", LightOutlet, "send", _ALICE, later=8),
    _after("mid-light", MqttReceiver, "_take", _BOB, later=8),
    _after("after-using-a-number", KeyStore, "opened", _ALICE),
    _said("mid-reconciliation", ParityQuestions, ParityAnswers, later=60),
    _said("after-the-amplification-seed", AmplificationSeed, nodes=_ALICE),
    _after("after-taking-a-tag-key", TagUnits, "take"),
    _within("mid-taking-a-tag-key", Ledger, "enter", lambda *call: call[3] in OF_ALICE + OF_BOB),
    _before("before-noting-a-tag-key-as-used", TagUnits, "used"),
    _after("after-noting-a-tag-key-as-used", TagUnits, "used"),
    _before("before-hold", KeyStore, "hold"),
    _within("mid-hold", StoreSeal, "seal", lambda _, __, place, ___: place.endswith(Purpose.LINK_PSK)),
    _after("after-hold", KeyStore, "hold"),
    _before("before-release", KeyStore, "release"),
    _within("mid-release", Ledger, "enter", lambda _, __, entry, *___: entry is Entry.PRODUCED),
    _after("after-release", KeyStore, "release"),
    _said("after-saying-confirmation", Confirmation),
    _heard("after-hearing-confirmation", Confirmation),
    KillPoint(
        "after-saying-the-last-checkpoint", Conversation, "say", after=True, matches=_is_last_checkpoint
    ),
    KillPoint(
        "after-hearing-the-last-checkpoint", Conversation, "hear", after=True, matches=_is_last_checkpoint
    ),
    _after("after-dialling-with-a-new-key", dialling, "dial_psk", _ALICE),
    _before("after-accepting-a-new-key", Bob, "_welcome_keyed", _BOB),
    _said("after-saying-hello", Hello),
    _heard("after-hearing-hello", Hello),
    _said("after-saying-holdings", Holdings),
    _heard("after-hearing-holdings", Holdings),
    _before("before-the-epoch", KeyStore, "begin_epoch"),
    _within(
        "at-the-latch", Database, "set_meta", lambda _, name, value, __: (name, value) == ("latched", "1")
    ),
    _after("after-the-epoch", KeyStore, "begin_epoch"),
    _before("before-closing-the-bootstrap", Bob, "_close_bootstrap", _BOB),
    _after("after-goodbye", Link, "say_goodbye", _ALICE),
    _before("before-discard", KeyStore, "discard", _BOB),
    _after("after-discard", KeyStore, "discard", _BOB),
)


def point(name: str, node: str) -> KillPoint:
    """Find a kill point of a node by its name; KeyError if it has none of this name."""
    for each in POINTS:
        if each.name == name and node in each.nodes:
            return each
    raise KeyError(f"{node} has no kill point {name}")


def arm(at: KillPoint, on: int) -> None:
    """Wrap the method: the process dies at the `on`-th call that matches."""
    method: Callable[..., Any] = getattr(at.owner, at.method)
    calls = 0

    def passed(*call: object) -> None:
        nonlocal calls
        if at.matches(*call):
            calls += 1
            if calls == on:
                os.kill(os.getpid(), signal.SIGKILL)

    def wrapped(*arguments: object, **further: object) -> object:
        if not at.after:
            passed(*arguments)
            return method(*arguments, **further)
        result = method(*arguments, **further)
        passed(*arguments, result)
        return result

    async def awaited(*arguments: object, **further: object) -> object:
        if not at.after:
            passed(*arguments)
            return await method(*arguments, **further)
        result = await method(*arguments, **further)
        passed(*arguments, result)
        return result

    setattr(at.owner, at.method, awaited if inspect.iscoroutinefunction(method) else wrapped)
