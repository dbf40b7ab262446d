"""One TLS 1.3 connection as Eve overhears it: both directions, in the order in which their bytes passed.

What cannot be opened yet waits; what comes after it waits, too, so that what is read is in the order in which it was
said. Sessions are named by the ClientHello's random, which is also the name that a key log knows them by.

Source: RFC 8446, sections 4.4.4 (Finished), 4.6.3 (KeyUpdate), 7.1.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from qkdlink.eve.listening.hellos import (
    CLIENT_HELLO,
    SERVER_HELLO,
    ClientHello,
    NotUnderstood,
    ServerHello,
    read_client_hello,
    read_server_hello,
)
from qkdlink.eve.listening.key_log import Label
from qkdlink.eve.listening.records import SUITES, Content, Opener, Record, RecordReader, Suite
from qkdlink.eve.relay import Way

type Secrets = Callable[[Label, bytes], bytes | None]
"""(which, ClientHello random) -> the secret, None if it is not known (yet)."""

_FINISHED, _KEY_UPDATE = 20, 24
_LONGEST_HANDSHAKE_MESSAGE = 2**18
_MOST_WAITING_BYTES = 2**28


class Proof(StrEnum):
    """By what the ends of a connection know each other, as far as the wire tells."""

    CERTIFICATE = "certificate"
    PRE_SHARED_KEY = "pre-shared-key"


@dataclass(slots=True)
class _Direction:
    handshake: Label
    application: Label
    records: RecordReader = field(default_factory=RecordReader)
    opener: Opener | None = None
    finished: bool = False
    messages: bytearray = field(default_factory=bytearray, repr=False)
    """Handshake bytes that are not a whole message yet."""


def _directions() -> dict[Way, _Direction]:
    return {
        Way.TO_BOB: _Direction(Label.CLIENT_HANDSHAKE, Label.CLIENT_APPLICATION),
        Way.TO_ALICE: _Direction(Label.SERVER_HANDSHAKE, Label.SERVER_APPLICATION),
    }


@dataclass(slots=True)
class OverheardTls:
    """A connection; Alice dials, so what goes to Bob is the client's."""

    secrets: Secrets = field(repr=False)
    passed_bytes: int = 0
    """So far, in both directions."""
    opened_bytes: int = 0
    """In records that could be opened, headers included."""
    client: ClientHello | None = None
    server: ServerHello | None = None
    _directions: dict[Way, _Direction] = field(default_factory=_directions, repr=False)
    _waiting: deque[tuple[Way, Record]] = field(default_factory=deque, repr=False)
    _waiting_bytes: int = 0

    @property
    def proof(self) -> Proof | None:
        """What the handshake rests on; None before the listener has said it."""
        if self.server is None:
            return None
        return Proof.PRE_SHARED_KEY if self.server.by_pre_shared_key else Proof.CERTIFICATE

    @property
    def is_waiting(self) -> bool:
        """Whether something came that cannot be opened with the secrets at hand."""
        return bool(self._waiting)

    def feed(self, way: Way, data: bytes) -> Iterator[tuple[Way, bytes]]:
        """Take bytes as they passed, and yield what the ends said in them; NotUnderstood if this is no TLS 1.3."""
        self.passed_bytes += len(data)
        for record in self._directions[way].records.feed(data):
            self._waiting.append((way, record))
            self._waiting_bytes += len(record)
        yield from self._read_on()
        if self._waiting_bytes > _MOST_WAITING_BYTES:
            raise NotUnderstood(f"more than {_MOST_WAITING_BYTES >> 20} MiB wait for a secret")

    def _read_on(self) -> Iterator[tuple[Way, bytes]]:
        while self._waiting:
            way, record = self._waiting[0]
            said = self._read(self._directions[way], record)
            if said is None:
                return
            self._waiting.popleft()
            self._waiting_bytes -= len(record)
            if said:
                yield way, said

    def _read(self, direction: _Direction, record: Record) -> bytes | None:
        """Read one record and return what an end said in it, nothing if it was for TLS; None if a secret lacks."""
        if record.content is not Content.APPLICATION_DATA:
            if record.content is Content.HANDSHAKE:
                self._greet(direction, record.payload)
            return b""
        opener = self._opener(direction)
        if opener is None:
            return None
        content, inner = opener.open(record)
        self.opened_bytes += len(record)
        match content:
            case Content.APPLICATION_DATA if direction.finished:
                return inner
            case Content.HANDSHAKE:
                self._shake(direction, inner)
                return b""
            case Content.ALERT:
                return b""
            case _:
                raise NotUnderstood("application data came before the handshake was finished")

    def _greet(self, direction: _Direction, payload: bytes) -> None:
        """Read a hello, in clear."""
        from_client = direction.handshake is Label.CLIENT_HANDSHAKE
        for kind, body in _messages(direction, payload):
            if self.server is not None or kind != (CLIENT_HELLO if from_client else SERVER_HELLO):
                raise NotUnderstood(f"a handshake message {kind} came in clear")
            if from_client:
                self.client = read_client_hello(body)
            else:
                hello = read_server_hello(body)
                self.server = None if hello.is_retry else hello

    def _shake(self, direction: _Direction, inner: bytes) -> None:
        """Step through encrypted handshake messages: only those that change the keys matter."""
        for kind, _ in _messages(direction, inner):
            if kind == _FINISHED and not direction.finished:
                direction.finished, direction.opener = True, None
            elif kind == _KEY_UPDATE and direction.opener is not None:
                direction.opener = direction.opener.updated()

    def _opener(self, direction: _Direction) -> Opener | None:
        if direction.opener is None:
            if self.client is None or self.server is None:
                raise NotUnderstood("protected records came before the hellos")
            label = direction.application if direction.finished else direction.handshake
            secret = self.secrets(label, self.client.random)
            direction.opener = None if secret is None else Opener(self._suite(self.server), secret)
        return direction.opener

    @staticmethod
    def _suite(server: ServerHello) -> Suite:
        suite = SUITES.get(server.suite)
        if suite is None:
            raise NotUnderstood(f"the cipher suite {server.suite:#06x} is not read here")
        return suite


def _messages(direction: _Direction, data: bytes) -> Iterator[tuple[int, bytes]]:
    """Take handshake messages off the stream that records carry; they may be cut anywhere."""
    direction.messages += data
    while len(direction.messages) >= 4:
        length = int.from_bytes(direction.messages[1:4])
        if length > _LONGEST_HANDSHAKE_MESSAGE:
            raise NotUnderstood("a handshake message is longer than any")
        if len(direction.messages) < 4 + length:
            return
        kind, body = direction.messages[0], bytes(direction.messages[4 : 4 + length])
        del direction.messages[: 4 + length]
        yield kind, body
