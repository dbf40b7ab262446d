"""How two nodes meet on a new connection: who we are, what has to be the same, and what was left pending.

Alice's side of it is `alice/greeting.py`, Bob's `bob/greeting.py`; what both say alike stands here.
"""

from dataclasses import asdict, dataclass, field
from typing import Protocol

from qkdlink.common.errors import DisagreementError, RemoteProtocolError
from qkdlink.common.keys.identifiers import FIRST_SESSION
from qkdlink.common.protocol.conversation import Conversation, Line, Place
from qkdlink.common.protocol.high_water import Marks
from qkdlink.common.protocol.parameters import LinkParameters, differences
from qkdlink.common.protocol.phases import LINK_TABLE, LinkPhase
from qkdlink.common.protocol.roles import Role
from qkdlink.common.wire.framing import LINK_BLOCK
from qkdlink.common.wire.messages import PROTOCOL_VERSION, Hello, Holdings


@dataclass(frozen=True, slots=True)
class Introduction:
    """What a node says of itself, and whom it expects."""

    link: str
    node: str
    peer: str
    anchor: str
    """What the node trusts at the bootstrap."""
    scheme: str
    """How it authenticates data after the bootstrap."""
    parameters: LinkParameters
    nonce: str
    """32 hexadecimal digits, fresh for each connection."""
    most_blocks: int
    """How many blocks may be open here at a time."""


@dataclass(frozen=True, slots=True)
class Acquaintance:
    """What both know once they have met."""

    session: str
    most_blocks: int
    """How many blocks Alice may have open at a time: the smaller of what each has said."""
    peers_highest_block: int = 0
    """The highest block number that the peer has stated."""
    holdings: bytes = field(default=b"", repr=False)
    """The transcript's entries of the three `holdings`; every checkpoint on this connection covers them."""


class PendingBlocks(Protocol):
    """Where pending blocks are kept, and judged; see `qkdlink.common.protocol.resumption`."""

    def marks(self) -> Marks:
        """Return what this store has done and heard until now."""

    def check_marks(self, theirs: Marks, node: str, peer: str) -> None:
        """Raise OutdatedStoreError if one of the two stores was put back from a copy."""

    async def claims(self, session: str) -> bytes:
        """Name our pending blocks, with proofs."""

    async def answer(self, claims: bytes, session: str) -> tuple[bytes, bytes]:
        """Judge the peer's claims: (blocks that are here too, with proofs; blocks that never were here)."""

    async def settle(self, answered: Holdings, session: str) -> None:
        """Release what the peer proves to have, and note what it says it never had."""


def link_conversation(role: Role, link: str, line: Line) -> Conversation:
    """Begin the conversation of a connection."""
    return Conversation(role, LINK_TABLE, LinkPhase.CONNECTED, Place(link, FIRST_SESSION, LINK_BLOCK), line)


def hello(introduction: Introduction) -> Hello:
    """Introduce a node."""
    return Hello(
        protocol=PROTOCOL_VERSION,
        link=introduction.link,
        node=introduction.node,
        nonce=introduction.nonce,
        anchor=introduction.anchor,
        scheme=introduction.scheme,
        most_blocks=introduction.most_blocks,
        parameters=introduction.parameters.canonical(),
    )


def holdings(marks: Marks, *, pending: bytes = b"", have: bytes = b"", never: bytes = b"") -> Holdings:
    """Say what is pending here, what becomes of the peer's claims, and how far this store has come."""
    return Holdings(pending=pending, have=have, never=never, **asdict(marks))


def check_claims_only(first: Holdings) -> None:
    """Raise RemoteProtocolError if Alice answers in her first `holdings`, before anything was claimed."""
    if first.have or first.never:
        raise RemoteProtocolError("The peer's first holdings answer claims, and none were made yet.")


def check_answers_only(last: Holdings) -> None:
    """Raise RemoteProtocolError if Alice claims in her last `holdings`, which nobody answers."""
    if last.pending:
        raise RemoteProtocolError("The peer's last holdings claim blocks, and nobody answers them any more.")


def check_agreement(ours: Introduction, theirs: Hello) -> None:
    """Raise DisagreementError, naming every difference, unless the peer can be worked with."""
    if theirs.protocol != PROTOCOL_VERSION:
        raise DisagreementError(
            f"{ours.peer} speaks {theirs.protocol}, {ours.node} speaks {PROTOCOL_VERSION}: use the same version."
        )
    if (theirs.link, theirs.node) != (ours.link, ours.peer):
        raise DisagreementError(
            f"{ours.node} expects {ours.peer} on link {ours.link}, not {theirs.node} on link {theirs.link}."
        )
    differing = [
        f"{name} is {here} here and {there} there"
        for name, here, there in (
            ("trust.anchor", ours.anchor, theirs.anchor),
            ("authentication.scheme", ours.scheme, theirs.scheme),
        )
        if here != there
    ] + differences(ours.parameters, theirs.parameters)
    if differing:
        raise DisagreementError(
            f"The parameters of {ours.node} and {ours.peer} differ ({'; '.join(differing)}): make them the same."
        )
