"""A link with Eve between its nodes, all of them real processes: to be killed, stopped, cut off and told things."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from qkdlink.common.journal.events import AnyEvent, BlockEnded, BlockSettled, Entry
from qkdlink.common.protocol.parameters import LinkParameters
from qkdlink.common.transport.addresses import Address
from qkdlink.common.transport.mqtt import BrokerAccess, Bus, connect
from qkdlink.common.wire.topics import Topics
from qkdlink.deployment.brokers.ports import LOOPBACK, free_port
from qkdlink.deployment.homes.configuration import LinkAddresses, Splice
from qkdlink.deployment.homes.home import LinkHome, open_home
from qkdlink.deployment.homes.sites import DEFAULT_LINK
from qkdlink.deployment.launching.link_run import LinkRun, Observer
from qkdlink.deployment.launching.running_link import RunningLink, run_link
from qkdlink.eve.control import Command
from qkdlink.eve.topics import EVE, control_topic
from qkdlink.lab.faults.kill_trials import tiny_parameters
from tests.support.processes import until

BRISK = {"rekey_blocks": 2, "backoff_first_s": 0.01, "backoff_longest_s": 0.5, "light_patience_s": 2.0}
"""Settings of an Alice who waits for nothing longer than a test should take, and does not starve while she waits."""
PATIENCE_S = 90.0
"""What comes at all comes within this, however busy the machine."""


@dataclass
class SplicedLink:
    """What a test has of it."""

    link: RunningLink
    home: LinkHome
    entries: list[Entry] = field(default_factory=list)

    @property
    def eve(self) -> asyncio.subprocess.Process:
        """Her process."""
        assert self.link.eve is not None
        return self.link.eve.process

    def signal_eve(self, number: signal.Signals) -> None:
        """Send her process a signal."""
        os.kill(self.eve.pid, number)

    def told[E: AnyEvent](self, kind: type[E], by: str) -> list[E]:
        """All events of one kind that one node has told."""
        return [e.event for e in self.entries if e.node == by and isinstance(e.event, kind)]

    def keys(self) -> int:
        """Blocks with a key at Alice, so far."""
        return sum(block.secret_bits > 0 for block in self.told(BlockEnded, "alice"))

    async def makes_keys(self, more: int = 2) -> None:
        """Wait until Alice has so many keys more than now; a node that has ended fails the test with its words."""
        goal = self.keys() + more
        await until(lambda: self.keys() >= goal or bool(self.ended()), f"{more} more keys", PATIENCE_S)
        assert not self.ended()

    def ended(self) -> list[str]:
        """Last words of the nodes that have ended."""
        nodes = (self.link.alice, self.link.bob)
        return [node.last_words for node in nodes if self.link.lives[node.name].done()]

    def key_ids(self, node: str) -> set[str]:
        """Blocks of which a node holds a key, so far: at their end, or because it was settled at a later contact."""
        ended = {block.block_id for block in self.told(BlockEnded, node) if block.secret_bits}
        return ended | {block.block_id for block in self.told(BlockSettled, node) if block.available}

    async def agrees(self) -> None:
        """Wait until both ends hold the same keys of the same blocks, those since their start and two more at least.

        Each tells its launcher a running SHA-256 over its keys, in the order of their blocks.
        """
        alice, bob, before = self.link.alice, self.link.bob, self.link.alice.fingerprint
        await self.makes_keys()
        made = self.key_ids("alice")
        await until(
            lambda: made <= self.key_ids("bob") and before != alice.fingerprint == bob.fingerprint,
            "the same fingerprint of all keys at both ends",
            PATIENCE_S,
        )

    async def command(self, command: Command) -> None:
        """Tell Eve something, as her console does."""
        async with self.bus() as bus:
            await bus.publish(control_topic(TOPICS), command.model_dump_json().encode())

    @asynccontextmanager
    async def bus(self, user: str = EVE) -> AsyncIterator[Bus]:
        """Somebody's account at the broker, used by a client of the test's own."""
        password = (self.home.node(user) / "broker-password").read_text().strip()
        access = BrokerAccess(self.link.broker.address, f"test-as-{user}", user, password)
        async with connect(access) as bus:
            yield bus


TOPICS = Topics(DEFAULT_LINK)


@dataclass
class Cable:
    """Eve's way to the broker; cut, nothing passes and nobody is told, as when a plug is pulled."""

    address: Address = field(default_factory=lambda: Address(LOOPBACK, free_port()))
    broker: Address | None = None
    is_whole: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def laid(self) -> AsyncIterator[None]:
        """Carry whoever calls while the context is open."""
        self.mend()
        server = await asyncio.start_server(self.carry, self.address.host, self.address.port)
        try:
            yield
        finally:
            self.mend()
            server.close()

    def cut(self) -> None:
        """Pull the plug."""
        self.is_whole.clear()

    def mend(self) -> None:
        """Put it back."""
        self.is_whole.set()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Join a connection to the broker."""
        assert self.broker is not None
        await self.is_whole.wait()
        there, back = await asyncio.open_connection(self.broker.host, self.broker.port)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._copy(reader, back))
                group.create_task(self._copy(there, writer))
        except* OSError:
            pass
        finally:
            back.transport.abort()
            writer.transport.abort()

    async def _copy(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(1 << 16):
            await self.is_whole.wait()
            sink.write(data)
            await sink.drain()
        raise ConnectionResetError


def eve_behind(patch: pytest.MonkeyPatch) -> Cable:
    """Let every Eve that is configured from now on find the broker behind a cable, which is laid by its test."""
    cable = Cable()
    configure = LinkHome.configure_eve

    def behind_it(
        home: LinkHome,
        parameters: LinkParameters,
        addresses: LinkAddresses,
        splice: Splice,
        told: Mapping[str, object],
        *,
        log_in: bool,
    ) -> None:
        cable.broker = addresses.broker
        elsewhere = replace(addresses, broker=cable.address)
        configure(home, parameters, elsewhere, splice, told, log_in=log_in)

    patch.setattr(LinkHome, "configure_eve", behind_it)
    return cable


@asynccontextmanager
async def spliced_link(
    folder: Path,
    *attacks: str,
    lends: bool = False,
    on_eve_end: Callable[[str], None] = lambda _: None,
    **eve: object,
) -> AsyncIterator[SplicedLink]:
    """A link of tiny blocks without an end, and Eve between, plugged into light and words unless told otherwise.

    With `lends` she is lent the nodes' key logs, and follows every block.
    """
    entries: list[Entry] = []
    settings = {"attacks": list(attacks), **({} if lends else {"key_logs": []}), **eve}
    home = open_home(folder)
    async with run_link(
        home,
        LinkRun(tiny_parameters(), blocks=0, alice=BRISK, eve=settings),
        Observer(watch=entries.append, on_eve_end=on_eve_end),
    ) as link:
        yield SplicedLink(link, home, entries)
