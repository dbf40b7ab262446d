"""What a node's journal tells of its meetings: who was turned away, what was lost, what stands."""

from datetime import UTC, datetime
from pathlib import Path

from qkdlink.common.journal.events import Entry, LineLost, NodeStopped, PeerRefused
from qkdlink.common.journal.link_state import LinkState, NodeState
from qkdlink.common.journal.reader import TAIL_BYTES, read_entries
from qkdlink.deployment.diagnosis.causes import Obstacle, obstacle_told
from qkdlink.deployment.diagnosis.findings import Finding


def evidence_of(path: Path, name: str) -> NodeState:
    """Fold the end of a node's journal; ConfigurationError if it cannot be read."""
    state = LinkState()
    for entry in read_entries(path, TAIL_BYTES):
        state.take(entry)
    return state.node(name)


def last_end(told: NodeState, changed: datetime) -> Finding | None:
    """Say by which error the node ended last; None if by none, or if its configuration was changed since."""
    if (failure := told.failure) is None or changed > _moment(failure):
        return None
    reason = failure.event.reason if isinstance(failure.event, NodeStopped) else ""
    obstacle = obstacle_told(reason) or Obstacle.CONFIGURATION
    return Finding.failed(obstacle, f"this node ended by itself at {_at(failure)}: {reason.rstrip('.')}")


def _telling(told: NodeState) -> list[Entry]:
    """Return the refusals since the latest meeting that speak of an obstacle."""
    return [
        entry
        for entry in told.refusals
        if isinstance(entry.event, PeerRefused) and obstacle_told(entry.event.reason)
    ]


def as_listener(told: NodeState, peer: str) -> Finding:
    """Say whether the peer has come through to a node that listens."""
    if refusals := _telling(told):
        return _turned_away(refusals, f"{peer}, or whoever dials here, was turned away")
    if told.met is not None:
        return Finding.ok(f"{peer} came through at {_at(told.met)}")
    elsewhere = f"whether {peer} finds the way shows where it dials: run `qkdlink doctor` there"
    if told.started is None:
        return Finding.skipped(f"this node has not run here yet; {elsewhere}")
    return Finding.ok(f"nobody has been turned away since the start at {_at(told.started)}; {elsewhere}")


def as_dialler(told: NodeState, peer: str) -> Finding:
    """Say how a running node that dials stands with its peer."""
    if refusals := _telling(told):
        return _turned_away(refusals, f"this node and {peer} have refused each other")
    if told.lost is not None and isinstance(told.lost.event, LineLost):
        loss = f"the line to {peer} was lost at {_at(told.lost)}: {told.lost.event.reason}"
        return Finding.failed(Obstacle.PEER, loss)
    if told.met is not None:
        return Finding.ok(f"this node is running, and met {peer} at {_at(told.met)}")
    return Finding.ok(f"this node is running and has not met {peer} yet")


def _turned_away(refusals: list[Entry], what: str) -> Finding:
    last = refusals[-1].event
    reason = last.reason if isinstance(last, PeerRefused) else ""
    times = "once" if len(refusals) == 1 else f"{len(refusals)} times, last"
    obstacle = obstacle_told(reason) or Obstacle.PEER
    return Finding.failed(obstacle, f"{what} {times} at {_at(refusals[-1])}: {reason}")


def _moment(entry: Entry) -> datetime:
    return datetime.fromtimestamp(entry.time, UTC)


def _at(entry: Entry) -> str:
    return f"{_moment(entry):%Y-%m-%d %H:%M:%S} UTC"
