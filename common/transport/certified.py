"""Connections between nodes that know each other by certificates of their link's authority."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from ssl import SSLContext

from qkdlink.common.errors import CredentialsError
from qkdlink.common.transport.connections import (
    HANDSHAKE_TIMEOUT_S,
    Connection,
    Door,
    Handshake,
    OnConnection,
    OnRefused,
    admit,
    connect,
)
from qkdlink.common.transport.refusals import explain
from qkdlink.common.transport.tls import PeerIdentity, check_peer, dialler_context, listener_context
from qkdlink.common.trust.credentials import NodeCredentials

_CONTEXT_LIFE_S = 1.0
"""A revocation list may run out meanwhile."""


async def dial(
    host: str,
    port: int,
    credentials: NodeCredentials,
    peer_name: str,
    timeout_s: float = HANDSHAKE_TIMEOUT_S,
    *,
    key_log: Path | None = None,
) -> Connection:
    """Connect to the node called `peer_name` and wait until it has accepted our certificate.

    `key_log` is where the secrets of the session are written, if anywhere. Raises CredentialsError if either end
    refuses the other's certificate, LinkError if nobody answers, the network fails, or `timeout_s` seconds have passed.
    """
    _refuse_namesake(credentials, peer_name)
    handshake = _by_certificate(dialler_context(credentials), peer_name, credentials)
    shown = f"our certificate ({credentials.files.certificate})"
    return await connect(host, port, peer_name, handshake, shown=shown, timeout_s=timeout_s, key_log=key_log)


@asynccontextmanager
async def listen(
    host: str,
    port: int,
    credentials: NodeCredentials,
    peer_name: str,
    on_connection: OnConnection,
    on_refused: OnRefused,
    *,
    key_log: Path | None = None,
) -> AsyncIterator[Door]:
    """Accept the node called `peer_name` by its certificate, and nobody else, for as long as the context lasts.

    Yields the door; `admit` says what becomes of connections. Raises CredentialsError if our own credentials
    cannot be used, LinkError if the address cannot be listened at.
    """
    _refuse_namesake(credentials, peer_name)
    contexts = _ListenerContexts(credentials)
    contexts.now()  # what is wrong with our own files now is said before anybody knocks

    def begin() -> Handshake[PeerIdentity]:
        return _by_certificate(contexts.now(), peer_name, credentials)

    async with admit(host, port, begin, on_connection, on_refused, key_log=key_log) as door:
        yield door


class _ListenerContexts:
    """The listener's context, made anew once a second and whenever a file has changed, such as a revocation list.

    It takes milliseconds to make one. If every handshake had its own, two hundred a second that are never finished
    would take all of a node's time.
    """

    def __init__(self, credentials: NodeCredentials) -> None:
        self._credentials = credentials
        self._made: tuple[object, float, SSLContext] | None = None

    def now(self) -> SSLContext:
        """Return the context for a handshake that begins; CredentialsError if our files cannot be used now."""
        state, at = self._credentials.files.state(), time.monotonic()
        if self._made is not None:
            made_of, made_at, context = self._made
            if made_of == state and at - made_at < _CONTEXT_LIFE_S:
                return context
        context = listener_context(self._credentials)
        self._made = state, at, context
        return context


def _by_certificate(
    context: SSLContext, peer_name: str, credentials: NodeCredentials
) -> Handshake[PeerIdentity]:
    return Handshake(
        context,
        check=partial(check_peer, expected_name=peer_name, own_name=credentials.name),
        explain=partial(explain, in_handshake=True),
    )


def _refuse_namesake(credentials: NodeCredentials, peer_name: str) -> None:
    if credentials.name == peer_name:
        raise CredentialsError(
            f'this node and its peer are both called "{peer_name}": each needs a name of its own'
        )
