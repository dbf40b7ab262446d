"""Names of links, sessions and blocks: the same on both sides, and never a function of key bits."""

import hashlib
import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import StringConstraints

NAME_PATTERN = r"^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$"
"""What a node or a link may be called: it stands in topics, certificates and identities."""

type Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]

SESSION_PATTERN = r"^[0-9a-f]{32}$"
type SessionId = Annotated[str, StringConstraints(pattern=SESSION_PATTERN)]

HIGHEST_BLOCK = 2**40
"""No block has a higher number: a block a second for 34,000 years."""
FIRST_SESSION = "0" * 32
"""What stands in the envelope until both nonces are known."""


def is_name(text: str) -> bool:
    """Whether `text` may name a node or a link."""
    return re.fullmatch(NAME_PATTERN, text) is not None


def session_id(link: str, dialler_nonce: str, listener_nonce: str) -> str:
    """Name the session that two greetings open: 32 hexadecimal digits, fresh if either nonce is fresh."""
    return hashlib.sha256(f"qkdlink session|{link}|{dialler_nonce}|{listener_nonce}".encode()).hexdigest()[
        :32
    ]


@dataclass(frozen=True, slots=True, order=True)
class BlockId:
    """One block of one session of one link; `number` grows over the life of the link and is never used twice."""

    link: str
    session: str
    number: int

    def __str__(self) -> str:
        return f"{self.link}/{self.session}/{self.number}"
