"""Key material at rest: AES-256-GCM under the node's store key, bound to the place where it is kept."""

import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from qkdlink.common.errors import ConfigurationError
from qkdlink.common.text_files import read_text
from qkdlink.common.trust.private_files import NewFile, write_new

_KEY_BYTES = 32
_NONCE_BYTES = 12


@dataclass(frozen=True, slots=True)
class StoreSeal:
    """The store key of one node; nonces are random, 96 bits, for far fewer than 2**32 sealed parts."""

    _key: bytes = field(repr=False)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read the store key, making it at the first start; ConfigurationError if it cannot be used."""
        if not path.exists():
            write_new(NewFile(path, f"{secrets.token_hex(_KEY_BYTES)}\n".encode()))
        try:
            mode, key = path.stat().st_mode, bytes.fromhex(read_text(path))
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"The store key {path} cannot be read.") from error
        if mode & 0o077:
            raise ConfigurationError(f"The store key {path} is open to others: run 'chmod 600 {path}'.")
        if len(key) != _KEY_BYTES:
            raise ConfigurationError(f"The store key {path} does not hold {_KEY_BYTES} bytes in hexadecimal.")
        return cls(key)

    def seal(self, material: bytes, place: str) -> bytes:
        """Seal material for one place."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + AESGCM(self._key).encrypt(nonce, material, place.encode())

    def unseal(self, sealed: bytes, place: str) -> bytes:
        """Open sealed material; ConfigurationError if it was sealed elsewhere or with another key."""
        try:
            return AESGCM(self._key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], place.encode())
        except (InvalidTag, ValueError) as error:
            raise ConfigurationError(
                f"The stored key {place} does not open: the store or its key was replaced or damaged."
            ) from error
