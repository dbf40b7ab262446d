"""What a station asks of a trust anchor."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from qkdlink.common.authentication.scheme import Authentication
from qkdlink.common.node.vault import Vault
from qkdlink.common.transport.addresses import Address
from qkdlink.common.transport.connections import Door, OnRefused
from qkdlink.common.transport.psk import AnyConnection

type OnAnyConnection = Callable[[AnyConnection], Awaitable[None]]


class Anchor(Protocol):
    """One node's end of a bootstrap: it opens lines to the peer whom it knows, and authenticates blocks on them."""

    @property
    def line(self) -> str:
        """What authenticates a line, as it stands in the journal and in `--json`."""

    async def dial(self, address: Address) -> AnyConnection:
        """Open a line to the peer; CredentialsError if either end refuses the other, LinkError if nobody answers."""

    def listen(
        self, address: Address, on_connection: OnAnyConnection, on_refused: OnRefused
    ) -> AbstractAsyncContextManager[Door]:
        """Accept the peer, and nobody else, for as long as the context lasts."""

    async def check_still_trusted(self, connection: AnyConnection) -> None:
        """Raise CredentialsError if this anchor would not open the connection now: revoked, expired, out of date."""

    def authentication(self, connection: AnyConnection, session: str, vault: Vault) -> Authentication:
        """Return how the blocks of a line that this anchor has opened are authenticated."""
