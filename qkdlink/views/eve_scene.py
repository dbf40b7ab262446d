"""What whoever plays Eve has before their eyes, gathered from the journals on the broker; no terminal, no broker."""

import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self

from qkdlink.common.errors import ConfigurationError
from qkdlink.common.journal.events import (
    BlockEnded,
    BlockOpened,
    CommandRefused,
    Entry,
    EpochBegan,
    EveLearnt,
    EveState,
    HalfLinkChanged,
    LightFault,
    LightProgress,
    LineLost,
    NodeStopped,
    PatchChanged,
    PeerRefused,
    StageReached,
)
from qkdlink.common.journal.link_state import LinkState, NodeState
from qkdlink.eve.classical_attacks.catalogue import TREATMENTS
from qkdlink.eve.quantum_attacks.catalogue import split_text
from qkdlink.eve.topics import EVE
from qkdlink.views.eve_marks import ClassicalMark, Mark
from qkdlink.views.outlook import Outlook
from qkdlink.views.telling import percent, told_refusal

UNSEEN = (BlockOpened, LightProgress, StageReached)
"""Events that come by the dozen and change nothing that is shown."""
SHOWN_BLOCKS = 12
_LATEST_BLOCKS = 60
_SHOWN_WORDS = 6


@dataclass(frozen=True, slots=True)
class Belief:
    """What a node believes of its link."""

    line: str
    keys: int
    secret_bits: int
    refused: int
    last: str

    @classmethod
    def of(cls, node: NodeState) -> Self:
        """Say it from what the node has told."""
        totals = node.totals
        last = _believed_of(node.ended[-1]) if node.ended else "no block yet"
        return cls(_connected(node), totals.keys, totals.secret_bits, totals.refused, last)


def _connected(node: NodeState) -> str:
    trouble = [entry for entry in (node.lost, *node.refusals) if entry is not None]
    latest = max(trouble, key=lambda entry: entry.time).event if trouble else None
    met = node.met and node.met.event
    match node.stopped and node.stopped.event, latest, met:
        case NodeStopped(reason=reason), _, _:
            return f"has stopped: {reason}"
        case _, LineLost(reason=reason) | PeerRefused(reason=reason), _:
            return f"trusts nobody at the other end: {reason}"
        case _, _, EpochBegan(peer=peer, authenticated_by=how):
            return f"is sure to talk with {peer}, by {how}"
    return "has not been heard of yet" if node.started is None else "is up, and has no line yet"


def _believed_of(ended: BlockEnded) -> str:
    if ended.secret_bits:
        return f"block {ended.number} is a key of {ended.secret_bits} bits that nobody else knows"
    return f"block {ended.number} is no key: {told_refusal(ended)}"


@dataclass(slots=True)
class Row:
    """A block, as its two ends and Eve tell of it."""

    number: int
    ended: BlockEnded | None = None
    learnt: EveLearnt | None = None

    @property
    def verdict(self) -> str:
        """What came of it."""
        if self.learnt is not None and self.learnt.key_recovered:
            return "HER KEY"
        if self.ended is None:
            return "under way"
        if not self.ended.secret_bits:
            return f"refused: {self.ended.aborted}"
        if self.learnt is None:
            return "a key"
        return "a key, not hers" if self.learnt.key_undetermined else "a key she knows of"

    @property
    def cells(self) -> tuple[str, ...]:
        """Number, both error rates, what she knows, what was removed, the key, the verdict."""
        ended, learnt = self.ended, self.learnt
        return (
            str(self.number),
            percent(None if ended is None else ended.qber_key),
            percent(None if ended is None else ended.qber_test),
            percent(None if learnt is None else learnt.known_fraction_of_sifted),
            "-" if learnt is None else f"{learnt.information_bits:.0f} of {learnt.sifted_bits}",
            "-" if learnt is None else str(learnt.removed_bits),
            "-" if ended is None else str(ended.secret_bits),
            self.verdict,
        )


HEADINGS = ("block", "QBER key", "QBER test", "known", "her bits", "removed", "secret", "verdict")


@dataclass(slots=True)
class Scene:
    """Everything that is shown."""

    alice: str = "alice"
    bob: str = "bob"
    state: EveState | None = None
    """What Eve has told last."""
    wanted: EveState | None = None
    """What she was told to do, which is what is shown: her state once she has answered every command."""
    asked: int = 0
    """How many commands she has not answered yet."""
    marks: list[Mark] = field(default_factory=list)
    words: deque[str] = field(default_factory=lambda: deque(maxlen=_SHOWN_WORDS))
    """The latest refusals and faults."""
    outlook: Outlook = field(default_factory=Outlook)
    now: Callable[[], float] = time.monotonic
    link: LinkState = field(init=False, repr=False)
    """What all three have told."""

    def __post_init__(self) -> None:
        self.link = LinkState(_LATEST_BLOCKS, EVE)

    @property
    def beliefs(self) -> dict[str, Belief]:
        """What each node believes of its link."""
        return {name: Belief.of(self.link.node(name)) for name in (self.alice, self.bob)}

    @property
    def rows(self) -> dict[str, Row]:
        """The latest blocks by their id, in the order of their numbers."""
        rows = {ended.block_id: Row(ended.number, ended) for ended in self.link.node(self.alice).ended}
        for learnt in self.link.eve.learnt:
            rows.setdefault(learnt.block_id, Row(learnt.number)).learnt = learnt
        ordered = sorted(rows.items(), key=lambda row: row[1].number)
        return dict(ordered[-SHOWN_BLOCKS:])

    @property
    def test_errors(self) -> list[float]:
        """Error rates of the test basis, one per block, after a zero to begin with."""
        told = (ended.qber_test for ended in self.link.node(self.alice).ended)
        return [0.0, *(rate for rate in told if rate is not None)]

    @property
    def chain(self) -> list[str]:
        """The attacks on the quantum channel that are marked, as Eve is told of them."""
        return [mark.text for mark in self.marks if mark.on and mark.channel == "quantum"]

    @property
    def treatments(self) -> list[str]:
        """The attacks on the classical channel that are marked, likewise."""
        return [mark.text for mark in self.marks if mark.on and mark.channel == "classical"]

    def hear(self, entry: Entry) -> None:
        """Take an event of anybody, once; say so if events before it did not come."""
        gap = self.link.gap_before(entry)
        if not self.link.take(entry):
            return
        if gap is not None:
            self.words.append(f"{entry.node}: {len(gap)} entries of the journal did not arrive")
        self._take(entry)
        if entry.node == self.alice:
            self.outlook.look(self.link.node(self.alice), self.now())

    def _take(self, entry: Entry) -> None:
        match entry.event:
            case EveState() as state:
                self._follow(state)
            case CommandRefused(reason=reason):
                self.asked, self.wanted = max(0, self.asked - 1), self.state
                self.words.append(f"Eve does not: {reason}")
            case LightFault() | HalfLinkChanged() | PatchChanged() as changed:
                self.words.append(_told(entry.node, changed))
            case NodeStopped(reason=reason) if entry.node == EVE:
                self.state = self.wanted = None
                self.asked = 0
                self.words.append(f"Eve has gone: {reason}")
            case _:
                return

    @property
    def place(self) -> str:
        """Where Eve sits, in one line."""
        if self.wanted is None:
            return "Eve has not been heard of: is she there?"
        told = f"light {_way(self.wanted.light)}, words {_way(self.wanted.words)}"
        told += ", in both their places" if self.wanted.impersonating else ""
        told += " (she has not answered yet)" if self.asked else ""
        return "\n".join((told, *self.wanted.obstacles))

    def ask(self, **wanted: str | bool) -> None:
        """Note that Eve was told something, and what of her state that changes."""
        self.asked += 1
        if self.wanted is not None:
            self.wanted = self.wanted.model_copy(update=wanted)

    def unheard(self) -> None:
        """Note that the latest command has not reached her."""
        self.asked = max(0, self.asked - 1)
        self.wanted = self.state

    @property
    def ahead(self) -> str:
        """When the next block comes, if it waits, and how long the link could be attacked like this."""
        next_block, reserve = self.outlook.next_block(self.now()), self.outlook.reserve
        return "\n".join(
            [
                *([] if next_block is None else [f"next: {next_block}"]),
                *([] if reserve is None else [f"the reserve {reserve}"]),
            ]
        )

    @property
    def balance(self) -> str:
        """Her knowledge of the last key against what privacy amplification removed."""
        told = [row.learnt for row in self.rows.values() if row.learnt is not None and row.learnt.secret_bits]
        if not told:
            return "She has followed no key yet."
        last = told[-1]
        return (
            f"Block {last.number}: she came to {last.information_bits:.0f} bits and heard {last.disclosed_bits},"
            f" {last.removed_bits} were removed, {last.secret_bits} are left{_whose(last)}."
        )

    def _follow(self, state: EveState) -> None:
        """Let the marks say what she does; what she leaves keeps its strength."""
        self.state = state
        self.asked = max(0, self.asked - 1)
        if self.asked and self.marks:
            return  # an answer to an earlier command: what is shown is the latest
        self.wanted = state
        making = {**_settings_of(state.attacks), **_settings_of(state.treatments)}
        known = {mark.name: mark for mark in self.marks}
        of_words = [known.get(name) or ClassicalMark(name) for name in TREATMENTS]
        of_light = dict.fromkeys((*state.known, *(name for name in making if name not in TREATMENTS)))
        self.marks = [*(known.get(name) or Mark(name) for name in of_light), *of_words]
        for mark in self.marks:
            mark.on = mark.name in making
            mark.settings = making.get(mark.name) or mark.settings


def _told(node: str, event: LightFault | HalfLinkChanged | PatchChanged) -> str:
    match event:
        case LightFault(fault=fault, detail=detail):
            return f"{node}: light {fault}: {detail}"
        case HalfLinkChanged(facing=facing, living=living, reason=reason):
            return f"Eve's program facing {facing} {'is up' if living else 'has ended'}: {reason}"
        case PatchChanged(light=light, classical=words):
            return f"{node}: light {_way(light)}, words {_way(words)}"


def _settings_of(texts: list[str]) -> dict[str, dict[str, Any]]:
    """Return the settings of each attack by its name."""
    settings: dict[str, dict[str, Any]] = {}
    for text in texts:
        with suppress(ConfigurationError):  # an attack of one's own may have settings that are no plain words
            name, of_attack = split_text(text)
            settings[name] = of_attack
    return settings


def _whose(learnt: EveLearnt) -> str:
    if learnt.key_recovered:
        return ": THE KEY IS HERS"
    return " and not hers" if learnt.key_undetermined else ": SHE KNOWS OF THE KEY"


def _way(route: str) -> str:
    return "through her" if route == EVE else "direct"
