"""Fold journal entries into the state of a link: the one place where events become state.

Pure: no clock, no file, no broker. What it holds is bounded however long a link runs; totals count what was dropped.
"""

from collections import Counter, deque
from dataclasses import dataclass, field

from qkdlink.common.journal.block_record import BlockRecord
from qkdlink.common.journal.events import (
    IN_ORDER,
    AttackTally,
    BlockEnded,
    BlockOpened,
    BlockPostponed,
    BootstrapClosed,
    BrokerBack,
    BrokerLost,
    Entry,
    EpochBegan,
    EveLearnt,
    EveState,
    HalfLinkChanged,
    LightFault,
    LightProgress,
    LineLost,
    NodeStarted,
    NodeStopped,
    PatchChanged,
    PeerRefused,
    ReserveCounted,
    StageReached,
)
from qkdlink.common.journal.key_levels import KeyLevels
from qkdlink.common.journal.sequence import EntrySequence, Gap

KEPT = 1000
"""How many ended blocks, connections and refusals of each node are kept one by one."""
KEPT_RECORDS = 100
"""How many records of blocks are kept of each node: one takes some 32 KiB."""
_UNDER_WAY = 64
_NAMES = 64
"""How many names, which a journal that is not ours may invent, are counted apart or followed."""
OTHER = "other"


@dataclass(slots=True)
class BlockUnderWay:
    """A block that has been opened and has not ended."""

    number: int
    pulses: int
    authenticated_by: str | None
    """What authenticated the connection on which it began; None if no connection was known."""
    light: int = 0
    """Pulses that were sent (Alice) or measured (Bob)."""
    stage: str | None = None
    """The stage of distillation that it has left last."""


@dataclass(slots=True)
class Totals:
    """Sums over all blocks that a node has ended, also over those that are not kept."""

    blocks: int = 0
    keys: int = 0
    refused: int = 0
    pulses: int = 0
    detections: int = 0
    sifted_bits: int = 0
    leaked_bits: int = 0
    secret_bits: int = 0
    refusals: Counter[str] = field(default_factory=Counter)
    """Blocks without a key, by the reason."""

    def add(self, ended: BlockEnded) -> None:
        """Count a block."""
        self.blocks += 1
        self.pulses += ended.pulses
        self.detections += ended.detections
        self.sifted_bits += ended.sifted_bits
        self.leaked_bits += ended.leaked_bits
        self.secret_bits += ended.secret_bits
        if ended.secret_bits:
            self.keys += 1
        else:
            self.refused += 1
            _count(self.refusals, ended.aborted or OTHER, 1)


def _count(counts: Counter[str], name: str, times: int) -> None:
    counts[name if name in counts or len(counts) < _NAMES else OTHER] += times


@dataclass(slots=True)
class NodeState:
    """What one node has told of itself, of its connections and of its blocks."""

    kept: int = KEPT
    lives: int = 0
    latest: float | None = None
    """When its latest entry was written; seconds since 1970, as all times here."""
    started: Entry | None = None
    """The start of its latest life."""
    stopped: Entry | None = None
    """How its latest life ended; None while it lasts."""
    broker_trouble: str | None = None
    insecure: bool = False
    """Whether the node has said at its start that its keys are unauthenticated, reproducible or written down."""
    connection: EpochBegan | None = None
    """The connection that stands, with what authenticates it."""
    met: Entry | None = None
    """The latest connection of this life."""
    lost: Entry | None = None
    """The loss of that connection, if the peer has not been met again."""
    refusals: deque[Entry] = field(init=False)
    """Since the latest meeting."""
    epochs: deque[EpochBegan] = field(init=False)
    under_way: dict[str, BlockUnderWay] = field(default_factory=dict)
    """By block identifier."""
    ended: deque[BlockEnded] = field(init=False)
    totals: Totals = field(default_factory=Totals)
    light_faults: Counter[str] = field(default_factory=Counter)
    """Frames, by the name of the fault."""
    bootstrap: BootstrapClosed | None = None
    postponed: Entry | None = None
    """Why and how long the next block waits."""
    reserve: ReserveCounted | None = None
    key_levels: KeyLevels | None = None
    records: deque[BlockRecord] = field(init=False)
    """Of the latest blocks, with a key or without."""
    patch: PatchChanged | None = None
    sequence: EntrySequence = field(default_factory=EntrySequence)

    def __post_init__(self) -> None:
        self.refusals = deque(maxlen=self.kept)
        self.epochs = deque(maxlen=self.kept)
        self.ended = deque(maxlen=self.kept)
        self.records = deque(maxlen=min(self.kept, KEPT_RECORDS))

    @property
    def is_up(self) -> bool:
        """Whether the node has started and has not stopped."""
        return self.started is not None and self.stopped is None

    def has_settled(self, with_key: set[str]) -> bool:
        """Return whether every block that was opened here, and each of `with_key`, has ended here."""
        return not self.under_way and with_key <= {block.block_id for block in self.ended}

    @property
    def failure(self) -> Entry | None:
        """How its latest life ended, if that was by an error."""
        match self.stopped:
            case Entry(event=NodeStopped(reason=reason)) if reason != IN_ORDER:
                return self.stopped
            case _:
                return None

    def take(self, entry: Entry) -> None:
        """Take an entry of this node that was not taken before."""
        self.latest = entry.time
        self._take_life(entry)
        self._take_connection(entry)
        self._take_block(entry)

    def _take_life(self, entry: Entry) -> None:
        match entry.event:
            case NodeStarted() as started:
                self._begin_life(entry, started)
            case NodeStopped():
                self.stopped = entry
                self.connection = self.postponed = self.reserve = None
            case BrokerLost(reason=reason):
                self.broker_trouble = reason
            case BrokerBack():
                self.broker_trouble = None
            case PatchChanged() as patch:
                self.patch = patch
            case _:
                return

    def _begin_life(self, entry: Entry, started: NodeStarted) -> None:
        self.lives += 1
        self.started, self.stopped, self.broker_trouble = entry, None, None
        self.insecure = started.unauthenticated or started.reproducible or started.tls_key_log
        self.connection = self.met = self.lost = self.postponed = self.reserve = self.patch = None
        self.refusals.clear()
        self.under_way.clear()

    def _take_connection(self, entry: Entry) -> None:
        match entry.event:
            case EpochBegan() as began:
                self.connection, self.met, self.lost = began, entry, None
                self.epochs.append(began)
                self.refusals.clear()
            case LineLost():
                self.connection, self.lost = None, entry
            case PeerRefused():
                self.refusals.append(entry)
            case BootstrapClosed() as closed:
                self.bootstrap = closed
            case _:
                return

    def _take_block(self, entry: Entry) -> None:
        match entry.event:
            case BlockPostponed():
                self.postponed = entry
            case BlockRecord() as record:
                self.records.append(record)
            case KeyLevels() as levels:
                self.key_levels = levels
            case ReserveCounted() as counted:
                self.reserve = counted
            case BlockOpened() as opened:
                self._open(opened)
            case LightProgress(block_id=block, pulses=pulses) if block in self.under_way:
                self.under_way[block].light = pulses
            case StageReached(block_id=block, stage=stage) if block in self.under_way:
                self.under_way[block].stage = stage
            case LightFault(fault=fault, frames=frames):
                _count(self.light_faults, fault, frames)
            case BlockEnded() as ended:
                self.under_way.pop(ended.block_id, None)
                self.ended.append(ended)
                self.totals.add(ended)
            case _:
                return

    def _open(self, opened: BlockOpened) -> None:
        self.postponed = None
        how = None if self.connection is None else self.connection.authenticated_by
        self.under_way[opened.block_id] = BlockUnderWay(opened.number, opened.pulses, how)
        while len(self.under_way) > _UNDER_WAY:
            del self.under_way[next(iter(self.under_way))]


@dataclass(slots=True)
class EveActivity:
    """What Eve has told: what she does, where she sits, what she has learnt."""

    kept: int = KEPT
    state: EveState | None = None
    learnt: deque[EveLearnt] = field(init=False)
    tallies: deque[AttackTally] = field(init=False)
    half_links: dict[str, HalfLinkChanged] = field(default_factory=dict)
    """By the node that they face."""

    def __post_init__(self) -> None:
        self.learnt = deque(maxlen=self.kept)
        self.tallies = deque(maxlen=self.kept)

    def take(self, entry: Entry) -> None:
        """Take an entry; only those of Eve's events matter here."""
        match entry.event:
            case EveState() as state:
                self.state = state
            case EveLearnt() as learnt:
                self.learnt.append(learnt)
            case AttackTally() as tally:
                self.tallies.append(tally)
            case HalfLinkChanged(facing=facing) as changed if (
                facing in self.half_links or len(self.half_links) < _NAMES
            ):
                self.half_links[facing] = changed
            case _:
                return


@dataclass(slots=True)
class LinkState:
    """The state of a link as its nodes' journals tell it.

    `kept` bounds what is kept one by one; a launcher that lists every block of a run gives their number.
    """

    kept: int = KEPT
    eavesdropper: str | None = None
    """Whose entries tell of Eve; None if nobody's do. What a node says of her is not taken."""
    nodes: dict[str, NodeState] = field(default_factory=dict)
    eve: EveActivity = field(init=False)

    def __post_init__(self) -> None:
        self.eve = EveActivity(self.kept)

    def node(self, name: str) -> NodeState:
        """Return the state of a node, which may not have told anything yet."""
        if name not in self.nodes and len(self.nodes) >= _NAMES:
            return NodeState(self.kept)  # more nodes than any link has: a journal that is not ours
        return self.nodes.setdefault(name, NodeState(self.kept))

    def take(self, entry: Entry) -> bool:
        """Take an entry; return whether it is new. A gap before it is named in `gaps`."""
        node = self.node(entry.node)
        if not node.sequence.accept(entry):
            return False
        node.take(entry)
        if entry.node == self.eavesdropper:
            self.eve.take(entry)
        return True

    def gap_before(self, entry: Entry) -> Gap | None:
        """Return which entries of the node are missing before this one, so that a reader may fetch them first."""
        return self.node(entry.node).sequence.gap_before(entry)

    @property
    def gaps(self) -> list[Gap]:
        """Return the gaps that could not be healed."""
        return [gap for node in self.nodes.values() for gap in node.sequence.gaps]
