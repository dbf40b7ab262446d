"""The full man in the middle against a real link: one cell of {what she stole, and when} x {how blocks are tagged}.

Broker, both nodes and both of Eve's programs are processes with real sockets and TLS; Eve is on every wire. What came
of it is read afterwards in the key stores of all four, and in what user traffic under these keys shows her. Nothing
here asks who should win: `qkdlink.lab.middle.matrix` says it, for whoever compares.
"""

import asyncio
import hashlib
import shutil
import time
import tomllib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from qkdlink.common.authentication.scheme import SchemeName
from qkdlink.common.errors import LinkError
from qkdlink.common.journal.events import (
    AnyEvent,
    BlockEnded,
    HalfLinkChanged,
    LineLost,
    NodeStarted,
    PeerRefused,
)
from qkdlink.common.keys.identifiers import BlockId
from qkdlink.common.node.settings import load_settings
from qkdlink.common.protocol.aborts import AbortReason
from qkdlink.common.store.schema import State
from qkdlink.common.transport.addresses import Address
from qkdlink.common.trust.anchor import AnchorName
from qkdlink.deployment.brokers.broker import RunningBroker, run_broker
from qkdlink.deployment.brokers.ports import LOOPBACK, free_port
from qkdlink.deployment.homes.configuration import LinkAddresses, Splice, node_configuration
from qkdlink.deployment.homes.home import LinkHome, open_home
from qkdlink.deployment.homes.names import ALICE, BOB
from qkdlink.deployment.homes.security import Security
from qkdlink.deployment.stolen.block_keys import TRAFFIC_PARTS, block_keys
from qkdlink.deployment.stolen.leaks import FACING_ALICE, FACING_BOB, furnish
from qkdlink.eve.settings import EveSettings
from qkdlink.eve.station import run as run_eve
from qkdlink.eve.topics import EVE
from qkdlink.lab.faults.agreement import NODES, Audit, journal_of
from qkdlink.lab.faults.kill_trials import tiny_parameters, tiny_settings
from qkdlink.lab.faults.mortal import Mortal
from qkdlink.lab.middle.matrix import Cell, Evidence, Fingerprints
from qkdlink.lab.middle.traffic_in_the_middle import Interceptor
from qkdlink.lab.traffic.user_traffic import TrafficKey, echoes, echoing

_BLOCKS_BEFORE = 3
"""Made without her where she comes after the latch: one of the bootstrap, two under link PSKs."""
_BLOCKS_ENOUGH = 2
"""With a key, at each victim: one may be of the bootstrap, the next one rests on what was made with her."""
_REFUSALS_ENOUGH = 3
_HER_PATIENCE_S = 1.5
"""How long her own Alice waits where nobody can answer, before she says why it cannot come to anything."""
_TIMEOUT_S = 200.0
_LOOK_EVERY_S = 0.1
_WORDS = (b"Meet me at noon.", b"Bring the plans.")
_FACING = {ALICE: FACING_ALICE, BOB: FACING_BOB}


async def run_cell(cell: Cell, folder: Path, latched: Path | None = None) -> Evidence:
    """Play one cell in a new folder; `latched` is a home that `make_latched` has made under the cell's scheme.

    Without it, a cell that begins after the latch makes its own. LinkError if nothing is decided within 200 s.
    """
    began = time.monotonic()
    if not cell.is_from_the_start:
        if latched is None:
            await make_latched(folder, cell.scheme)
        else:
            shutil.copytree(latched, folder)
    home = open_home(folder)
    home.let_eve_in()
    came = time.time()
    async with run_broker(home.broker, home.broker_users()) as broker:
        _prepare(cell, home, broker)
        async with _node(home, BOB) as bob, _eve(home), _node(home, ALICE) as alice:
            trial = _Trial(home, came, {ALICE: alice, BOB: bob})
            await _until(lambda: trial.is_decided)
            failures = {name: trial.failure(name) for name in NODES if not trial.blocks(name)}
    return await _Reading(cell, home, trial).evidence(failures, began)


async def play(cells: Sequence[Cell], folder: Path, at_once: int = 3) -> dict[Cell, Evidence]:
    """Play cells, some at a time, in folders of their own below `folder`; LinkError as `run_cell`."""
    room = asyncio.Semaphore(at_once)
    latched = {
        scheme: folder / f"latched-{scheme}"
        for scheme in sorted({cell.scheme for cell in cells if not cell.is_from_the_start})
    }
    for scheme, before in latched.items():
        await make_latched(before, scheme)

    async def played(number: int, cell: Cell) -> Evidence:
        async with room:
            return await run_cell(cell, folder / f"cell-{number}", latched.get(cell.scheme))

    async with asyncio.TaskGroup() as group:
        tasks = {cell: group.create_task(played(number, cell)) for number, cell in enumerate(cells)}
    return {cell: task.result() for cell, task in tasks.items()}


async def make_latched(folder: Path, scheme: SchemeName) -> None:
    """Let a link run without Eve until its latch is closed, its first blocks are made, and both nodes have ended."""
    home = open_home(folder)
    async with run_broker(home.broker, home.broker_users()) as broker:
        home.configure(
            tiny_parameters(),
            LinkAddresses(broker.address, _anywhere(), _anywhere()),
            tiny_settings(blocks=_BLOCKS_BEFORE),
            log_in=broker.has_access_list,
            security=Security(AnchorName.PKI, scheme),
        )
        async with _node(home, BOB), _node(home, ALICE) as alice:
            await _until(lambda: not alice.is_alive and Audit(home).is_settled)


def _prepare(cell: Cell, home: LinkHome, broker: RunningBroker) -> None:
    """Write everybody's configuration, and let Eve steal."""
    parameters, log_in = tiny_parameters(), broker.has_access_list
    addresses = LinkAddresses(broker.address, _anywhere(), _anywhere())
    splice = Splice(_anywhere(), _anywhere())
    home.configure(
        parameters,
        addresses,
        tiny_settings(blocks=0),
        log_in=log_in,
        security=cell.security,
        splice=splice,
    )
    impersonate = arm(cell, home, addresses, log_in=log_in)
    home.configure_eve(parameters, addresses, splice, {"impersonate": impersonate}, log_in=log_in)


def arm(cell: Cell, home: LinkHome, addresses: LinkAddresses, *, log_in: bool) -> dict[str, Any]:
    """Let Eve steal now what the cell says, and make the homes of her two programs of it.

    `addresses` are those of the link, whose nodes may be running; its blocks are tiny ones. Returns the setting
    `impersonate` for hers.
    """
    hers = LinkAddresses(addresses.broker, _anywhere(), _anywhere())
    configurations = {
        BOB: _her_configuration(home, BOB, hers, cell, {}, log_in=log_in),
        ALICE: _her_configuration(home, ALICE, addresses, cell, tiny_settings(blocks=0), log_in=log_in),
    }
    return furnish(home, cell.loot, configurations)


def _her_configuration(
    home: LinkHome,
    part: str,
    addresses: LinkAddresses,
    cell: Cell,
    own: dict[str, Any],
    *,
    log_in: bool,
) -> str:
    """Return the `node.toml` of her program that plays `part`: Eve's account at the broker, the victim's name."""
    account = {"client_id": f"{home.link}-{EVE}-as-{part}"}
    if log_in:
        account |= {"username": EVE, "password_file": "../broker-password"}
    told = {
        **own,
        **cell.security.settings(),
        "apparatus": {"site": EVE},
        "credentials": {"light_seal": "../light-seal.key"},
    }
    peer = BOB if part == ALICE else ALICE
    values = tomllib.loads(
        node_configuration(home.link, (part, peer), home.sites, addresses, account, tiny_parameters(), told)
    )
    if not cell.is_from_the_start and not cell.loot.is_of_stores:
        values["classical"]["patience_s"] = _HER_PATIENCE_S
    return tomli_w.dumps(values)


def _anywhere() -> Address:
    return Address(LOOPBACK, free_port())


# --- while it runs ---------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _node(home: LinkHome, name: str) -> AsyncIterator[Mortal]:
    """Run a victim as a process while the context is open, which begins once it is up, or has ended."""
    since, node = time.time(), Mortal(home, name)
    try:
        await _until(lambda: not node.is_alive or any(_told(home, name, NodeStarted, since)))
        yield node
    finally:
        await asyncio.to_thread(node.stop)


@asynccontextmanager
async def _eve(home: LinkHome) -> AsyncIterator[None]:
    """Let Eve live in between, as a task of this process with two programs of her own; LinkError if she cannot."""
    settings = load_settings(EveSettings, home.configuration(EVE))
    life = asyncio.create_task(run_eve(settings, home.node(EVE), None, None), name=EVE)
    try:
        await _until(lambda: life.done() or any(_told(home, EVE, NodeStarted)))
        if life.done():
            await life
        yield
    finally:
        life.cancel()
        with suppress(asyncio.CancelledError):
            await life


async def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _TIMEOUT_S
    while not condition():
        if time.monotonic() > deadline:
            raise LinkError(f"nothing was decided within {_TIMEOUT_S:g} s")
        await asyncio.sleep(_LOOK_EVERY_S)


def _told[E: AnyEvent](home: LinkHome, name: str, kind: type[E], since: float = 0.0) -> Iterator[E]:
    """Yield a journal's events of a kind since a time."""
    if (home.node(name) / "journal.jsonl").exists():
        yield from (event for at, event in journal_of(home, name) if at >= since and isinstance(event, kind))


@dataclass(frozen=True, slots=True)
class _Trial:
    """What both victims and Eve have told since she came."""

    home: LinkHome
    came: float
    nodes: Mapping[str, Mortal]

    @property
    def is_decided(self) -> bool:
        """Whether each has made keys, or will make none."""
        return all(len(self.blocks(name)) >= _BLOCKS_ENOUGH or self._is_hopeless(name) for name in NODES)

    def blocks(self, name: str) -> list[BlockId]:
        """Return the blocks that a victim has made a key of."""
        ended = _told(self.home, name, BlockEnded, self.came)
        return [_block_id(block.block_id) for block in ended if block.secret_bits]

    def failure(self, name: str) -> str:
        """Return the sentence that says where she failed with a victim: its own, or that of her program facing it."""
        found = [
            *_broken(_told(self.home, name, BlockEnded, self.came)),
            *self._last_words(name),
            *(f"Eve's own program: {reason}" for reason in self._gone(name)),
            *(f"Eve's own program: {each}" for each in _broken(_told(self.home, _hers(name), BlockEnded))),
            *(event.reason for event in _told(self.home, name, PeerRefused, self.came)),
            *(event.reason for event in _told(self.home, name, LineLost, self.came)),
        ]
        return found[0] if found else "nobody has come as far as this"

    def _last_words(self, name: str) -> list[str]:
        """Return what a victim that has ended by itself has said last."""
        node = self.nodes[name]
        return [] if node.is_alive else node.words.splitlines()[-1:]

    def _gone(self, name: str) -> list[str]:
        """Return what her program facing a victim said when it ended by itself."""
        changes = _told(self.home, EVE, HalfLinkChanged, self.came)
        return [each.reason for each in changes if each.facing == name and each.by_itself]

    def _is_hopeless(self, name: str) -> bool:
        if self.blocks(name):
            return False
        dialler = (
            name if name == ALICE else _hers(name)
        )  # it tells one refusal a call; who listens, one a key
        refused = sum(1 for _ in _told(self.home, dialler, PeerRefused, self.came))
        lost = sum(1 for _ in _told(self.home, dialler, LineLost, self.came))
        ended = self._gone(name) or not self.nodes[name].is_alive
        return bool(ended) or refused + lost >= _REFUSALS_ENOUGH


def _broken(ended: Iterator[BlockEnded]) -> Iterator[str]:
    """Yield why blocks ended whose conversation was not what it should have been."""
    return (block.detail for block in ended if block.aborted == AbortReason.PROTOCOL_BROKEN and block.detail)


def _hers(name: str) -> str:
    """Name the home of her program that faces a victim."""
    return f"{EVE}/{_FACING[name]}"


def _block_id(text: str) -> BlockId:
    link, session, number = text.split("/")
    return BlockId(link, session, int(number))


# --- what is left ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Reading:
    """A look into all four stores, once everybody has ended."""

    cell: Cell
    home: LinkHome
    trial: _Trial

    async def evidence(self, failures: dict[str, str], began: float) -> Evidence:
        """Compare keys, and let user traffic pass under them."""
        made = {name: self.trial.blocks(name) for name in NODES}
        theirs = {name: block_keys(self.home.node(name), made[name]) for name in NODES}
        hers = {name: self._known_to_her(name, made[name]) for name in NODES}
        known = {name: _in_common(theirs[name], hers[name]) for name in NODES}
        read, arrived = await self._traffic()
        return Evidence(
            cell=self.cell,
            keys_of_alice=len(theirs[ALICE]),
            keys_of_bob=len(theirs[BOB]),
            known_of_alice=known[ALICE],
            known_of_bob=known[BOB],
            common_keys=_in_common(theirs[ALICE], theirs[BOB]),
            fingerprints=Fingerprints(
                _fingerprint(theirs[ALICE]),
                _fingerprint(hers[ALICE]),
                _fingerprint(hers[BOB]),
                _fingerprint(theirs[BOB]),
            ),
            traffic_read=read == list(_WORDS),
            traffic_arrived=arrived == list(_WORDS),
            failures=failures,
            seconds=round(time.monotonic() - began, 3),
        )

    async def _traffic(self) -> tuple[list[bytes], list[bytes]]:
        """Let an application at Alice's talk to one at Bob's, under the newest keys that their nodes believe in.

        Returns what Eve has read of it, and what came back; nothing where a node has no such key. Which block a key
        is of goes in clear beside the traffic, so she looks for the same block in her own stores.
        """
        newest = {name: self._newest(name) for name in NODES}
        alices, bobs = newest[ALICE], newest[BOB]
        if alices is None or bobs is None:
            return [], []
        with_alice, with_bob = self._known_to_her(ALICE, [alices[0]]), self._known_to_her(BOB, [bobs[0]])
        async with echoing(TrafficKey(bobs[1])) as application:
            eve = Interceptor(
                application, _as_traffic_key(with_alice, alices[0]), _as_traffic_key(with_bob, bobs[0])
            )
            async with eve.listening() as where:
                try:
                    arrived = await echoes(where, TrafficKey(alices[1]), _WORDS)
                except LinkError:
                    arrived = []
        return eve.read, arrived

    def _newest(self, name: str) -> tuple[BlockId, bytes] | None:
        """Return the newest key for traffic since Eve came, or from before, of what is for applications alone."""
        keys = block_keys(self.home.node(name), self.trial.blocks(name))
        if not keys:
            ended = _told(self.home, name, BlockEnded)
            before = [_block_id(block.block_id) for block in ended if block.secret_bits]
            keys = block_keys(self.home.node(name), before, TRAFFIC_PARTS[:1])
        return max(keys.items(), key=lambda each: each[0].number, default=None)

    def _known_to_her(self, name: str, blocks: list[BlockId]) -> dict[BlockId, bytes]:
        """Return what she has of a victim's blocks, whether or not the last tag of each has reached her in time.

        Her program may have been ended between a victim's last word about a block and its own; it has the key then.
        """
        return block_keys(self.home.node(_hers(name)), blocks, states=(State.PENDING, State.AVAILABLE))


def _in_common(some: dict[BlockId, bytes], others: dict[BlockId, bytes]) -> int:
    return sum(1 for block, key in some.items() if others.get(block) == key)


def _as_traffic_key(keys: dict[BlockId, bytes], block: BlockId) -> TrafficKey | None:
    return TrafficKey(keys[block]) if block in keys else None


def _fingerprint(keys: dict[BlockId, bytes]) -> str | None:
    return hashlib.sha256(b"".join(keys.values())).hexdigest() if keys else None
