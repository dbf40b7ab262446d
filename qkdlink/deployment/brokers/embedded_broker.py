"""`python -m qkdlink.deployment.brokers.embedded_broker FOLDER PORT`: amqtt on loopback, without an access list, until
told to stop.

It reads and writes nothing in the folder, which is there for lists of processes: they show whose broker it is.
"""

import asyncio
import signal
import sys
from collections.abc import ItemsView, Iterator

from amqtt.adapters import ReaderAdapter, StreamReaderAdapter, StreamWriterAdapter, WriterAdapter
from amqtt.broker import Broker
from amqtt.mqtt.protocol.broker_handler import BrokerProtocolHandler
from amqtt.session import Session

from qkdlink.common.wire.mqtt_packets import LONGEST_MESSAGE, UNSUPPORTED, V311, Packet

_CONFIGURATION = {
    "listeners": {"default": {"type": "tcp", "max_connections": 50}},
    "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
}


_PATIENCE_S = 10.0
_PROTOCOL = b"MQTT"


class _Subscriptions(dict[str, list[tuple[Session, int]]]):
    """Who reads what, to be walked over while somebody else subscribes.

    amqtt 0.12 waits in the middle of such walks (`_handle_client_session`, `_run_broadcast`). A subscription in that
    moment would end the walk, and leave a client connected to which the broker never listens.
    """

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self.keys()))

    def items(self) -> ItemsView[str, list[tuple[Session, int]]]:  # type: ignore[override] # its class has no name
        return dict(super().items()).items()


class _Continued(StreamReaderAdapter):  # type: ignore[misc] # amqtt has no types
    """What a client says, from its beginning, part of which has been read already."""

    def __init__(self, reader: asyncio.StreamReader, beginning: bytes) -> None:
        super().__init__(reader)
        self._beginning = beginning

    async def read(self, n: int = -1) -> bytes:
        """Read `n` bytes."""
        beginning, self._beginning = self._beginning[:n], self._beginning[n:]
        rest = n - len(beginning)
        return beginning + (await super().read(rest) if rest else b"")


class _Broker(Broker):  # type: ignore[misc] # amqtt has no types
    """amqtt, which refuses MQTT 5 at once, and keeps nothing that is longer than any retained message of a link."""

    async def stream_connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, listener_name: str
    ) -> None:
        """Serve a client, or refuse one that asks for MQTT 5, which amqtt 0.12 would wait for without an end."""
        try:
            async with asyncio.timeout(_PATIENCE_S):
                beginning = await reader.readuntil(_PROTOCOL) + await reader.readexactly(1)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            writer.close()
            return
        if beginning[-1] > V311:
            writer.write(bytes([Packet.CONNACK, 2, 0, UNSUPPORTED[0]]))
            writer.close()
            return
        await self.external_connected(
            _Continued(reader, beginning), StreamWriterAdapter(writer), listener_name
        )

    async def _initialize_client_session(
        self, reader: ReaderAdapter, writer: WriterAdapter, remote_address: str, remote_port: int
    ) -> tuple[BrokerProtocolHandler, Session]:
        """Wait one and a half times the keep-alive for a client (MQTT 3.1.1, section 3.1.2.10), two seconds at least.

        amqtt waits exactly once, and clients look only once a second whether a ping is due.
        """
        handler, session = await super()._initialize_client_session(
            reader, writer, remote_address, remote_port
        )
        if session.keep_alive > 0:
            session.keep_alive += max(session.keep_alive // 2, 2)
        return handler, session

    async def retain_message(
        self,
        source_session: Session | None,
        topic_name: str | None,
        data: bytes | bytearray | None,
        qos: int | None = None,
    ) -> None:
        """Keep a message for readers that come later, unless it is longer than any that a link retains."""
        if data is None or len(data) <= LONGEST_MESSAGE:
            await super().retain_message(source_session, topic_name, data, qos)


async def _serve(port: int) -> None:
    listeners = {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}", "max_connections": 50}}
    broker = _Broker({**_CONFIGURATION, "listeners": listeners})
    broker._subscriptions = _Subscriptions()  # noqa: SLF001 - there is no other way to it
    told_to_stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told_to_stop.set)
    await broker.start()
    await told_to_stop.wait()
    await broker.shutdown()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[2])))
