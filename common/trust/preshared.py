"""A secret that was delivered out of band: the file, made once, read strictly, and cut by a published rule.

    bits               for
    first 256          the bootstrap's keys: its TLS line, its HMAC tags (see `qkdlink.common.keys.derivation`)
    the rest, halved   pads of Wegman-Carter tags, Alice to Bob and Bob to Alice, in whole units of 256 bits

Its first line is a checksum (CRC-32), which a file that another hand has made may lack. It stands before the digits, so
that a file that was cut short still has it, and finds out the errors of copying and typing; it is no defence against
anybody, who would compute it anew, and as it never leaves the file it tells nobody more than the file.

A file has pads if they last for every block that a bootstrap may have; what a shorter one has beyond its first 256 bits
is not used. Both nodes have the same file, so both cut alike.
"""

import os
import re
import secrets
import stat
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from qkdlink.common.errors import CredentialsError
from qkdlink.common.keys.allotment import TAG_BITS, UNIT_BITS
from qkdlink.common.keys.derivation import KEY_BYTES
from qkdlink.common.protocol.rekeying import MOST_BOOTSTRAP_KEYS
from qkdlink.common.text_files import text_of
from qkdlink.common.trust.private_files import NewFile, private_folder, write_new

KEY_BITS = 8 * KEY_BYTES
PADS_FROM_BITS = KEY_BITS + MOST_BOOTSTRAP_KEYS * 2 * TAG_BITS
"""From this length on a file has pads, too."""
LARGEST_BITS = 1 << 20
PRESHARED_FILE = "pre-shared.key"

_DIGITS_PER_LINE = 64
_CHECKSUM = re.compile(rb"\s*crc32\s+(?P<sum>[0-9a-f]{8})(?=\s)", re.IGNORECASE)
_LARGEST_FILE_BYTES = LARGEST_BITS // 4 * 2
"""Its digits, and as much again for line ends and spaces."""


@dataclass(frozen=True, slots=True)
class PresharedSecret:
    """What both nodes were given by hand."""

    material: bytes = field(repr=False)

    @property
    def bits(self) -> int:
        """How long it is."""
        return 8 * len(self.material)

    @property
    def key(self) -> bytes:
        """The part (32 bytes) that keys are derived from."""
        return self.material[:KEY_BYTES]

    @property
    def pads(self) -> tuple[bytes, bytes] | None:
        """The pads from Alice to Bob and from Bob to Alice, equally long, in whole units; None if it is too short."""
        if self.bits < PADS_FROM_BITS:
            return None
        size = (self.bits - KEY_BITS) // (2 * UNIT_BITS) * (UNIT_BITS // 8)
        return self.material[KEY_BYTES:][:size], self.material[KEY_BYTES + size :][:size]

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the secret from a file: hexadecimal digits, with spaces and line ends wherever one likes.

        Raises CredentialsError, with nothing of the file in it, if it cannot be read, is open to others than its
        owner, is not hexadecimal, does not have its checksum, or holds less than 256 or more than 2**20 bits.
        """
        text = _read(path)
        checksum = _CHECKSUM.match(text)
        try:
            secret = cls(bytes.fromhex(text[checksum.end() if checksum else 0 :].decode("ascii")))
        except ValueError:  # its text would quote the file
            raise CredentialsError(
                f"{path} is not in hexadecimal, or not in whole bytes: copy it again from where it was made, or make a"
                " pre-shared key with `qkdlink psk new`"
            ) from None
        if checksum and zlib.crc32(secret.material) != int(checksum["sum"], 16):
            raise CredentialsError(
                f"{path} is not what was made: its digits do not give the checksum in its first line, so it was cut"
                " short or mistyped: copy it again from where it was made"
            )
        _check_length(secret.bits, f"{path} holds")
        return secret


def create_preshared(path: Path, bits: int) -> None:
    """Draw a secret of so many bits from the operating system into a new file (0600), after its checksum.

    Raises CredentialsError, and writes nothing, if the length will not do, the file exists, the disk refuses, or
    others can put another file in its place.
    """
    _check_length(bits, "a pre-shared key was asked to have")
    if bits % 8:
        raise CredentialsError(f"{bits} bits are no whole number of bytes: take a multiple of 8")
    material = secrets.token_bytes(bits // 8)
    digits = material.hex()
    lines = (
        f"crc32 {zlib.crc32(material):08x}",
        *(digits[start : start + _DIGITS_PER_LINE] for start in range(0, len(digits), _DIGITS_PER_LINE)),
    )
    with private_folder(path.parent):
        write_new(NewFile(path, "".join(f"{line}\n" for line in lines).encode()))


def _check_length(bits: int, what: str) -> None:
    if not KEY_BITS <= bits <= LARGEST_BITS:
        raise CredentialsError(
            f"{what} {bits} bits, but a pre-shared key has {KEY_BITS} to {LARGEST_BITS}: make one of such a length with"
            " `qkdlink psk new --bits N`"
        )


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            mode = stat.S_IMODE(os.fstat(stream.fileno()).st_mode)
            if mode & 0o077:
                raise CredentialsError(
                    f"{path} is open to others (mode {mode:04o}): make a new pre-shared key, or, if nobody has read"
                    " it, chmod 600 it at both ends"
                )
            text = text_of(stream.read(_LARGEST_FILE_BYTES + 1), path, CredentialsError).encode()
    except FileNotFoundError as error:
        raise CredentialsError(
            f"{path} does not exist: make a pre-shared key with `qkdlink psk new`, and carry it to both ends by hand"
        ) from error
    except OSError as error:
        raise CredentialsError(f"cannot read {path}: {error.strerror}") from error
    if len(text) > _LARGEST_FILE_BYTES:
        raise CredentialsError(f"{path} is too long for a pre-shared key of at most {LARGEST_BITS} bits")
    return text
