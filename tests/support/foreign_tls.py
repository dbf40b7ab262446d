"""Programs that are not ours, at either end of a TLS line: they believe everybody, and say what ours would say."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from qkdlink.common.transport.connections import ACCEPTED


async def knock(port: int, context: ssl.SSLContext) -> bytes:
    """Dial with a foreign program and return the first byte that the listener lets it read, if any."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="bob")
    except OSError:
        return b""
    try:
        async with asyncio.timeout(5):
            return await reader.read(1)
    except OSError:
        return b""
    finally:
        writer.transport.abort()


@asynccontextmanager
async def answering(context: ssl.SSLContext) -> AsyncIterator[int]:
    """Listen with a foreign program that takes everybody and says what our listener would say."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(ACCEPTED)
        await reader.read()
        writer.close()

    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        server.abort_clients()
