"""Public keys that both sides show each other inside a block that the bootstrap authenticates, to be kept with its key.

Only signature schemes need them, and only during the bootstrap; otherwise both are empty, and nothing else is taken.
"""

from dataclasses import dataclass

from qkdlink.common.errors import RemoteProtocolError


@dataclass(slots=True)
class Pinning:
    """What is shown in one block."""

    ours: bytes = b""
    """Our public key; empty if none is to be shown."""
    length: int = 0
    """How long the peer's has to be."""
    pinned: bytes = b""
    """What an earlier block of this bootstrap has pinned; empty if there was none."""
    theirs: bytes = b""

    def shown(self, key: bytes) -> None:
        """Take what the peer shows; RemoteProtocolError if it is no key of the agreed scheme, or a second one."""
        if len(key) != self.length:
            raise RemoteProtocolError(
                f"The peer shows a verification key of {len(key)} bytes where {self.length} are due."
            )
        if self.pinned and key != self.pinned:
            raise RemoteProtocolError(
                "The peer shows another verification key than the one that is pinned: if its store was lost, an"
                " operator has to run `qkdlink bootstrap --again` at both ends."
            )
        self.theirs = key
