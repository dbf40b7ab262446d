"""A message on the line: two lengths, the envelope as JSON, the attachments as they are.

4 bytes  length of the JSON text, big-endian
4 bytes  length of all attachments together, big-endian
JSON     {"session", "block", "sequence", "message", "attachments": [length, ...]}
bytes    the attachments in the order of the message's fields
"""

import json
import struct
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from qkdlink.common.errors import RemoteProtocolError
from qkdlink.common.keys.identifiers import HIGHEST_BLOCK, SessionId
from qkdlink.common.printable import printable
from qkdlink.common.unique_json import refuse_repeated_members
from qkdlink.common.wire.messages import MESSAGE_TYPES, Count, Message

LENGTHS = struct.Struct(">II")
LONGEST_HEADER = 64 * 1024
LINK_BLOCK = 0
"""The block number of messages that belong to the link; blocks count from 1."""

_LONGEST_FAULT = 200


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message with its place: session, block, and position in its direction of that block."""

    session: str
    block: int
    sequence: int
    message: Message


@dataclass(frozen=True, slots=True)
class Received:
    """A message as it came: what it says, and the very bytes that said it (the transcript is made of these)."""

    envelope: Envelope
    frame: bytes = field(repr=False)
    after: int = 0
    """How many messages of ours had been sent in this conversation when it arrived."""


class _Header(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    session: SessionId
    block: Annotated[int, Field(ge=0, le=HIGHEST_BLOCK)]
    sequence: Annotated[int, Field(ge=0, le=2**32)]
    message: dict[str, Any]
    attachments: Annotated[list[Count], Field(max_length=4)]


def encode(envelope: Envelope) -> bytes:
    """Write an envelope as one frame of the line."""
    message = envelope.message
    attachments = [getattr(message, name) for name in message.attachments]
    header = json.dumps(
        {
            "session": envelope.session,
            "block": envelope.block,
            "sequence": envelope.sequence,
            "message": message.model_dump(mode="json", exclude=set(message.attachments)),
            "attachments": [len(attachment) for attachment in attachments],
        },
        separators=(",", ":"),
    ).encode()
    body = sum(len(attachment) for attachment in attachments)
    return b"".join([LENGTHS.pack(len(header), body), header, *attachments])


def body_length(lengths: bytes, limit: int) -> int:
    """Bytes that follow the two lengths; RemoteProtocolError if the peer announces more than `limit`."""
    header, attachments = LENGTHS.unpack(lengths)
    if header > LONGEST_HEADER or attachments > limit:
        raise RemoteProtocolError(
            f"The peer announced a message of {header + attachments} bytes, more than this block can need."
        )
    return int(header + attachments)


def decode(frame: bytes) -> Received:
    """Read one whole frame; RemoteProtocolError unless it is exactly one well-formed message."""
    try:
        header_length, attached = LENGTHS.unpack_from(frame)
        if len(frame) != LENGTHS.size + header_length + attached:
            raise ValueError("its lengths do not add up")
        end = LENGTHS.size + header_length
        text = frame[LENGTHS.size : end]
        refuse_repeated_members(text)
        header = _Header.model_validate_json(text)
        message = _message(header, memoryview(frame)[end:])
        return Received(Envelope(header.session, header.block, header.sequence, message), frame)
    except (ValueError, ValidationError, struct.error, RecursionError) as error:
        raise RemoteProtocolError(f"The peer sent a malformed message: {_first_fault(error)}.") from error


def _message(header: _Header, attached: memoryview) -> Message:
    if sum(header.attachments) != len(attached):
        raise ValueError("its attachments do not add up")
    name = header.message.get("type")
    kind = _KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise ValueError("its type is unknown")
    if len(kind.attachments) != len(header.attachments) or not header.message.keys().isdisjoint(
        kind.attachments
    ):
        raise ValueError("its attachments are not those of its type")
    fields = {
        key: tuple(value) if isinstance(value, list) else value for key, value in header.message.items()
    }
    for attachment, length in zip(kind.attachments, header.attachments, strict=True):
        fields[attachment], attached = bytes(attached[:length]), attached[length:]
    return kind.model_validate(fields)


def _first_fault(error: Exception) -> str:
    """Say what is wrong in one short line; parts of it are the peer's own text."""
    text = str(error) or type(error).__name__
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        text = f"{'.'.join(str(part) for part in first['loc']) or 'its header'}: {first['msg']}"
    return printable(text, _LONGEST_FAULT).rstrip(".")


_KINDS: dict[str, type[Message]] = {kind.model_fields["type"].default: kind for kind in MESSAGE_TYPES}
