"""What a node's journal tells of its meetings: who was turned away, what was lost, what stands."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from qkdlink.common.errors import ConfigurationError
from qkdlink.common.journal.events import (
    ENTRY,
    IN_ORDER,
    Entry,
    EpochBegan,
    LineLost,
    NodeStarted,
    NodeStopped,
    PeerRefused,
)
from qkdlink.deployment.diagnosis.causes import Obstacle, obstacle_told
from qkdlink.deployment.diagnosis.findings import Finding

_TAIL_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Memory:
    """What the journal tells of the node's latest life; times are aware."""

    started: datetime | None = None
    """None if it has never run here."""
    latest: datetime | None = None
    """When the last line was written."""
    met: Entry | None = None
    """The latest meeting."""
    lost: Entry | None = None
    """The line that was lost last, if the peer was not met again."""
    ended: Entry | None = None
    """How it ended last, if that was by an error and it has not been started since."""
    refusals: tuple[Entry, ...] = ()
    """Since the latest meeting, and only those that speak of an obstacle."""


def recall(entries: Iterable[Entry]) -> Memory:
    """Sum up a journal, oldest entry first."""
    started = latest = met = lost = ended = None
    refusals: list[Entry] = []
    for entry in entries:
        latest = _moment(entry)
        match entry.event:
            case NodeStarted():
                started, met, lost, ended, refusals = latest, None, None, None, []
            case EpochBegan():
                met, lost, refusals = entry, None, []
            case NodeStopped(reason=reason) if reason != IN_ORDER:
                ended = entry
            case LineLost():
                lost = entry
            case PeerRefused(reason=reason) if obstacle_told(reason):
                refusals.append(entry)
    return Memory(started, latest, met, lost, ended, tuple(refusals))


def read_journal(path: Path) -> list[Entry]:
    """Read the end of a journal; empty if there is none, ConfigurationError if it cannot be read."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            lines = file.read().splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConfigurationError(f"The journal {path} cannot be read: {error.strerror}.") from error
    return [entry for entry in map(_entry, lines) if entry is not None]


def last_end(memory: Memory, changed: datetime) -> Finding | None:
    """Say by which error the node ended last; None if by none, or if its configuration was changed since."""
    if memory.ended is None or changed > _moment(memory.ended):
        return None
    reason = memory.ended.event.reason if isinstance(memory.ended.event, NodeStopped) else ""
    obstacle = obstacle_told(reason) or Obstacle.CONFIGURATION
    return Finding.failed(obstacle, f"this node ended by itself at {_at(memory.ended)}: {reason.rstrip('.')}")


def as_listener(memory: Memory, peer: str) -> Finding:
    """Say whether the peer has come through to a node that listens."""
    if memory.refusals:
        return _turned_away(memory.refusals, f"{peer}, or whoever dials here, was turned away")
    if memory.met is not None:
        return Finding.ok(f"{peer} came through at {_at(memory.met)}")
    elsewhere = f"whether {peer} finds the way shows where it dials: run `qkdlink doctor` there"
    if memory.started is None:
        return Finding.skipped(f"this node has not run here yet; {elsewhere}")
    return Finding.ok(f"nobody has been turned away since the start at {_text(memory.started)}; {elsewhere}")


def as_dialler(memory: Memory, peer: str) -> Finding:
    """Say how a running node that dials stands with its peer."""
    if memory.refusals:
        return _turned_away(memory.refusals, f"this node and {peer} have refused each other")
    if memory.lost is not None and isinstance(memory.lost.event, LineLost):
        told = f"the line to {peer} was lost at {_at(memory.lost)}: {memory.lost.event.reason}"
        return Finding.failed(Obstacle.PEER, told)
    if memory.met is not None:
        return Finding.ok(f"this node is running, and met {peer} at {_at(memory.met)}")
    return Finding.ok(f"this node is running and has not met {peer} yet")


def _turned_away(refusals: tuple[Entry, ...], what: str) -> Finding:
    last = refusals[-1].event
    reason = last.reason if isinstance(last, PeerRefused) else ""
    times = "once" if len(refusals) == 1 else f"{len(refusals)} times, last"
    obstacle = obstacle_told(reason) or Obstacle.PEER
    return Finding.failed(obstacle, f"{what} {times} at {_at(refusals[-1])}: {reason}")


def _entry(line: bytes) -> Entry | None:
    """Read a line; None if it was cut, is in the making, or is of another version."""
    try:
        return ENTRY.validate_json(line)
    except ValidationError:
        return None


def _moment(entry: Entry) -> datetime:
    return datetime.fromtimestamp(entry.time, UTC)


def _at(entry: Entry) -> str:
    return _text(_moment(entry))


def _text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
