"""Plays Eve with the account of her console: says one command at her control topic. Runs in a container."""

import asyncio
import json
import sys
from pathlib import Path

from qkdlink.commands.eve import CONSOLE
from qkdlink.common.node.broker import broker_access
from qkdlink.common.node.settings import load_settings
from qkdlink.common.transport.mqtt import connect
from qkdlink.common.wire.topics import Topics
from qkdlink.eve.settings import EveSettings
from qkdlink.eve.topics import control_topic

HERS = Path("/node")


async def say(command: str) -> dict[str, object]:
    """Say it, as JSON."""
    settings = load_settings(EveSettings, HERS / "node.toml")
    account = settings.model_copy(update={"broker": settings.console})
    async with connect(broker_access(account, CONSOLE, HERS)) as bus:
        await bus.publish(control_topic(Topics(settings.link)), command.encode())
    return {"said": json.loads(command)}


sys.stdout.write(json.dumps(asyncio.run(say(sys.argv[1]))))
