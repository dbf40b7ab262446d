"""The bootstrap, measured: from the first byte to the latch, in seconds, bytes and blocks.

This is the window in which whoever breaks the anchor wins; a break that comes later opens nothing. Its bytes are those
of the classical channel, TLS and handshakes included: of every line that the anchor has opened, and of the one on which
the latch closed. A node that is started again within its bootstrap begins to count anew.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from qkdlink.common.journal.events import BootstrapClosed
from qkdlink.common.store.bootstrap import Vouched
from qkdlink.common.transport.channel import ClassicalChannel
from qkdlink.common.transport.psk import AnyConnection
from qkdlink.common.transport.wire_bytes import wire_bytes


@dataclass(slots=True)
class BootstrapWindow:
    """What a station counts while its latch is open."""

    anchor: str
    """That of the settings: it counts where the store knows of none."""
    opened_at: float | None = None
    _lines: list[Callable[[], int]] = field(default_factory=list)

    def opened(self, connection: AnyConnection, channel: ClassicalChannel) -> None:
        """Count a connection from its first byte on."""
        if self.opened_at is None:
            self.opened_at = connection.since
        carried, line = 0, connection.writer.get_extra_info("socket")

        def count() -> int:
            nonlocal carried
            carried = max(carried, wire_bytes(line) or channel.bytes_exchanged)
            return carried

        self._lines.append(count)

    def closed(self, now: float, vouched: Vouched) -> BootstrapClosed:
        """Close the window: so long, so many bytes; whose word it was, and for how many blocks with a key."""
        return BootstrapClosed(
            anchor=vouched.anchor or self.anchor,
            seconds=now - (self.opened_at if self.opened_at is not None else now),
            bytes=sum(count() for count in self._lines),
            blocks=vouched.blocks,
        )
