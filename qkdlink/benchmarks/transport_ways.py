"""`python -m qkdlink.benchmarks.transport_ways`: the line for light, aiomqtt and bare sockets, for several sizes of
frames.

All three in turns through one Mosquitto. `ours` seals, opens and receipts; the others carry bytes and do nothing with
them. Processor time is that of this process, which is both ends, per pulse of one byte; the broker's is not in it.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from functools import partial
from statistics import median

import numpy as np

from qkdlink.benchmarks.transport import bare_sockets, broker, frame_bytes, plain_clients, sealed_light

_SIZES_LOG2 = (18, 19, 20, 21)
_PULSES = 2**26
"""Fewer frames than the broker queues for a reader: those that have no window would lose the others."""
_RUNS = 7

type Carry = Callable[[], Awaitable[None]]


async def main() -> None:
    """Print one line per size and way."""
    print("    frame   way                       Mpulse/s   spread   ns of both ends per pulse")
    async with (
        broker() as address,
        sealed_light(address) as sealed,
        plain_clients(address) as plain,
        bare_sockets(address) as bare,
    ):
        for size_log2 in _SIZES_LOG2:
            states = np.random.default_rng().integers(0, 256, 2**size_log2, np.uint8)
            payload, frames = secrets.token_bytes(frame_bytes(states)), _PULSES >> size_log2
            ways: dict[str, Carry] = {
                "ours, sealed": partial(sealed.carry, states, frames),
                "aiomqtt, unsealed": partial(plain.carry, payload, frames),
                "bare sockets, unsealed": partial(bare.carry, payload, frames),
            }
            for way, (rate, spread, cost) in (await _measured(ways)).items():
                print(
                    f"    2^{size_log2}    {way:22}   {rate / 1e6:11.0f}   {spread:6.0%}   {cost * 1e9:10.2f}"
                )


async def _measured(ways: dict[str, Carry]) -> dict[str, tuple[float, float, float]]:
    """Rate, spread and processor time per pulse of each way, in turns; the first turn does not count."""
    seen: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for _ in range(1 + _RUNS):
        for way, carry in ways.items():
            started, busy = time.perf_counter(), time.process_time()
            await carry()
            seen[way].append((time.perf_counter() - started, time.process_time() - busy))
    found = {}
    for way, runs in seen.items():
        rates = [_PULSES / seconds for seconds, _ in runs[1:]]
        rate = median(rates)
        found[way] = rate, (max(rates) - min(rates)) / rate, median(busy for _, busy in runs[1:]) / _PULSES
    return found


if __name__ == "__main__":
    asyncio.run(main())
