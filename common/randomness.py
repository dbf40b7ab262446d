"""Two kinds of randomness, never mixed: choices are secret, nature is not.

Choices (bits, bases, intensities, hash keys) come from AES-256 in counter mode under a key of the operating
system. Nature (photon numbers, losses, dark counts) comes from a seedable generator. A reproducible run, which only
`demo`, `lab` and tests can ask for, derives both from its seed as a function of (seed, node, purpose, block), never
of call order: timing, threads and frame size change nothing.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

_AES_BLOCK = 16
_ZEROS = bytes(2**16)
"""What is encrypted to get a stream: kept, because making zeros takes longer than encrypting them."""


class Choice(StrEnum):
    """What a party chooses in secret; each has a stream of its own per block."""

    PULSES = "pulses"
    MEASUREMENTS = "measurements"
    RECONCILIATION = "reconciliation"
    VERIFICATION = "verification"
    AMPLIFICATION = "amplification"


class Nature(StrEnum):
    """What nature decides; each has a stream of its own per block."""

    SOURCE = "source"
    DETECTORS = "detectors"
    REFLECTIONS = "reflections"


class ChoiceStream:
    """An endless, seekable string of secret random bytes: AES-256-CTR under a key of its own."""

    def __init__(self, key: bytes) -> None:
        if len(key) != 32:
            raise ValueError("a choice stream needs a key of 32 bytes")
        self._key = key

    def __repr__(self) -> str:
        return "ChoiceStream(redacted)"

    def read(self, start: int, count: int) -> NDArray[np.uint8]:
        """Bytes `start` to `start + count` of the stream, as `uint8[count]`; the same bytes at every call."""
        first_block, skip = divmod(start, _AES_BLOCK)
        counter = first_block.to_bytes(_AES_BLOCK, "big")
        encryptor = Cipher(algorithms.AES(self._key), modes.CTR(counter)).encryptor()
        stream = np.empty(skip + count, np.uint8)
        for begin in range(0, len(stream), len(_ZEROS)):
            part = memoryview(stream)[begin : begin + len(_ZEROS)]
            encryptor.update_into(memoryview(_ZEROS)[: len(part)], part)
        return stream[skip:]

    def bytes(self, count: int) -> bytes:
        """The first `count` bytes of the stream."""
        return self.read(0, count).tobytes()


@dataclass(frozen=True, slots=True)
class Randomness:
    """The randomness of one node: from the operating system, or reproducible where a seed is given.

    `seed` is any integer; None (the only value a node's settings can have) means the operating system.
    """

    node: str
    seed: int | None = field(default=None, repr=False)

    @property
    def reproducible(self) -> bool:
        """Whether anybody who knows the seed can compute every secret of this run."""
        return self.seed is not None

    def choices(self, purpose: Choice, block: int) -> ChoiceStream:
        """Return the stream of secret choices for one purpose in one block."""
        if self.seed is None:
            return ChoiceStream(secrets.token_bytes(32))
        return ChoiceStream(self._derive(f"choice|{purpose}|{block}"))

    def nature(self, purpose: Nature, block: int) -> np.random.Generator:
        """Return the generator by which nature decides, for one purpose in one block."""
        if self.seed is None:
            return np.random.Generator(np.random.PCG64DXSM(secrets.randbits(256)))
        return np.random.Generator(
            np.random.PCG64DXSM(int.from_bytes(self._derive(f"nature|{purpose}|{block}")))
        )

    def _derive(self, label: str) -> bytes:
        root = hashlib.sha256(f"qkdlink reproducible run|{self.seed}".encode()).digest()
        return hmac.digest(root, f"{self.node}|{label}".encode(), "sha256")
