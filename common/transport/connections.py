"""Connections that exist only when each end has accepted the other, whatever it is that proves who they are.

In TLS 1.3 the dialler cannot see at the handshake whether the listener will have it, and the listener looks at
names only afterwards. So the first application byte is the listener's ACCEPTED; until it has arrived, a dialler's
call does not return, and a refusal has one place where it can show.

What differs between certificates (`qkdlink.common.transport.certified`), keys (`qkdlink.common.transport.psk`) and node
cards (`qkdlink.common.transport.carded`) is a `Handshake`; how one connects, waits, accepts and refuses is written
once.
"""

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from ssl import SSLContext, SSLObject
from typing import NamedTuple, Protocol, cast

from qkdlink.common.errors import CredentialsError, LinkError, UnprovenRefusalError
from qkdlink.common.transport.key_log import write_secrets
from qkdlink.common.transport.refusals import explain
from qkdlink.common.transport.shedding import KnownSources, Places, source_of
from qkdlink.common.transport.tls import PeerIdentity

ACCEPTED = b"\x06"
"""What the listener says once it has checked who dials (ASCII's "acknowledge")."""

READ_LIMIT_BYTES = 4 * 1024 * 1024
"""How much is buffered before the peer is made to wait; a single message may be larger."""

HANDSHAKE_TIMEOUT_S = 10.0
KNOCK_TIMEOUT_S = 2.0
SHUTDOWN_TIMEOUT_S = 2.0
MAX_HANDSHAKES = 96
MAX_SILENT = 128
"""Handshakes at a time, and connections on which nothing has come yet: these cost no TLS and displace no handshake.

Beyond either number one has to give way; `qkdlink.common.transport.shedding` says which.
"""

_KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
"""Seconds of silence, seconds between probes, probes: a vanished peer is noticed after a minute."""


class Peer(Protocol):
    """Who is at the other end, as far as every kind of proof can say."""

    @property
    def name(self) -> str:
        """The node's name."""

    @property
    def fingerprint(self) -> str | None:
        """SHA-256 of its certificate, 64 hexadecimal digits; None where no certificate was shown."""


class Connection[P: Peer = PeerIdentity](NamedTuple):
    """A TLS connection whose peer is known, and who it is."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    peer: P
    since: float = 0.0
    """When its first byte was sent or received, on the event loop's clock."""
    tls_version: str = ""
    """What was agreed on in the handshake: a line that is lost cannot be asked any more."""

    async def close(self) -> None:
        """Say goodbye and close; does not fail if the peer is gone."""
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()


type OnConnection[P: Peer = PeerIdentity] = Callable[[Connection[P]], Awaitable[None]]
type OnRefused = Callable[[str], None]


type Preface = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Handshake[P: Peer]:
    """One handshake of one end: how it is made, who is there afterwards, and what it means if it fails."""

    context: SSLContext
    check: Callable[[SSLObject], P]
    """Tells who is at the other end of the finished handshake; CredentialsError if it is the wrong one."""
    explain: Callable[[OSError, str], CredentialsError | LinkError]
    """Translates what `ssl` or a socket raised on the line to or from somewhere."""
    preface: Preface | None = None
    """What both ends say in clear before TLS; it prepares the context, and no byte of TLS may have been read."""


@dataclass(frozen=True, slots=True)
class Door:
    """Where a node listens."""

    port: int
    """The TCP port, which matters if any free one was asked for."""
    close: Callable[[], None]
    """Closes the port and drops unfinished handshakes; those who have come through go on."""


async def is_anybody_at(host: str, port: int, timeout_s: float = KNOCK_TIMEOUT_S) -> bool:
    """Whether a TCP connection can be made there; nothing is said on it."""
    try:
        async with asyncio.timeout(timeout_s):
            _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    _abort(writer)
    return True


async def connect[P: Peer](
    host: str,
    port: int,
    peer_name: str,
    handshake: Handshake[P],
    *,
    shown: str,
    timeout_s: float,
    key_log: Path | None = None,
) -> Connection[P]:
    """Connect to the node called `peer_name`, make one handshake, and wait until the listener has accepted us.

    `shown` is what the peer may not take, should the line end instead; `key_log` is where the secrets of the session
    are written, if anywhere. Raises the CredentialsError or LinkError of the handshake's check or explanation,
    UnprovenRefusalError if the line ends before we are accepted, and LinkError if something else than a node of ours
    answers.
    """
    write_secrets(handshake.context, key_log)
    where, since = f"{peer_name} at {_address(host, port)}", asyncio.get_running_loop().time()
    with ExitStack() as line:
        try:
            async with asyncio.timeout(timeout_s):
                reader, writer = await _open(host, port, peer_name, handshake, line)
                _set_options(writer)
                peer, tls_version = _checked(handshake, writer)
                await _await_acceptance(reader, shown)
        except (CredentialsError, LinkError) as refusal:
            raise type(refusal)(f"{where}: {refusal}") from refusal
        except OSError as error:
            raise handshake.explain(error, where) from error
        line.pop_all()
    return Connection(reader, writer, peer, since, tls_version)


async def _open[P: Peer](
    host: str, port: int, peer_name: str, handshake: Handshake[P], line: ExitStack
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open the line, with its preface if it has one, and make the handshake; `line` then ends it if all fails."""
    if handshake.preface is None:
        reader, writer = await asyncio.open_connection(
            host,
            port,
            ssl=handshake.context,
            server_hostname=peer_name,
            limit=READ_LIMIT_BYTES,
            ssl_shutdown_timeout=SHUTDOWN_TIMEOUT_S,
        )
        line.callback(_abort, writer)
        return reader, writer
    reader, writer = await asyncio.open_connection(host, port, limit=READ_LIMIT_BYTES)
    line.callback(_abort, writer)
    await handshake.preface(reader, writer)
    await writer.start_tls(
        handshake.context, server_hostname=peer_name, ssl_shutdown_timeout=SHUTDOWN_TIMEOUT_S
    )
    return reader, writer


@asynccontextmanager
async def admit[P: Peer](
    host: str,
    port: int,
    begin: Callable[[], Handshake[P]],
    on_connection: OnConnection[P],
    on_refused: OnRefused,
    *,
    key_log: Path | None = None,
) -> AsyncIterator[Door]:
    """Listen for as long as the context lasts, and admit whom the handshake that `begin` makes lets in.

    A CredentialsError of `begin` refuses that one connection. The secrets of each session are written to `key_log`, if
    there is one.

    Yields the door, whose port matters if `port` is 0. Each accepted connection runs `on_connection` in a task of
    its own and is closed when that returns; an error that escapes it ends that connection only, and goes to
    the event loop's exception handler. Each refused one is told to `on_refused` in a sentence. Leaving the
    context cancels all. Raises LinkError if the address cannot be listened at.
    """
    entrance = _Entrance(partial(_noted, begin, key_log), on_connection, on_refused)
    try:
        server = await asyncio.start_server(entrance.arrived, host, port, limit=READ_LIMIT_BYTES)
    except OSError as error:
        raise _cannot_listen(_address(host, port), error) from error
    try:
        yield Door(server.sockets[0].getsockname()[1], partial(_shut, server, entrance))
    finally:
        server.close()
        await entrance.end()
        server.abort_clients()
        await server.wait_closed()


class _Entrance[P: Peer]:
    """Where strangers wait: TLS, then who it is, and only then the listener's ACCEPTED."""

    def __init__(
        self, begin: Callable[[], Handshake[P]], on_connection: OnConnection[P], on_refused: OnRefused
    ) -> None:
        self._begin = begin
        self._on_connection = on_connection
        self._on_refused = on_refused
        self._tasks: set[asyncio.Task[None]] = set()
        self._known = KnownSources()
        self._silent: Places[asyncio.Task[None]] = Places(MAX_SILENT, self._known)
        self._handshakes: Places[asyncio.Task[None]] = Places(MAX_HANDSHAKES, self._known)
        self._is_open = True

    def arrived(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Begin with a new TCP connection, before a single byte of it has been read.

        Whatever the plain-text reader took up would be lost to TLS; called within `connection_made`, the
        pause comes before the event loop has begun to read.
        """
        if not self._is_open:  # the kernel had accepted it when the port was closed
            _abort(writer)
            return
        cast("asyncio.Transport", writer.transport).pause_reading()
        host, port = writer.get_extra_info("peername")[:2]
        where = _address(host, port)
        task = asyncio.create_task(self._serve(reader, writer, where, source_of(host)), name=where)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        self._drop(self._silent.take(task, source_of(host)), "too many connections on which nothing is said")

    def shut(self) -> None:
        """Drop every unfinished handshake, and whoever else arrives."""
        self._is_open = False
        for task in (*self._silent.clear(), *self._handshakes.clear()):
            self._drop(task, "this port has been closed")

    async def end(self) -> None:
        """Cancel every handshake and every connection, and wait for their ends."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, where: str, source: str
    ) -> None:
        with ExitStack() as line:
            line.callback(_abort, writer)
            since = asyncio.get_running_loop().time()
            explained: Callable[[OSError, str], Exception] = partial(explain, in_handshake=True)
            try:
                await self._hear(writer, source)
                handshake = self._begin()
                explained = handshake.explain
                peer, tls_version = await self._admit(reader, writer, handshake)
            except CredentialsError as refusal:
                self._on_refused(f"{where}: {refusal}")
                return
            except OSError as error:
                self._on_refused(str(explained(error, where)))
                return
            self._known.add(source)
            connection = Connection(reader, writer, peer, since, tls_version)
            await self._on_connection(connection)
            await connection.close()

    async def _hear(self, writer: asyncio.StreamWriter, source: str) -> None:
        """Wait for the first byte, and move on from the silent connections to the handshakes."""
        async with asyncio.timeout(HANDSHAKE_TIMEOUT_S):
            await _await_first_byte(writer)
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._silent.leave(task)
        self._drop(self._handshakes.take(task, source), "too many unfinished handshakes")

    async def _admit(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handshake: Handshake[P]
    ) -> tuple[P, str]:
        _set_options(writer)
        if handshake.preface is not None:
            async with asyncio.timeout(HANDSHAKE_TIMEOUT_S):
                await handshake.preface(reader, writer)
        await writer.start_tls(
            handshake.context,
            ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S,
            ssl_shutdown_timeout=SHUTDOWN_TIMEOUT_S,
        )
        checked = _checked(handshake, writer)
        self._handshakes.leave(cast("asyncio.Task[None]", asyncio.current_task()))
        writer.write(ACCEPTED)
        return checked

    def _drop(self, task: asyncio.Task[None] | None, why: str) -> None:
        if task is not None:
            task.cancel()
            self._on_refused(f"{task.get_name()}: dropped, {why}")

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._silent.leave(task)
        self._handshakes.leave(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            message = f"connection from {task.get_name()} failed"
            asyncio.get_running_loop().call_exception_handler({"message": message, "exception": error})


def _noted[P: Peer](begin: Callable[[], Handshake[P]], key_log: Path | None) -> Handshake[P]:
    handshake = begin()
    write_secrets(handshake.context, key_log)
    return handshake


def _shut[P: Peer](server: asyncio.Server, entrance: _Entrance[P]) -> None:
    server.close()
    entrance.shut()


async def _await_first_byte(writer: asyncio.StreamWriter) -> None:
    """Wait until the other end has sent something, and leave it unread; ConnectionResetError if it closes instead.

    The event loop watches a duplicate of the socket, because it lets nobody else watch one that has a transport.
    """
    loop, heard = asyncio.get_running_loop(), asyncio.Event()
    line: socket.socket = writer.get_extra_info("socket").dup()
    with line:
        loop.add_reader(line, heard.set)
        try:
            await heard.wait()
        finally:
            loop.remove_reader(line)
        if not line.recv(1, socket.MSG_PEEK):
            raise ConnectionResetError


async def _await_acceptance(reader: asyncio.StreamReader, shown: str) -> None:
    try:
        answer = await reader.readexactly(len(ACCEPTED))
    except (EOFError, ConnectionError) as error:
        raise UnprovenRefusalError(
            f"the line was closed before the peer accepted us: it was cut, or the peer does not take {shown}, and then"
            " its journal says why"
        ) from error
    if answer != ACCEPTED:
        raise LinkError("what answers there is not a qkdlink node")


def _cannot_listen(address: str, error: OSError) -> LinkError:
    if error.errno == errno.EADDRINUSE:
        return LinkError(f"cannot listen at {address}: another program has taken this port")
    return LinkError(f"cannot listen at {address}: {error.strerror or error}")


def _abort(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()  # looked up late, because start_tls replaces the transport


def _checked[P: Peer](handshake: Handshake[P], writer: asyncio.StreamWriter) -> tuple[P, str]:
    """Say who is at the other end of the finished handshake, and under which version of TLS."""
    line: SSLObject = writer.get_extra_info("ssl_object")
    return handshake.check(line), line.version() or ""


def _set_options(writer: asyncio.StreamWriter) -> None:
    line: socket.socket = writer.get_extra_info("socket")
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE.items():
        if hasattr(socket, option):  # macOS names the first one otherwise and keeps its own default
            line.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
