"""Eve's entrances under a flood of connections on which nothing is said."""

import asyncio

from qkdlink.common.transport.addresses import Address
from qkdlink.deployment.brokers.ports import LOOPBACK, free_port
from qkdlink.eve.relay import MAX_UNANSWERED, ClassicalRelay


async def test_a_flood_at_eves_entrance_is_bounded_and_neither_answered_lines_nor_new_ones_are_lost() -> None:
    held = 0

    async def bob(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal held
        held += 1
        while data := await reader.read(100):
            writer.write(data)
        held -= 1
        writer.close()

    async def is_answered(line: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> bool:
        line[1].write(b"hello")
        return await line[0].readexactly(5) == b"hello"

    server = await asyncio.start_server(bob, LOOPBACK, 0)
    onward, at = Address(LOOPBACK, server.sockets[0].getsockname()[1]), Address(LOOPBACK, free_port())
    async with server, ClassicalRelay().listening(at, onward):
        lines = [await asyncio.open_connection(at.host, at.port)]
        try:
            async with asyncio.timeout(10):
                assert await is_answered(lines[0])
                for _ in range(5 * MAX_UNANSWERED):
                    lines += [await asyncio.open_connection(at.host, at.port)]
                assert await is_answered(lines[0])
                assert await is_answered(lines[-1])
                while held > MAX_UNANSWERED + 2:  # noqa: ASYNC110 - nothing tells of it
                    await asyncio.sleep(0.01)
        finally:
            for _, writer in lines:
                writer.close()
