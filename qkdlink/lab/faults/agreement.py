"""What two nodes' homes have to say of each other: whether their stores agree, and whether anything was used twice.

Reads what lies on the disk, as an auditor would who may open both stores; key material is compared under a key of this
process and never leaves it. Units for tags are compared where neither side has used them: what one has used, or burnt
with a process that was killed, is overwritten there, and the other may never hear of it.
"""

import hmac
import secrets
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

from qkdlink.common.journal.events import AnyEvent, BlockOpened, EpochBegan
from qkdlink.common.journal.reader import read_entries
from qkdlink.common.keys.allotment import OF_ALICE, OF_BOB, UNIT_BYTES, Purpose
from qkdlink.common.keys.identifiers import BlockId
from qkdlink.common.store.key_store import KeyStore
from qkdlink.common.store.opening import STORE_FILE
from qkdlink.common.store.schema import State
from qkdlink.deployment.homes.home import LinkHome
from qkdlink.deployment.homes.names import ALICE, BOB

_KEPT = (State.PENDING, State.AVAILABLE)
_COMPARING = secrets.token_bytes(32)
NODES = (ALICE, BOB)
_LATCHED = "SELECT 1 FROM meta WHERE (name, value) = ('latched', '1')"
# a unit has one row among those used; whether more was spent than there was, the ledger tells
_TWICE = (
    "SELECT block, purpose FROM ledger JOIN parts USING (block, purpose) WHERE entry IN ('spent', 'burnt')"
    " GROUP BY block, purpose HAVING SUM(ledger.bits) > parts.bits"
)
_UNITS = (
    "SELECT session, number, purpose, unit, used_for FROM units JOIN blocks ON blocks.id = units.block"
    " ORDER BY units.rowid"
)
_ALLOCATES = {ALICE: OF_ALICE, BOB: OF_BOB}
_GONE = bytes(UNIT_BYTES)


class Audit:
    """A look at both homes at one moment; only `settled_faults` expects that nothing is on its way."""

    def __init__(self, home: LinkHome) -> None:
        self._home = home
        self.states = {name: _states(home.node(name), home.link) for name in NODES}

    @property
    def is_settled(self) -> bool:
        """Whether nothing is pending and both have the same blocks."""
        mine, theirs = (self._available(name) for name in NODES)
        pending = any(State.PENDING in states.values() for states in self.states.values())
        return mine == theirs and not pending

    def is_latched(self) -> bool:
        """Whether the bootstrap has closed on either side."""
        return any(_ask(self._home.node(name), _LATCHED) for name in NODES)

    def faults(self) -> Iterator[str]:
        """Tell what may never be, at whatever moment."""
        for name, peer in (NODES, NODES[::-1]):
            for block in self._available(name):
                if self.states[peer].get(block) not in _KEPT:
                    yield f"{block} is available at {name} and not kept at {peer}"
            yield from (f"{name} has used {each} twice" for each in _ask(self._home.node(name), _TWICE))
            yield from self._unit_faults(name, peer)

    def _unit_faults(self, owner: str, peer: str) -> Iterator[str]:
        """Tell which of an owner's units its peer takes for used although they are not, or not for the same block."""
        # the peer is read first: what it has seen used was used by its owner before
        seen = _used_units(self._home.node(peer), _ALLOCATES[owner])
        taken = _used_units(self._home.node(owner), _ALLOCATES[owner])
        for unit, used_for in seen.items():
            if unit not in taken:
                yield f"{peer} has seen {unit} used, which {owner} has not taken"
            elif taken[unit] != used_for:
                yield f"{owner} has used {unit} for block {taken[unit]}, {peer} for block {used_for}"

    def settled_faults(self) -> Iterator[str]:
        """Tell what may not be once everything has come to its end."""
        yield from self.faults()
        for name in NODES:
            for block, state in self.states[name].items():
                if state is State.PENDING:
                    yield f"{block} is still pending at {name}"
        if self._available(ALICE) != self._available(BOB):
            yield f"the blocks differ: {sorted(map(str, self._available(ALICE) ^ self._available(BOB)))}"
        homes = [self._home.node(name) for name in NODES]
        mine, theirs = (
            _digests(home, self._available(name)) for home, name in zip(homes, NODES, strict=True)
        )
        for place in mine.keys() | theirs.keys():
            if mine.get(place) != theirs.get(place):
                yield f"the material of {place} differs, or is at one side only"
        mine, theirs = (
            _unit_digests(home, self._available(name)) for home, name in zip(homes, NODES, strict=True)
        )
        for place in mine.keys() & theirs.keys():
            if mine[place] != theirs[place]:
                yield f"the material of {place} differs"

    def _available(self, name: str) -> set[BlockId]:
        return {block for block, state in self.states[name].items() if state is State.AVAILABLE}


def journal_of(home: LinkHome, name: str) -> list[tuple[float, AnyEvent]]:
    """Read what a node has told in all of its lives: when, and what."""
    return [(entry.time, entry.event) for entry in read_entries(home.node(name) / "journal.jsonl")]


def journal_faults(home: LinkHome, latched_at: float) -> Iterator[str]:
    """Tell what both journals have against the link: a certificate after the latch, a key or a number used twice."""
    began = {
        name: [(at, e) for at, e in journal_of(home, name) if isinstance(e, EpochBegan)] for name in NODES
    }
    every = [each for events in began.values() for each in events]
    first_keyed = min((at for at, event in every if event.key_id), default=float("inf"))
    for at, event in every:
        if event.key_id is None and at > min(latched_at, first_keyed):
            yield "a certificate has authenticated a line after the latch"
    keys: dict[str, set[int]] = {}
    for _, event in every:
        keys.setdefault(event.key_id or "", set()).add(event.epoch)
    yield from (
        f"the key {key} has served the epochs {sorted(of)}" for key, of in keys.items() if key and len(of) > 1
    )
    for name in NODES:
        sessions = Counter(event.session for _, event in began[name])
        yield from (
            f"{name} has used the session {each} twice" for each, count in sessions.items() if count > 1
        )
        numbers = [event.epoch for _, event in began[name]]
        keyed = [number for number in numbers if number]
        if any(one > following for one, following in pairwise(keyed)):
            yield f"the epochs of {name} go back: {numbers}"
    opened = Counter(e.number for _, e in journal_of(home, ALICE) if isinstance(e, BlockOpened))
    yield from (
        f"the number {each} was used for {count} blocks" for each, count in opened.items() if count > 1
    )


def _ask(folder: Path, question: str) -> list[tuple[object, ...]]:
    if not (folder / STORE_FILE).exists():
        return []
    with closing(sqlite3.connect(folder / STORE_FILE, timeout=10)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
            return []
        return connection.execute(question).fetchall()


def _states(folder: Path, link: str) -> dict[BlockId, State]:
    found = _ask(folder, "SELECT session, number, state FROM blocks")
    return {
        BlockId(link, str(session), int(str(number))): State(str(state)) for session, number, state in found
    }


def _used_units(folder: Path, purposes: tuple[Purpose, ...]) -> dict[str, str]:
    """Return which units of these parts a node has noted as used, by name, and for which block."""
    return {
        f"{session}/{number}/{purpose}/{unit}": str(used_for)
        for session, number, purpose, unit, used_for in _ask(folder, _UNITS)
        if purpose in purposes
    }


def _digests(folder: Path, blocks: set[BlockId]) -> dict[str, bytes]:
    whole = [purpose for purpose in Purpose if purpose not in (*OF_ALICE, *OF_BOB)]
    with closing(KeyStore.of(folder)) as store:
        found = {
            f"{block}/{purpose}": store.material(block, purpose) for block in blocks for purpose in whole
        } | {f"{block}/proof": store.proof_key(block) for block in blocks}
    return {place: _digest(material) for place, material in found.items() if material is not None}


def _unit_digests(folder: Path, blocks: set[BlockId]) -> dict[str, bytes]:
    """Digest what is left of the parts for tags, unit by unit; used ones, which are overwritten, are left out."""
    with closing(KeyStore.of(folder)) as store:
        found = {
            (block, purpose): store.material(block, purpose) or b""
            for block in blocks
            for purpose in (*OF_ALICE, *OF_BOB)
        }
    units = {
        f"{block}/{purpose}/{start // UNIT_BYTES}": material[start : start + UNIT_BYTES]
        for (block, purpose), material in found.items()
        for start in range(0, len(material), UNIT_BYTES)
    }
    return {place: _digest(unit) for place, unit in units.items() if unit != _GONE}


def _digest(material: bytes) -> bytes:
    return hmac.digest(_COMPARING, material, "sha256")
