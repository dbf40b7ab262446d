"""Subscribes to everything at the broker, publishes light, and prints what came of it. Runs in a container."""

import asyncio
import json
import shutil
import ssl
import sys
import tempfile
from pathlib import Path

import aiomqtt

from qkdlink.common.transport.apparatus import apparatus_context
from qkdlink.common.trust.pki import issue

SECONDS = 4.0


async def main(authority: str, name: str) -> dict[str, object]:
    """Go to the broker as `name`, certified by the authority in that folder; without one, as nobody."""
    here = Path(tempfile.mkdtemp())
    folder = here / "stranger"
    context = apparatus_context(Path("/link/apparatus-ca/certificate.pem"))
    if authority != "nobody":
        shutil.copytree(Path("/link", authority), here / "authority")  # it keeps a record of what it issues
        issue(here / "authority", name, folder)
        context.load_cert_chain(folder / "certificate.pem", folder / "private-key.pem")
    topics: set[str] = set()
    try:
        async with aiomqtt.Client("broker", 8883, identifier=name, tls_context=context, timeout=5) as client:
            await client.subscribe([("#", 1), ("$SYS/#", 1)])
            await client.publish("qkd/link-1/site-a/light/site-b", b"light of a stranger", qos=1)
            try:
                async with asyncio.timeout(SECONDS):
                    async for message in client.messages:
                        topics.add(message.topic.value)
            except TimeoutError:
                return {"admitted": True, "topics": sorted(topics)}
    except (aiomqtt.MqttError, ssl.SSLError, OSError) as error:
        return {"admitted": False, "topics": sorted(topics), "error": str(error)}
    return {"admitted": False, "topics": sorted(topics), "error": "the broker ended the connection"}


sys.stdout.write(json.dumps(asyncio.run(main(*sys.argv[1:]))))
