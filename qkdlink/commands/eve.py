"""The console's way to the broker: Eve's own settings, under another name, and nothing of hers but her account."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from qkdlink.common.errors import ConfigurationError
from qkdlink.common.journal.events import Entry
from qkdlink.common.node.broker import broker_access
from qkdlink.common.node.settings import CONFIGURATION_FILE, load_settings
from qkdlink.common.transport.mqtt import Bus, Subscription, connect
from qkdlink.common.unique_json import refuse_repeated_members
from qkdlink.common.wire.topics import Topics
from qkdlink.deployment.homes.home import existing_home
from qkdlink.deployment.stolen.theft import loot_from, no_place, steal
from qkdlink.eve.control import Command
from qkdlink.eve.settings import EveSettings
from qkdlink.eve.topics import EVE, control_topic

CONSOLE = "eve-console"
"""Who the console is at the broker, beside Eve herself."""
_UNREAD_ENTRIES = 256
"""What a slow terminal keeps waiting; more is dropped by the subscription, and shows as a gap."""


@dataclass(frozen=True, slots=True)
class BrokerWires:
    """Everybody's journals, and Eve's control topic."""

    bus: Bus
    topics: Topics
    told: Mapping[str, Subscription]
    """Each program's journal, by the name that its entries carry."""

    async def journals(self) -> AsyncIterator[Entry]:
        """Everything that is told from now on; what is no event, or is on another node's topic, is dropped."""
        arrived: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(_UNREAD_ENTRIES)
        readers = [
            asyncio.create_task(_forward(each, arrived), name=each.topic) for each in self.told.values()
        ]
        try:
            while True:
                topic, payload = await arrived.get()
                with suppress(ValueError):  # pydantic's are of this kind
                    refuse_repeated_members(payload)
                    entry = Entry.model_validate_json(payload)
                    if entry.node in self.told and topic == self.told[entry.node].topic:
                        yield entry
        finally:
            for reader in readers:
                reader.cancel()

    async def say(self, command: Command) -> None:
        """Tell Eve something; LinkError if the broker is away."""
        await self.bus.publish(control_topic(self.topics), command.model_dump_json().encode())


async def open_wires(bus: Bus, settings: EveSettings) -> BrokerWires:
    """Listen to everybody."""
    topics = Topics(settings.link)
    sites = dict(zip((settings.alice, settings.bob, EVE), (*settings.sites, EVE), strict=True))
    told = {name: await bus.subscribe(topics.journal(site)) for name, site in sites.items()}
    return BrokerWires(bus, topics, told)


def play(home: Path | None, config: Path | None, stolen: Sequence[str] = ()) -> None:
    """Run the console until it is left; Eve stays. With `stolen` she takes that of both nodes of `home` first."""
    loot, file = loot_from(stolen), _configuration(home, config)
    if loot is not None:
        if home is None:
            raise ConfigurationError("To steal, name the --home of a link: both nodes' folders are in it.")
        steal(existing_home(home.resolve()), loot)
    asyncio.run(_play(file))


async def _play(config: Path) -> None:
    from qkdlink.views.eve_console import EveConsole
    from qkdlink.views.eve_scene import Scene

    settings = load_settings(EveSettings, config)
    broker = settings.console or settings.broker.model_copy(
        update={"client_id": f"{settings.link}-{CONSOLE}"}
    )
    access = broker_access(settings.model_copy(update={"broker": broker}), CONSOLE, config.parent)
    async with connect(access) as bus:
        wires = await open_wires(bus, settings)
        await EveConsole(wires, Scene(settings.alice, settings.bob)).run_async()


def _configuration(home: Path | None, config: Path | None) -> Path:
    if (home is None) == (config is None):
        raise ConfigurationError("Name either Eve's --config or the --home of a link with Eve.")
    if home is None:
        return config or Path()
    file = home / EVE / CONFIGURATION_FILE
    if not file.exists():
        raise ConfigurationError(no_place(home))
    return file


async def _forward(source: Subscription, arrived: asyncio.Queue[tuple[str, bytes]]) -> None:
    while True:
        await arrived.put((source.topic, bytes((await source.get()).payload)))
