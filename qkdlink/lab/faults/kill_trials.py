"""One trial: real processes make blocks, somebody dies at a named point, is started again, and all has to be well.

Every block begins an epoch of its own as soon as it can. One node dies where it is told to, alone or taking the other
with it; whoever is dead is started again, and Alice makes her blocks to the end. Both stores are looked at after each
death and at the end, both journals at the end.
"""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qkdlink.common.journal.events import BlockEnded
from qkdlink.common.optics.presets import DEFAULT_PRESET, preset
from qkdlink.common.protocol.parameters import LinkParameters
from qkdlink.common.protocol.variants.single_photon import SINGLE_PHOTON
from qkdlink.common.transport.addresses import Address
from qkdlink.deployment.brokers.broker import run_broker
from qkdlink.deployment.brokers.ports import LOOPBACK, free_port
from qkdlink.deployment.homes.configuration import LinkAddresses
from qkdlink.deployment.homes.home import LinkHome, open_home
from qkdlink.deployment.homes.names import ALICE, BOB
from qkdlink.deployment.planning.planner import plan, task_for
from qkdlink.deployment.processes.endings import told_end
from qkdlink.lab.faults.agreement import NODES, Audit, journal_faults, journal_of
from qkdlink.lab.faults.mortal import Death, Mortal

PULSES = 80_000
"""Some four thousand secret bits, in a tenth of a second: enough to pay for tags and to fill a reserve."""
_BLOCKS = 9
_FRAME_PULSES = 10_000
_IMPATIENT = {"backoff_first_s": 0.02, "backoff_longest_s": 0.2}
"""Whoever is killed all the time would otherwise spend the time with pausing."""
_TIMEOUT_S = 120.0
_LOOK_EVERY_S = 0.01
_SETTLING_LOOKS = 500


@dataclass(frozen=True, slots=True)
class Trial:
    """Who dies where; `together` if the other node is killed at the same moment."""

    deaths: tuple[tuple[str, Death], ...]
    together: bool = False

    @property
    def name(self) -> str:
        """How a report names it."""
        told = " and ".join(f"{node} {death.point} ({death.on})" for node, death in self.deaths)
        return f"{told}, together" if self.together else told


@dataclass(slots=True)
class Finding:
    """What came of a trial."""

    trial: str
    faults: list[str] = field(default_factory=list)
    deaths: int = 0
    keys: int = 0
    """Blocks with a key at the end."""
    seconds: float = 0.0


def tiny_parameters(pulses: int = PULSES) -> LinkParameters:
    """Plan a small block of single photons that surely makes a key."""
    return plan(task_for(preset(DEFAULT_PRESET), pulses, SINGLE_PHOTON.name)).link_parameters()


def tiny_settings(**alice: object) -> dict[str, Any]:
    """Return what only Alice is told: every block begins an epoch, and nobody pauses for long."""
    return {"rekey_blocks": 1, "frame_pulses": _FRAME_PULSES, **_IMPATIENT, **alice}


@asynccontextmanager
async def tiny_link(**alice: object) -> AsyncIterator[LinkHome]:
    """Furnish a link of tiny blocks in a folder of its own, with a broker; its nodes are started by whoever asks."""
    with tempfile.TemporaryDirectory() as folder:
        home = open_home(Path(folder))
        async with run_broker(home.broker, home.broker_users()) as broker:
            addresses = LinkAddresses(
                broker.address, Address(LOOPBACK, free_port()), Address(LOOPBACK, free_port())
            )
            home.configure(
                tiny_parameters(), addresses, tiny_settings(**alice), log_in=broker.has_access_list
            )
            yield home


async def run_trial(trial: Trial) -> Finding:
    """Run one trial; its faults are empty if all was well."""
    started, finding = time.monotonic(), Finding(trial.name)
    async with tiny_link(blocks=_BLOCKS) as home:
        run = _Run(home, trial, finding)
        try:
            await run.to_the_end()
        finally:
            run.stop()
        if not finding.faults:
            run.judge()
    finding.seconds = time.monotonic() - started
    return finding


class _Run:
    """The nodes of one trial, started again for as long as they die as they were told to."""

    def __init__(self, home: LinkHome, trial: Trial, finding: Finding) -> None:
        self._home = home
        self._trial = trial
        self._finding = finding
        self._latched_at = self._last_death_at = float("inf")
        deaths = dict(trial.deaths)
        self._nodes = {name: Mortal(home, name, deaths.get(name)) for name in (BOB, ALICE)}

    async def to_the_end(self) -> None:
        """Wait until Alice has made all her blocks and Bob has settled them."""
        deadline = time.monotonic() + _TIMEOUT_S
        while time.monotonic() < deadline:
            dead = [name for name, node in self._nodes.items() if node.was_killed]
            ended = [name for name, node in self._nodes.items() if node.status not in (None, -9)]
            if dead:
                self._bury(dead)
            elif ended:
                break
            await asyncio.sleep(_LOOK_EVERY_S)
        else:
            self._finding.faults.append(f"Alice has not come to her end within {_TIMEOUT_S:g} s")
            return
        await self._ended(ended[0])

    def stop(self) -> None:
        """End whoever still runs."""
        for node in self._nodes.values():
            node.stop()

    def judge(self) -> None:
        """Look at what is left on the disk."""
        finding = self._finding
        if finding.deaths < len(self._trial.deaths):
            finding.faults.append(f"{finding.deaths} deaths instead of {len(self._trial.deaths)}")
        finding.faults += [*Audit(self._home).settled_faults(), *journal_faults(self._home, self._latched_at)]
        with_key = [
            (at, event)
            for at, event in journal_of(self._home, ALICE)
            if isinstance(event, BlockEnded) and event.secret_bits
        ]
        finding.keys = len(with_key)
        if not any(at > self._last_death_at and e.authenticated_by == "wegman-carter" for at, e in with_key):
            finding.faults.append("the link has not gone on")

    def _bury(self, dead: list[str]) -> None:
        """Look at both stores after a death, and start again whoever is dead."""
        self._finding.deaths += len(dead)
        if self._trial.together:
            for node in self._nodes.values():
                node.kill()
            dead = list(NODES)
        audit = Audit(self._home)
        self._finding.faults += audit.faults()
        self._last_death_at = time.time()
        if audit.is_latched():
            self._latched_at = min(self._latched_at, time.time())
        for name in sorted(dead, reverse=True):
            self._nodes[name] = Mortal(self._home, name)

    async def _ended(self, name: str) -> None:
        """Note a node's end; Alice's in order is the end of the trial, once Bob has caught up."""
        node = self._nodes[name]
        if name == BOB or node.status != 0:
            self._finding.faults.append(f"{told_end(name, node.status)}; it said: {node.words.strip()}")
            return
        for _ in range(_SETTLING_LOOKS):
            if Audit(self._home).is_settled:
                return
            await asyncio.sleep(_LOOK_EVERY_S)
