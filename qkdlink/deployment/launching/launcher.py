"""Starts a whole link on this machine, as separate processes, and gathers what each tells its launcher alone."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, closing, nullcontext
from dataclasses import dataclass, field
from typing import Any, cast

from qkdlink.common.errors import LinkError
from qkdlink.common.journal.events import (
    AttackTally,
    BlockEnded,
    BlockOpened,
    BootstrapClosed,
    Entry,
    EpochBegan,
    EveLearnt,
    NodeStarted,
)
from qkdlink.common.node.settings import ENVIRONMENT_PREFIX
from qkdlink.common.protocol.parameters import LinkParameters
from qkdlink.common.store.home_lock import locked_home
from qkdlink.common.store.key_store import KeyStore
from qkdlink.common.transport.addresses import Address
from qkdlink.deployment.brokers.broker import RunningBroker, last_words, run_broker, stop
from qkdlink.deployment.brokers.ports import LOOPBACK, free_port
from qkdlink.deployment.homes.home import ALICE, ATTACKED, BOB, KEY_LOG_FILE, LinkAddresses, LinkHome, Splice
from qkdlink.deployment.homes.security import DEFAULT_SECURITY, Security
from qkdlink.deployment.launching.endings import told_end
from qkdlink.deployment.launching.link_result import LinkResult
from qkdlink.deployment.stolen.leaks import Loot
from qkdlink.deployment.stolen.theft import IMPERSONATION, check_there, impersonation, steal
from qkdlink.eve.topics import EVE

_SETTLE_TIMEOUT_S = 15.0
_PIPE_LIMIT_BYTES = 1 << 20

_NOTICE = ": INSECURE: "
"""In what a node says at its start of how it was set up (`qkdlink.common.node.station`), which is nothing that it dies
of."""

type Watch = Callable[[Entry], None]
type OnEnd = Callable[[str], None]
"""Takes the last words of a process that the link can do without."""
type Line = Callable[[LinkAddresses], AbstractAsyncContextManager[LinkAddresses]]
"""Given where Bob listens, gives where Alice dials while the link runs."""


@dataclass(slots=True)
class Node:
    """A node that we started: its process, and what it told us."""

    name: str
    process: asyncio.subprocess.Process
    reports: asyncio.StreamReader
    words: asyncio.StreamReader
    notice: str = ""
    """What it has warned of at its start."""
    last_line: str = ""
    """Of what it has said since."""
    fingerprint: str | None = None
    opened: set[str] = field(default_factory=set)
    blocks: list[BlockEnded] = field(default_factory=list)
    epochs: list[EpochBegan] = field(default_factory=list)
    learnt: list[EveLearnt] = field(default_factory=list)
    """What Eve knows of each block that she could follow."""
    tallies: list[AttackTally] = field(default_factory=list)
    """On how much each of Eve's attacks has acted, once she has ended."""
    gone: str | None = None
    """Its last words, if it has ended while the link went on."""
    bootstrap: BootstrapClosed | None = None
    is_up: bool = False
    settled: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def gather(self, watch: Watch) -> None:
        """Read the node's reports until it ends."""
        while line := await self.reports.readline():
            report: dict[str, Any] = json.loads(line)
            self.fingerprint = report.get("fingerprint", self.fingerprint)
            if "entry" in report:
                entry = Entry.model_validate(report["entry"])
                self._keep(entry)
                watch(entry)
                async with self.settled:
                    self.settled.notify_all()

    async def listen(self) -> None:
        """Read what the node writes for a person, until it ends: a pipe that nobody reads would stop the node."""
        async for line in self.words:
            said = line.decode(errors="replace").strip()
            if _NOTICE in said:
                self.notice = said
            else:
                self.last_line = said or self.last_line

    @property
    def last_words(self) -> str:
        """Why the node ended, once it has; who was killed could not say."""
        status = self.process.returncode
        was_killed = status is not None and status < 0
        return (not was_killed and self.last_line) or told_end(self.name, status)

    async def started(self, life: asyncio.Task[None]) -> None:
        """Wait until the node is up, or has ended."""
        up = asyncio.create_task(self._until_up())
        await asyncio.wait({up, life}, return_when=asyncio.FIRST_COMPLETED)
        up.cancel()
        if not self.is_up:
            raise LinkError(self.last_words)

    async def _until_up(self) -> None:
        async with self.settled:
            await self.settled.wait_for(lambda: self.is_up)

    def has_settled(self, with_key: set[str]) -> bool:
        """Whether every block that was opened here, and each of `with_key`, has come to its end here."""
        return self.opened | with_key <= {block.block_id for block in self.blocks}

    def _keep(self, entry: Entry) -> None:
        match entry.event:
            case BlockOpened(block_id=block):
                self.opened.add(block)
            case BlockEnded() as ended:
                self.blocks.append(ended)
            case EpochBegan() as began:
                self.epochs.append(began)
            case EveLearnt() as learnt:
                self.learnt.append(learnt)
            case AttackTally() as tally:
                self.tallies.append(tally)
            case NodeStarted():
                self.is_up = True
            case BootstrapClosed() as closed:
                self.bootstrap = closed
            case _:
                return


@dataclass(frozen=True, slots=True)
class RunningLink:
    """A link while it runs."""

    broker: RunningBroker
    alice: Node
    bob: Node
    eve: Node | None
    lives: dict[str, asyncio.Task[None]]
    """By name: done once the process has ended and everything that it told was read."""
    impersonated: bool = False
    """Whether Eve has taken both nodes' places from the start, so that they need not have a block in common."""

    async def until_done(self) -> None:
        """Wait until Alice has made all her blocks and Bob has settled them; LinkError if a process of theirs fails.

        Eve may end before them: the link is given back then.
        """
        broker = asyncio.create_task(self.broker.process.wait(), name="broker")
        needed = self.lives[ALICE], self.lives[BOB], broker
        done, _ = await asyncio.wait(needed, return_when=asyncio.FIRST_COMPLETED)
        if done == {broker}:
            raise LinkError(f"The broker ({self.broker.kind}) has ended: {last_words(self.broker.log)}")
        broker.cancel()
        first = self.bob if self.lives[BOB] in done else self.alice
        if first is self.bob or first.process.returncode != 0:
            raise LinkError(first.last_words)
        await self._until_settled()

    async def _until_settled(self) -> None:
        if self.impersonated:
            return
        with_key = {block.block_id for block in self.alice.blocks if block.secret_bits}
        try:
            async with asyncio.timeout(_SETTLE_TIMEOUT_S), self.bob.settled:
                await self.bob.settled.wait_for(lambda: self.bob.has_settled(with_key))
        except TimeoutError as error:
            raise LinkError("bob did not settle his blocks in time") from error


@asynccontextmanager
async def run_link(
    home: LinkHome,
    parameters: LinkParameters,
    *,
    blocks: int,
    seed: int | None = None,
    alice: Mapping[str, Any] | None = None,
    security: Security = DEFAULT_SECURITY,
    eve: Mapping[str, Any] | None = None,
    watch: Watch = lambda _: None,
    on_broker: Callable[[RunningBroker], None] = lambda _: None,
    line: Line = nullcontext,
    on_eve_end: OnEnd = lambda _: None,
    stolen: Loot | None = None,
    impersonates: bool = False,
) -> AsyncIterator[RunningLink]:
    """Run broker, Bob and Alice while the context is open; every process started here is ended with it.

    With `eve`, her settings (`qkdlink.eve.settings`), she is between them before either of them begins; unless these
    name `key_logs`, she is lent those of both nodes, so that she can tell what she has learnt. If she ends before the
    context does, `on_eve_end` is told her last words, and the link goes on. `alice` are further settings of Alice's
    node (`qkdlink.alice.settings`), such as `rekey_blocks`; with Eve, `ATTACKED` unless they say otherwise. `line` puts
    something between Alice and Bob's ports (`qkdlink.lab.faults.rough_line`). With `stolen` she takes that of both
    nodes now, and may take their places with it; `impersonates` says that she does so from the start.
    ConfigurationError, before anything is started, if another process has the home, or if there is nothing to steal.
    """
    _check_theft(home, stolen)
    async with _only_broker(home, with_eve=eve is not None) as broker:
        on_broker(broker)
        addresses = LinkAddresses(broker.address, *_two_ports())
        own = {**({} if eve is None else ATTACKED), **(alice or {}), "blocks": blocks}
        splice = None if eve is None else Splice(*_two_ports())
        lends = eve is not None and "key_logs" not in eve
        eve = _furnished(eve, lends=lends, impersonates=impersonates)
        home.configure(
            parameters,
            addresses,
            own,
            log_in=broker.has_access_list,
            security=security,
            splice=splice,
            key_logs=lends,
        )
        if splice is not None and eve is not None:
            home.configure_eve(parameters, addresses, splice, eve, log_in=broker.has_access_list)
            if stolen is not None:
                steal(home, stolen)
        async with AsyncExitStack() as processes:
            dialled = await processes.enter_async_context(line(addresses))
            if dialled != addresses:
                log_in = broker.has_access_list
                home.configure(parameters, dialled, own, log_in=log_in, only=ALICE, security=security)
            names = (BOB, ALICE) if eve is None else (EVE, BOB, ALICE)
            nodes: dict[str, Node] = {}
            lives: dict[str, asyncio.Task[None]] = {}

            def telling(_: object) -> None:
                words = nodes[EVE].gone = nodes[EVE].last_words.removeprefix(f"{EVE}: ")
                on_eve_end(words)

            for name in names:
                nodes[name] = await processes.enter_async_context(_running(home, name, seed))
                lives[name] = asyncio.create_task(_live(nodes[name], watch), name=name)
                if name == EVE:
                    await nodes[EVE].started(lives[EVE])
                    lives[EVE].add_done_callback(telling)
            try:
                yield RunningLink(broker, nodes[ALICE], nodes[BOB], nodes.get(EVE), lives, impersonates)
            finally:
                if EVE in lives:
                    lives[EVE].remove_done_callback(telling)
                for node in reversed(nodes.values()):
                    await stop(node.process)
                await asyncio.gather(*lives.values())


@asynccontextmanager
async def _only_broker(home: LinkHome, *, with_eve: bool) -> AsyncIterator[RunningBroker]:
    """Keep other launchers out of the home, and run its broker."""
    with locked_home(home.folder):
        if with_eve:
            home.let_eve_in()
        async with run_broker(home.broker, home.broker_users()) as broker:
            yield broker


def _furnished(eve: Mapping[str, Any] | None, *, lends: bool, impersonates: bool) -> Mapping[str, Any] | None:
    """Return Eve's settings with the key logs of both nodes, if she is to have them, and the homes of her programs."""
    if eve is None:
        return None
    logs = {"key_logs": [f"../{name}/{KEY_LOG_FILE}" for name in (ALICE, BOB)]} if lends else {}
    return {"impersonate": {**IMPERSONATION, "at_start": impersonates}, **eve, **logs}


def _check_theft(home: LinkHome, stolen: Loot | None) -> None:
    if stolen is not None:
        check_there(home, stolen)


def _two_ports() -> tuple[Address, Address]:
    return Address(LOOPBACK, free_port()), Address(LOOPBACK, free_port())


async def _live(node: Node, watch: Watch) -> None:
    await asyncio.gather(node.gather(watch), node.listen())
    await node.process.wait()


def _environment() -> dict[str, str]:
    """Our environment without what would override the nodes' settings: a launched link is the one that was planned."""
    return {name: value for name, value in os.environ.items() if not name.startswith(ENVIRONMENT_PREFIX)}


@asynccontextmanager
async def _running(home: LinkHome, name: str, seed: int | None) -> AsyncIterator[Node]:
    node = await _start(home, name, seed)
    try:
        yield node
    finally:
        await stop(node.process)


async def _start(home: LinkHome, name: str, seed: int | None) -> Node:
    read_end, write_end = os.pipe()
    command = [
        sys.executable,
        "-P",  # a folder called like a package of ours, where we happen to be, is not that package
        "-m",
        f"qkdlink.{name}",
        "--config",
        str(home.configuration(name)),
        "--report-fd",
        str(write_end),
    ]
    if seed is not None:
        command += ["--seed", str(seed)]
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=(write_end,),
            env=_environment(),
            limit=_PIPE_LIMIT_BYTES,
            start_new_session=True,
        )
    finally:
        os.close(write_end)
    reader = asyncio.StreamReader(limit=_PIPE_LIMIT_BYTES)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_end, "rb", buffering=0)
    )
    return Node(name, process, reports=reader, words=cast("asyncio.StreamReader", process.stderr))


async def run_to_the_end(
    home: LinkHome,
    parameters: LinkParameters,
    *,
    blocks: int,
    seed: int | None = None,
    alice: Mapping[str, Any] | None = None,
    security: Security = DEFAULT_SECURITY,
    eve: Mapping[str, Any] | None = None,
    watch: Watch = lambda _: None,
    on_broker: Callable[[RunningBroker], None] = lambda _: None,
    on_eve_end: OnEnd = lambda _: None,
    stolen: Loot | None = None,
) -> LinkResult:
    """Run a link until all blocks are done."""
    started = time.monotonic()
    async with run_link(
        home,
        parameters,
        blocks=blocks,
        seed=seed,
        alice=alice,
        security=security,
        eve=eve,
        watch=watch,
        on_broker=on_broker,
        on_eve_end=on_eve_end,
        stolen=stolen,
        impersonates=stolen is not None,
    ) as link:
        await link.until_done()
    seconds = time.monotonic() - started
    with closing(KeyStore.of(home.node(ALICE))) as store:
        told = {} if eve is None else eve
        anchor = store.vouched().anchor or str(security.anchor)
        return LinkResult(
            link,
            seconds,
            store.balance(),
            anchor,
            tuple(told.get("attacks", ())),
            tuple(told.get("treatments", ())),
            None if stolen is None else impersonation(home, link.alice.blocks, link.bob.blocks),
        )
