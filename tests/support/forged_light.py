"""Frames as a thief of the seal key can make them: any content, any counter, under any sender's boot id."""

import struct

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_ALICE = b"alice".ljust(15, b"\0")


def forged_frame(
    seal_key: bytes,
    header: bytes,
    boot_id: bytes,
    *,
    counter: int,
    payload: bytes,
    fibre: tuple[float, float, float] = (12.5, 0.21, 0.033),
    first_pulse: int = 4096,
    version: int = 1,
) -> bytes:
    """Seal what `docs/wire-format.md` calls the plaintext, in Alice's name."""
    envelope = struct.pack(">B15s16sQ", version, _ALICE, boot_id, counter)
    key = HKDF(SHA256(), 32, salt=boot_id, info=b"qkdlink light seal 1|" + _ALICE).derive(seal_key)
    plaintext = struct.pack(">Qddd", first_pulse, *fibre) + payload
    return envelope + AESGCM(key).encrypt(counter.to_bytes(12), plaintext, envelope + header)
