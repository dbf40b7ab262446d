"""How pending blocks are resolved at the next contact, alike on both sides.

There is no last message, so a connection may end while one side holds a block as pending. Each side then proves which
pending blocks it holds (a MAC under a key derived from that block's link PSK, bound to the session and its speaker),
and hears which of them the other side has. What both have is available; what one side never had is discarded by the
other; what is still being worked on stays as it is.

Alice names her pending blocks; Bob answers, and names his; Alice answers. Whoever stores on hearing an answer may be
killed before the next message: the same exchange settles it at the next contact.
"""

import hmac
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from common.errors import RemoteProtocolError
from common.keys.identifiers import BlockId
from common.protocol.roles import Role

_NAMED = struct.Struct(">16sQ")
_PROOF_BYTES = 32
MOST_PENDING = 64
"""A node that holds more than this names the oldest ones first, and the others at the next contact."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A pending block that a side names, and its proof that it holds the block's key."""

    block: BlockId
    proof: bytes

    def encode(self) -> bytes:
        """Write the claim: session, number, proof."""
        return _encode(self.block) + self.proof


def claim(block: BlockId, proof_key: bytes, session: str, speaker: Role) -> Claim:
    """Claim to hold a block, in this session, as this side."""
    return Claim(block, _proof(block, proof_key, session, speaker))


def is_proven(claimed: Claim, proof_key: bytes, session: str, speaker: Role) -> bool:
    """Whether a peer's claim shows the key that we hold for the block."""
    return hmac.compare_digest(claimed.proof, _proof(claimed.block, proof_key, session, speaker))


def encode_claims(claims: Iterable[Claim]) -> bytes:
    """Write claims one after the other, 56 bytes each."""
    return b"".join(each.encode() for each in claims)


def decode_claims(data: bytes, link: str) -> list[Claim]:
    """Read claims; RemoteProtocolError if they are cut short or too many."""
    size = _NAMED.size + _PROOF_BYTES
    return _decode(data, size, lambda chunk: Claim(_decode_block(chunk, link), chunk[_NAMED.size :]))


def encode_blocks(blocks: Iterable[BlockId]) -> bytes:
    """Write names of blocks one after the other, 24 bytes each."""
    return b"".join(_encode(block) for block in blocks)


def decode_blocks(data: bytes, link: str) -> list[BlockId]:
    """Read names of blocks; RemoteProtocolError if they are cut short or too many."""
    return _decode(data, _NAMED.size, lambda chunk: _decode_block(chunk, link))


def _proof(block: BlockId, proof_key: bytes, session: str, speaker: Role) -> bytes:
    statement = f"{block}|{session}|{speaker.label}".encode()
    return hmac.digest(proof_key, statement, "sha256")


def _encode(block: BlockId) -> bytes:
    return _NAMED.pack(bytes.fromhex(block.session), block.number)


def _decode_block(chunk: bytes, link: str) -> BlockId:
    session, number = _NAMED.unpack_from(chunk)
    return BlockId(link, session.hex(), number)


def _decode[T](data: bytes, size: int, read: Callable[[bytes], T]) -> list[T]:
    if len(data) % size or len(data) > MOST_PENDING * size:
        raise RemoteProtocolError("The peer's list of blocks is cut short or too long.")
    return [read(data[start : start + size]) for start in range(0, len(data), size)]
