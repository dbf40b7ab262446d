"""`python -m lab.embedded_broker PORT`: amqtt on loopback, without an access list, until told to stop."""

import asyncio
import signal
import sys

from amqtt.broker import Broker

_CONFIGURATION = {
    "listeners": {"default": {"type": "tcp", "max_connections": 50}},
    "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
}


async def _serve(port: int) -> None:
    listeners = {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}", "max_connections": 50}}
    broker = Broker({**_CONFIGURATION, "listeners": listeners})
    told_to_stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told_to_stop.set)
    await broker.start()
    await told_to_stop.wait()
    await broker.shutdown()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
