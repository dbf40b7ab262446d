"""Starts a whole link on this machine, as separate processes, and ends all of them."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from qkdlink.common.errors import LinkError
from qkdlink.common.journal.events import Entry
from qkdlink.common.journal.link_state import KEPT, LinkState
from qkdlink.common.store.home_lock import locked_home
from qkdlink.common.transport.addresses import Address
from qkdlink.deployment.brokers.broker import RunningBroker, last_words, run_broker, stop
from qkdlink.deployment.brokers.ports import LOOPBACK, free_port
from qkdlink.deployment.homes.configuration import LinkAddresses, Splice
from qkdlink.deployment.homes.home import ATTACKED, LinkHome
from qkdlink.deployment.homes.names import ALICE, BOB
from qkdlink.deployment.launching.link_run import NOBODY, LinkRun, Observer
from qkdlink.deployment.launching.node_process import NodeProcess, running_node
from qkdlink.deployment.stolen.theft import IMPERSONATION, check_there, steal
from qkdlink.eve.topics import EVE

_SETTLE_TIMEOUT_S = 15.0


@dataclass(frozen=True, slots=True)
class RunningLink:
    """A link while it runs."""

    broker: RunningBroker
    state: LinkState
    """What the nodes have told."""
    alice: NodeProcess
    bob: NodeProcess
    eve: NodeProcess | None
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
        with_key = {block.block_id for block in self.alice.told.ended if block.secret_bits}
        try:
            async with asyncio.timeout(_SETTLE_TIMEOUT_S), self.bob.settled:
                await self.bob.settled.wait_for(lambda: self.bob.told.has_settled(with_key))
        except TimeoutError as error:
            raise LinkError("bob did not settle his blocks in time") from error


@asynccontextmanager
async def run_link(home: LinkHome, run: LinkRun, observer: Observer = NOBODY) -> AsyncIterator[RunningLink]:
    """Run broker, Bob and Alice, and Eve if she has settings, while the context is open.

    Every process started here is ended with it, except that Eve may end before: the link goes on.
    ConfigurationError, before anything is started, if another process has the home, or if there is nothing to steal.
    """
    if run.stolen is not None:
        check_there(home, run.stolen)
    async with _only_broker(home, with_eve=run.eve is not None) as broker, AsyncExitStack() as processes:
        observer.on_broker(broker)
        addresses = LinkAddresses(broker.address, *_two_ports())
        dialled = await processes.enter_async_context(run.line(addresses))
        _configure(home, run, addresses, dialled, log_in=broker.has_access_list)
        names = (BOB, ALICE) if run.eve is None else (EVE, BOB, ALICE)
        state = LinkState(max(KEPT, run.blocks or 0), EVE)
        nodes: dict[str, NodeProcess] = {}
        lives: dict[str, asyncio.Task[None]] = {}

        def eve_ended(_: object) -> None:
            words = nodes[EVE].gone = nodes[EVE].last_words.removeprefix(f"{EVE}: ")
            observer.on_eve_end(words)

        for name in names:
            nodes[name] = await processes.enter_async_context(running_node(home, name, run.seed, state))
            lives[name] = asyncio.create_task(_live(nodes[name], observer.watch), name=name)
            if name == EVE:
                await nodes[EVE].started(lives[EVE])
                lives[EVE].add_done_callback(eve_ended)
        try:
            yield RunningLink(
                broker, state, nodes[ALICE], nodes[BOB], nodes.get(EVE), lives, run.impersonates
            )
        finally:
            if EVE in lives:
                lives[EVE].remove_done_callback(eve_ended)
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


def _configure(
    home: LinkHome, run: LinkRun, addresses: LinkAddresses, dialled: LinkAddresses, *, log_in: bool
) -> None:
    """Write the configuration of every node of the run; Alice dials where `dialled` says."""
    alice = {**({} if run.eve is None else ATTACKED), **run.alice, "blocks": run.blocks}
    splice = None if run.eve is None else Splice(*_two_ports())
    reads_key_logs = run.eve is not None and "key_logs" not in run.eve
    home.configure(
        run.parameters,
        addresses,
        alice,
        log_in=log_in,
        security=run.security,
        splice=splice,
        key_logs=reads_key_logs,
    )
    if dialled != addresses:
        home.configure(run.parameters, dialled, alice, log_in=log_in, only=ALICE, security=run.security)
    if splice is not None and run.eve is not None:
        told = _settings_of_eve(home, run.eve, reads_key_logs=reads_key_logs, impersonates=run.impersonates)
        home.configure_eve(run.parameters, addresses, splice, told, log_in=log_in)
        if run.stolen is not None:
            steal(home, run.stolen)


def _settings_of_eve(
    home: LinkHome, eve: Mapping[str, Any], *, reads_key_logs: bool, impersonates: bool
) -> Mapping[str, Any]:
    """Return Eve's settings with the key logs of both nodes, if she is to have them, and the homes of her programs."""
    logs = (
        {"key_logs": [os.path.relpath(home.key_log(name), home.node(EVE)) for name in (ALICE, BOB)]}
        if reads_key_logs
        else {}
    )
    return {"impersonate": {**IMPERSONATION, "at_start": impersonates}, **eve, **logs}


def _two_ports() -> tuple[Address, Address]:
    return Address(LOOPBACK, free_port()), Address(LOOPBACK, free_port())


async def _live(node: NodeProcess, watch: Callable[[Entry], None]) -> None:
    await asyncio.gather(node.gather(watch), node.listen())
    await node.process.wait()
