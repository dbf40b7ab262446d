"""How pending blocks are resolved at the next contact, alike on both sides.

There is no last message, so a connection may end while one side holds a block as pending. Each side then claims its
pending blocks and answers the other's claims. A claim and the answer "I have it" both carry a proof: a MAC under a key
derived from that block's link PSK, bound to the session, to the speaker and to which of the two it is. So a block that
both sides prove is available. The answer "I never had it" cannot carry such a proof. It is noted, and the block is
discarded when a later checkpoint authenticates that answer. What is still being worked on stays as it is.

Alice names her pending blocks; Bob answers, and names his; Alice answers. A side that is killed after storing an answer
hears the same answer at the next contact.
"""

import hmac
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from qkdlink.common.errors import RemoteProtocolError
from qkdlink.common.keys.identifiers import BlockId
from qkdlink.common.protocol.roles import Role

_NAMED = struct.Struct(">16sQ")
_PROOF_BYTES = 32
MOST_PENDING = 64
"""A node that holds more than this names the oldest ones first, and the others at the next contact."""


class Statement(StrEnum):
    """What a proof says of its block; a proof of one kind is none of the other."""

    CLAIM = "claim"
    """The block is pending here, and its speaker asks for it."""
    HAVE = "have"
    """The answer to a claim: the block is here too."""


@dataclass(frozen=True, slots=True)
class ProvenBlock:
    """A block that a side names, and its proof that it holds the block's key."""

    block: BlockId
    proof: bytes = field(repr=False)

    def encode(self) -> bytes:
        """Write session, number, proof."""
        return _encode(self.block) + self.proof


def prove(statement: Statement, block: BlockId, proof_key: bytes, session: str, speaker: Role) -> ProvenBlock:
    """State in this session, as this side, that the block is held here."""
    return ProvenBlock(block, _proof(statement, block, proof_key, session, speaker))


def is_proven(
    statement: Statement, named: ProvenBlock, proof_key: bytes, session: str, speaker: Role
) -> bool:
    """Whether a peer's statement shows the key that we hold for the block."""
    return hmac.compare_digest(named.proof, _proof(statement, named.block, proof_key, session, speaker))


def encode_proven(blocks: Iterable[ProvenBlock]) -> bytes:
    """Write claims or answers one after the other, 56 bytes each."""
    return b"".join(each.encode() for each in blocks)


def decode_proven(data: bytes, link: str) -> list[ProvenBlock]:
    """Read claims or answers; RemoteProtocolError if they are cut short, too many, or name a block twice."""
    size = _NAMED.size + _PROOF_BYTES
    named = _decode(data, size, lambda chunk: ProvenBlock(_decode_block(chunk, link), chunk[_NAMED.size :]))
    _check_named_once([each.block for each in named])
    return named


def encode_blocks(blocks: Iterable[BlockId]) -> bytes:
    """Write names of blocks one after the other, 24 bytes each."""
    return b"".join(_encode(block) for block in blocks)


def decode_blocks(data: bytes, link: str) -> list[BlockId]:
    """Read names of blocks; RemoteProtocolError if they are cut short, too many, or name a block twice."""
    blocks = _decode(data, _NAMED.size, lambda chunk: _decode_block(chunk, link))
    _check_named_once(blocks)
    return blocks


def decode_answers(have: bytes, never: bytes, link: str) -> tuple[list[ProvenBlock], list[BlockId]]:
    """Read both answers to our claims; RemoteProtocolError if one of them is no list, or a block is in both."""
    proven, denied = decode_proven(have, link), decode_blocks(never, link)
    _check_named_once([*(each.block for each in proven), *denied])
    return proven, denied


def _proof(statement: Statement, block: BlockId, proof_key: bytes, session: str, speaker: Role) -> bytes:
    stated = f"{block}|{session}|{speaker.label}|{statement}".encode()
    return hmac.digest(proof_key, stated, "sha256")


def _encode(block: BlockId) -> bytes:
    return _NAMED.pack(bytes.fromhex(block.session), block.number)


def _decode_block(chunk: bytes, link: str) -> BlockId:
    session, number = _NAMED.unpack_from(chunk)
    return BlockId(link, session.hex(), number)


def _decode[T](data: bytes, size: int, read: Callable[[bytes], T]) -> list[T]:
    if len(data) % size or len(data) > MOST_PENDING * size:
        raise RemoteProtocolError("The peer's list of blocks is cut short or too long.")
    return [read(data[start : start + size]) for start in range(0, len(data), size)]


def _check_named_once(blocks: list[BlockId]) -> None:
    if len(set(blocks)) < len(blocks):
        raise RemoteProtocolError("The peer names a block twice in its holdings.")
