"""What this machine could do at most: what a stage cannot do without, and nothing else, timed in the same run.

These are limits, not rivals: a stage that came to its limit would do nothing but move its own input.
"""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.poly1305 import Poly1305

_BYTES = 2**25
_PIECE_BYTES = 2**20
_PARTIES = 2
_CLICK_BYTES = 6
"""A detection in Bob's record: its gate in four bytes, its basis, its bit."""
_RUNS = 5


@dataclass(frozen=True, slots=True)
class Limit:
    """The most of a stage's units per second, and why it cannot be more."""

    stage: str
    value: float
    because: str


def measured(size: int = _BYTES) -> Iterator[Limit]:
    """Time the limits with `size` bytes each, the median of some runs."""
    data = os.urandom(size)
    copied = _bytes_per_second(lambda: np.frombuffer(data, np.uint8).copy(), size)
    yield Limit(
        "source-channel-detector",
        _bytes_per_second(lambda: _encrypt(size), size),
        "one byte of AES-256-CTR per pulse: its state cannot be chosen with less randomness of this kind",
    )
    yield Limit(
        "transport",
        _bytes_per_second(lambda: _carry(data), size),
        "one byte per pulse through one loopback socket, with no broker between",
    )
    yield Limit(
        "sift", copied / (_PARTIES * _CLICK_BYTES), "one copy of a detection's six bytes at each party"
    )
    yield Limit("reconcile", copied / _PARTIES, "one copy of a key, a byte per bit, at each party")
    yield Limit("amplify", copied / _PARTIES, "one copy of a key, a byte per bit, at each party")
    yield Limit(
        "authenticate",
        _bytes_per_second(lambda: Poly1305.generate_tag(bytes(32), data), size) / _PARTIES,
        "Poly1305 over the conversation, once at each party",
    )


def _bytes_per_second(run: Callable[[], object], size: int) -> float:
    seconds = []
    for _ in range(1 + _RUNS):
        started = perf_counter()
        run()
        seconds.append(perf_counter() - started)
    return size / median(seconds[1:])


def _encrypt(size: int) -> None:
    zeros, room = bytes(_PIECE_BYTES), bytearray(_PIECE_BYTES + 16)
    stream = Cipher(AES(os.urandom(32)), CTR(bytes(16))).encryptor()
    for _ in range(0, size, _PIECE_BYTES):
        stream.update_into(zeros, room)


def _carry(data: bytes) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as sender,
        server.accept()[0] as receiver,
    ):
        writer = threading.Thread(target=sender.sendall, args=(data,))
        writer.start()
        room, left = bytearray(_PIECE_BYTES), len(data)
        while left:
            left -= receiver.recv_into(room)
        writer.join()
