"""Events that a node may tell. Their fields are numbers, names and sentences: no bytes, so no key can get in."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter


class Event(BaseModel):
    """Common ground of all events."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)  # not strict, bytes would become text


class NodeStarted(Event):
    """The node is up; `role` is alice or bob."""

    type: Literal["node-started"] = "node-started"
    role: str
    link: str
    broker: str
    reproducible: bool


class NodeStopped(Event):
    """The node has ended in order."""

    type: Literal["node-stopped"] = "node-stopped"
    reason: str


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


class RekeyingPostponed(Event):
    """A new epoch is due, and cannot begin yet: there is no newer key, or the peer does not take it."""

    type: Literal["rekeying-postponed"] = "rekeying-postponed"
    epoch: int
    reason: str


class BlockSettled(Event):
    """A block that was pending is settled with the peer: it is available, or it was never there."""

    type: Literal["block-settled"] = "block-settled"
    block_id: str
    available: bool


class LineLost(Event):
    """The classical line is gone."""

    type: Literal["line-lost"] = "line-lost"
    reason: str


class LightFault(Event):
    """A frame of light was lost, repeated, reordered, truncated, retained, foreign or tampered with."""

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
    """The emulation could not keep up with the source's clock: the block's light took longer than it would have."""

    type: Literal["source-behind"] = "source-behind"
    block_id: str
    number: int
    clock_hz: float
    pulses_per_second: float
    """What was reached over the whole block."""
    behind_s: float
    """By how much the last pulse was late."""


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
    seconds: float


type AnyEvent = Annotated[
    NodeStarted
    | NodeStopped
    | PeerRefused
    | EpochBegan
    | RekeyingPostponed
    | BlockSettled
    | LineLost
    | LightFault
    | BlockOpened
    | LightProgress
    | SourceBehind
    | StageReached
    | BlockEnded,
    Field(discriminator="type"),
]


class Entry(BaseModel):
    """An event with its vantage point: who tells it, and when, in seconds since 1970."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    node: str
    time: float
    event: AnyEvent


ENTRY: TypeAdapter[Entry] = TypeAdapter(Entry)
