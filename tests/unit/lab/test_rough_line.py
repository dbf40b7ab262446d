"""The long line of the laboratory: everything arrives, in order, later, and what follows does not wait for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from qkdlink.common.transport.addresses import Address
from qkdlink.deployment.brokers.ports import LOOPBACK, free_port
from qkdlink.lab.faults.rough_line import RoughLine

DELAY_S = 0.05


@asynccontextmanager
async def echo_over(line: RoughLine) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while some := await reader.read(1 << 16):
            writer.write(some)
            await writer.drain()
        writer.close()

    begins, ends = Address(LOOPBACK, free_port()), Address(LOOPBACK, free_port())
    server = await asyncio.start_server(echo, ends.host, ends.port)
    async with server, line.relaying(begins, ends):
        reader, writer = await asyncio.open_connection(begins.host, begins.port)
        yield reader, writer
        writer.close()


async def test_a_round_trip_takes_twice_the_delay() -> None:
    async with echo_over(RoughLine(delay_s=DELAY_S)) as (reader, writer):
        started = asyncio.get_running_loop().time()
        writer.write(b"there and back")
        assert await reader.readexactly(14) == b"there and back"
        assert asyncio.get_running_loop().time() - started >= 2 * DELAY_S


async def test_what_is_sent_together_arrives_together_whole_and_in_order() -> None:
    much = b"".join(number.to_bytes(4) for number in range(250_000))  # a megabyte: 62 chunks
    async with echo_over(RoughLine(delay_s=DELAY_S)) as (reader, writer):
        started = asyncio.get_running_loop().time()
        writer.write(much)
        writer.write_eof()
        assert await reader.read() == much
        assert asyncio.get_running_loop().time() - started < 62 * DELAY_S  # one after the other takes 124
