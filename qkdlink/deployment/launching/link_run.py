"""What a link is launched with, and who watches it run."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from qkdlink.common.journal.events import Entry
from qkdlink.common.protocol.parameters import LinkParameters
from qkdlink.deployment.brokers.broker import RunningBroker
from qkdlink.deployment.homes.configuration import LinkAddresses
from qkdlink.deployment.homes.security import DEFAULT_SECURITY, Security
from qkdlink.deployment.stolen.leaks import Loot

type Line = Callable[[LinkAddresses], AbstractAsyncContextManager[LinkAddresses]]
"""Given where Bob listens, gives where Alice dials while the link runs."""


@dataclass(frozen=True, slots=True)
class LinkRun:
    """One run of a link on this machine: what both nodes agree on, what each is told, and what Eve may do."""

    parameters: LinkParameters
    blocks: int
    """After which Alice has done; 0 for no end."""
    seed: int | None = None
    """Of reproducible runs."""
    alice: Mapping[str, Any] = field(default_factory=dict)
    """Further settings of Alice's node (`qkdlink.alice.settings`), such as `rekey_blocks`."""
    security: Security = DEFAULT_SECURITY
    eve: Mapping[str, Any] | None = None
    """Eve's settings (`qkdlink.eve.settings`); None: she is not there.

    Where she is, she is between both nodes before either begins, and Alice gets the settings `ATTACKED` unless `alice`
    says otherwise. Unless these settings name `key_logs`, Eve reads those of both nodes, so that she can tell what she
    has learnt.
    """
    stolen: Loot | None = None
    """What Eve takes from both nodes when the link starts, so that she may take their places."""
    impersonates: bool = False
    """Whether she does so from the start."""
    line: Line = nullcontext
    """What stands between Alice and Bob's ports, such as a long line (`qkdlink.lab.faults.rough_line`)."""


@dataclass(frozen=True, slots=True)
class Observer:
    """Who is told what happens while a link runs."""

    watch: Callable[[Entry], None] = lambda _: None
    """Takes each entry of each node's journal."""
    on_broker: Callable[[RunningBroker], None] = lambda _: None
    """Takes the broker, once it runs."""
    on_eve_end: Callable[[str], None] = lambda _: None
    """Takes Eve's last words: the link can do without her, and goes on."""


NOBODY = Observer()
