"""Eve's two programs come and go while a link runs, and end with her; with too little the link goes on without them."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from qkdlink.common.authentication.scheme import SchemeName
from qkdlink.common.journal.events import (
    AnyEvent,
    BlockEnded,
    CommandRefused,
    Entry,
    HalfLinkChanged,
    PeerRefused,
)
from qkdlink.common.transport.mqtt import BrokerAccess, connect
from qkdlink.common.wire.topics import Topics
from qkdlink.deployment.homes.configuration import LinkAddresses
from qkdlink.deployment.homes.home import LinkHome, open_home
from qkdlink.deployment.homes.names import ALICE, BOB
from qkdlink.deployment.launching.link_run import LinkRun, Observer
from qkdlink.deployment.launching.running_link import RunningLink, run_link
from qkdlink.deployment.stolen.leaks import FACING_ALICE, FACING_BOB
from qkdlink.eve.topics import EVE, control_topic
from qkdlink.lab.faults.kill_trials import tiny_parameters, tiny_settings
from qkdlink.lab.middle.man_in_the_middle import arm
from qkdlink.lab.middle.matrix import Cell, Stolen
from tests.support.processes import Bench, RunningProcess, until

CELL = Cell(Stolen.CERTIFICATES_AFTER, SchemeName.WEGMAN_CARTER)
HOMES = {"alice_home": FACING_BOB, "bob_home": FACING_ALICE, "at_start": False}


@dataclass
class Scene:
    """A running link with Eve between, who has the homes of two programs and has not begun."""

    home: LinkHome
    link: RunningLink
    entries: list[Entry] = field(default_factory=list)

    def of[E: AnyEvent](self, name: str, kind: type[E]) -> list[E]:
        return [entry.event for entry in self.entries if entry.node == name and isinstance(entry.event, kind)]

    @property
    def keys(self) -> int:
        return sum(1 for block in self.of(ALICE, BlockEnded) if block.secret_bits)

    @property
    def programs(self) -> list[int]:
        hers = [str(self.home.node(EVE) / folder / "node.toml") for folder in (FACING_ALICE, FACING_BOB)]
        return [each.pid for each in RunningProcess.all_now() if set(each.command) & set(hers)]

    def steal(self) -> None:
        """Take both certificates now."""
        bench = Bench(self.home, self.link.broker)
        addresses = LinkAddresses(self.link.broker.address, bench.classical, bench.bootstrap)
        arm(CELL, self.home, addresses, log_in=self.link.broker.has_access_list)

    async def impersonate(self, *, on: bool) -> None:
        """Say so to Eve."""
        password = (self.home.node(EVE) / "broker-password").read_text().strip()
        access = BrokerAccess(self.link.broker.address, "a-front-end", EVE, password)
        async with connect(access) as bus:
            command = json.dumps({"command": "impersonate", "on": on}).encode()
            await bus.publish(control_topic(Topics(self.home.link)), command)


@asynccontextmanager
async def scene(folder: Path) -> AsyncIterator[Scene]:
    home, entries = open_home(folder), list[Entry]()
    async with run_link(
        home,
        LinkRun(tiny_parameters(), blocks=0, alice=tiny_settings(), eve={"impersonate": HOMES}),
        Observer(watch=entries.append),
    ) as link:
        playing = Scene(home, link, entries)
        await until(lambda: bool(link.bob.told.bootstrap and playing.keys > 1), "the latch")
        yield playing


async def test_her_programs_begin_and_end_at_a_word_and_end_with_her_and_the_link_goes_on(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path / "link") as playing:
        await playing.impersonate(on=True)
        await until(lambda: bool(playing.of(EVE, CommandRefused)), "a refusal, for want of anything stolen")
        assert not playing.programs

        playing.steal()
        await playing.impersonate(on=True)
        await until(lambda: bool(playing.of(ALICE, PeerRefused)), "Alice's refusal")
        assert len(playing.programs) == 2
        keys = playing.keys
        await playing.impersonate(on=False)
        await until(lambda: playing.keys > keys, "keys without her")
        assert not playing.programs
        assert {each.facing for each in playing.of(EVE, HalfLinkChanged)} == {ALICE, BOB}

        await playing.impersonate(on=True)
        await until(lambda: len(playing.programs) == 2, "both programs once more")
        assert playing.link.eve is not None
        playing.link.eve.process.kill()
        await until(lambda: not playing.programs, "the end of both programs")
