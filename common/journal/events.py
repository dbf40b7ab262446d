"""Events that a node may tell. Their fields are numbers, names and sentences: no bytes, so no key can get in.

Text is made printable and bounded (`qkdlink.common.journal.event`), whether a node writes an event or reads one from a
broker: parts of it may be what a peer, a stranger or a broker has said.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter

from qkdlink.common.journal.block_record import BlockRecord
from qkdlink.common.journal.event import Event
from qkdlink.common.journal.key_levels import KeyLevels
from qkdlink.common.printable import printable


class NodeStarted(Event):
    """The node is up; `role` is alice or bob."""

    type: Literal["node-started"] = "node-started"
    role: str
    link: str
    broker: str
    reproducible: bool
    unauthenticated: bool = False
    """Whether the keys that it makes go back to a bootstrap without authentication: applications get none of them."""
    tls_key_log: bool = False
    """Whether it writes down the secrets of its TLS sessions, so that a laboratory can read the classical line."""


IN_ORDER = "ended"
"""Why a node stopped that was told to, or had done all that it had to."""


class NodeStopped(Event):
    """The node has ended."""

    type: Literal["node-stopped"] = "node-stopped"
    reason: str
    """"ended" in order, else the sentence that its operator was told."""


class PeerRefused(Event):
    """Somebody was turned away at the classical port, or the peer turned us away."""

    type: Literal["peer-refused"] = "peer-refused"
    reason: str


class EpochBegan(Event):
    """The classical line stands: what authenticates it, by which TLS version."""

    type: Literal["epoch-began"] = "epoch-began"
    epoch: int
    session: str
    authenticated_by: str
    tls_version: str
    key_id: str | None
    peer: str
    peer_fingerprint: str | None
    """SHA-256 of the peer's certificate; None where a key authenticates the line."""


class BootstrapClosed(Event):
    """The latch has closed: what the anchor had to hold for, from the first byte on."""

    type: Literal["bootstrap-closed"] = "bootstrap-closed"
    anchor: str
    seconds: float
    bytes: int
    """Of the classical channel in both directions, TLS and its handshakes included."""
    blocks: int
    """Blocks whose key the anchor alone has authenticated."""


class RekeyingPostponed(Event):
    """A new epoch is due, and cannot begin yet: there is no newer key, or the peer does not take it."""

    type: Literal["rekeying-postponed"] = "rekeying-postponed"
    epoch: int
    reason: str


class ReserveLow(Event):
    """Blocks fail, and what is set aside for tags runs out: for how many blocks it lasts, and for how long."""

    type: Literal["reserve-low"] = "reserve-low"
    blocks_payable: int
    seconds_to_starvation: float
    """If every block from now on fails, by the pauses between them alone."""


class ReserveCounted(Event):
    """How many blocks that fail can still be paid for, told at the start and after each block that changed it."""

    type: Literal["reserve-counted"] = "reserve-counted"
    blocks_payable: int
    seconds_to_starvation: float
    """If every block from now on fails, by the pauses between them alone."""


class BlockPostponed(Event):
    """Alice waits before she opens the next block."""

    type: Literal["block-postponed"] = "block-postponed"
    number: int
    pause_s: float
    reason: str


class BlockSettled(Event):
    """A block that was pending is settled with the peer: it is available, or it was never there."""

    type: Literal["block-settled"] = "block-settled"
    block_id: str
    available: bool


class PatchChanged(Event):
    """The apparatus has been plugged otherwise: light and the classical line go directly, or through Eve's hands."""

    type: Literal["patch-changed"] = "patch-changed"
    light: str
    classical: str
    reason: str


class EveLearnt(Event):
    """What Eve knows of a block's sifted key once its conversation has ended; she has to have been lent key logs."""

    type: Literal["eve-learnt"] = "eve-learnt"
    block_id: str
    number: int
    sifted_bits: int
    """Of the key basis."""
    known_fraction_of_sifted: float
    """Share of these that she knows for sure, 0..1."""
    guess_probability: float
    """Mean probability that her guess of a bit is right, 1/2..1."""
    information_bits: float
    min_entropy_bits: float
    """Of the sifted key, before any disclosure."""
    disclosed_bits: int
    """Parities that she has heard, and the verification tag."""
    removed_bits: int
    """What privacy amplification took off the sifted key; 0 where there is no key."""
    secret_bits: int
    key_recovered: bool
    """Whether the key that she came to has the verification tag that Alice has shown."""
    key_undetermined: bool | None
    """Whether her min-entropy pays for what was disclosed and for all secret bits; null where there is no key."""


class PatchRefused(Event):
    """A message at the patch panel that the apparatus does not obey."""

    type: Literal["patch-refused"] = "patch-refused"
    reason: str


class HalfLinkChanged(Event):
    """Eve's own program that faces a node, in the name of its peer, lives or has ended."""

    type: Literal["half-link-changed"] = "half-link-changed"
    facing: str
    living: bool
    by_itself: bool = False
    """Whether it has come to an end of its own, with its own reason: refused, or starved."""
    reason: str


class EveState(Event):
    """What Eve does, and where she sits, told after every change of it."""

    type: Literal["eve-state"] = "eve-state"
    attacks: list[str]
    """On light, nearest to Alice first, as texts that name them with all their settings; none is transparent."""
    treatments: list[str]
    """Of words."""
    light: str
    """Whether light goes `direct` or through `eve`."""
    words: str
    impersonating: bool
    """Whether programs of hers have taken both nodes' places."""
    known: list[str]
    """Attacks on light that she could be told to make."""
    obstacles: list[str] = Field(default=[])
    """One sentence for each of her attacks that cannot act on this link, and why."""


class AttackTally(Event):
    """How much one attack of Eve's has acted on, from her start to her end."""

    type: Literal["attack-tally"] = "attack-tally"
    attack: str
    """As the text that names it with its settings."""
    channel: Literal["quantum", "classical"]
    acted: int
    """Frames of light that the attack was given, or pieces of the classical channel's bytes that it acted on."""
    obstacle: str | None = None
    """Why it cannot act on this link; None if it can."""


class CommandRefused(Event):
    """Eve was told something that she does not do."""

    type: Literal["command-refused"] = "command-refused"
    reason: str


class LineLost(Event):
    """The classical line is gone."""

    type: Literal["line-lost"] = "line-lost"
    reason: str


class BrokerLost(Event):
    """The broker cannot be reached any more, or refuses this node; the node dials it again and again."""

    type: Literal["broker-lost"] = "broker-lost"
    reason: str


class BrokerBack(Event):
    """The broker, whose loss was told, has let every connection of this node in again."""

    type: Literal["broker-back"] = "broker-back"
    broker: str


class BrokerRefused(Event):
    """The broker has refused a message of this node, which is no more than a message that is missing there."""

    type: Literal["broker-refused"] = "broker-refused"
    reason: str


class LightFault(Event):
    """A frame of light was lost, repeated, reordered, truncated, retained, foreign, impossible or tampered with."""

    type: Literal["light-fault"] = "light-fault"
    fault: str
    detail: str
    frames: int
    """How many frames this report stands for."""


class BlockOpened(Event):
    """Light begins."""

    type: Literal["block-opened"] = "block-opened"
    block_id: str
    number: int
    pulses: int


class LightProgress(Event):
    """So much of the block's light has been sent (Alice) or detected (Bob)."""

    type: Literal["light-progress"] = "light-progress"
    block_id: str
    number: int
    pulses: int


class SourceBehind(Event):
    """The emulation falls behind the source's clock: light, or the pauses between blocks, took longer than it would."""

    type: Literal["source-behind"] = "source-behind"
    block_id: str
    number: int
    clock_hz: float
    pulses_per_second: float
    """What was reached since the first pulse of this life."""
    behind_s: float
    """By how much the last pulse was late, counted from that first one."""


class StageReached(Event):
    """The block has left a stage of distillation; stages are named as in the two columns."""

    type: Literal["stage-reached"] = "stage-reached"
    block_id: str
    number: int
    stage: str


class BlockEnded(Event):
    """The account of a block, with a key or without; the fields are those of the `--json` contract."""

    type: Literal["block-ended"] = "block-ended"
    block_id: str
    number: int
    pulses: int
    detections: int
    sifted_bits: int
    qber_key: float | None
    qber_test: float | None
    gains: dict[str, float]
    leaked_bits: int
    efficiency: float | None
    secret_bits: int
    aborted: str | None
    detail: str | None
    authenticated_by: str
    exchanges: int
    classical_bytes: int
    """Of this block's conversation, in both directions, without TLS."""
    authentication_bytes: int
    """Of its checkpoints, which are part of it."""
    authentication_seconds: float
    """What making and checking its tags took here, waiting for the disk included."""
    seconds: float


type AnyEvent = Annotated[
    NodeStarted
    | NodeStopped
    | PeerRefused
    | EpochBegan
    | BootstrapClosed
    | RekeyingPostponed
    | ReserveLow
    | ReserveCounted
    | BlockPostponed
    | BlockSettled
    | PatchChanged
    | PatchRefused
    | EveState
    | AttackTally
    | CommandRefused
    | HalfLinkChanged
    | EveLearnt
    | LineLost
    | BrokerLost
    | BrokerBack
    | BrokerRefused
    | LightFault
    | BlockOpened
    | LightProgress
    | SourceBehind
    | StageReached
    | BlockEnded
    | BlockRecord
    | KeyLevels,
    Field(discriminator="type"),
]


class Entry(BaseModel):
    """An event with its vantage point: which node tells it, when, and its place in the node's journal."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    node: Annotated[str, AfterValidator(printable)]
    run: str = Field(default="", max_length=32)
    """One run of the node's process, a random name; empty in lines of versions that did not number entries."""
    number: int = Field(default=0, ge=0)
    """Counts the entries of a run from 1; 0 where `run` is empty."""
    time: float
    """Seconds since 1970."""
    event: AnyEvent


ENTRY: TypeAdapter[Entry] = TypeAdapter(Entry)
