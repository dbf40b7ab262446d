"""`python -m lab.embedded_broker FOLDER PORT`: amqtt on loopback, without an access list, until told to stop.

It reads and writes nothing in the folder, which is there for lists of processes: they show whose broker it is.
"""

import asyncio
import signal
import sys
from collections.abc import ItemsView, Iterator

from amqtt.broker import Broker
from amqtt.session import Session

_CONFIGURATION = {
    "listeners": {"default": {"type": "tcp", "max_connections": 50}},
    "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
}


class _Subscriptions(dict[str, list[tuple[Session, int]]]):
    """Who reads what, to be walked over while somebody else subscribes.

    amqtt 0.12 waits in the middle of such walks (`_handle_client_session`, `_run_broadcast`). A subscription in that
    moment would end the walk, and leave a client connected to which the broker never listens.
    """

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self.keys()))

    def items(self) -> ItemsView[str, list[tuple[Session, int]]]:  # type: ignore[override] # its class has no name
        return dict(super().items()).items()


async def _serve(port: int) -> None:
    listeners = {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}", "max_connections": 50}}
    broker = Broker({**_CONFIGURATION, "listeners": listeners})
    broker._subscriptions = _Subscriptions()  # noqa: SLF001 - there is no other way to it
    told_to_stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told_to_stop.set)
    await broker.start()
    await told_to_stop.wait()
    await broker.shutdown()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[2])))
