"""The two messages of a TLS 1.3 handshake that cross the wire in clear: what Eve reads in them without any secret.

Source: RFC 8446, sections 4.1.2 to 4.1.4 and 4.2.11.
"""

from dataclasses import dataclass
from typing import ClassVar

CLIENT_HELLO, SERVER_HELLO = 1, 2
_LEGACY_VERSION = b"\x03\x03"
_PRE_SHARED_KEY, _SUPPORTED_VERSIONS = 41, 43
_TLS_1_3 = b"\x03\x04"
_RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
"""The random of a ServerHello that is a HelloRetryRequest (section 4.1.3)."""


class NotUnderstood(Exception):  # noqa: N818 - a verdict on bytes, not on the program
    """Bytes that are not what this line is said to carry; the text says what is wrong with them."""


@dataclass(frozen=True, slots=True)
class ClientHello:
    """What a dialler says first."""

    random: bytes
    """32 bytes, by which a key log names the session."""


@dataclass(frozen=True, slots=True)
class ServerHello:
    """What a listener answers."""

    suite: int
    is_retry: bool
    """A HelloRetryRequest: both hellos follow again."""
    by_pre_shared_key: bool
    """Whether it took a PSK; else a certificate follows, encrypted."""


def read_client_hello(body: bytes) -> ClientHello:
    """Read the body of a ClientHello; NotUnderstood if it is none."""
    text = _Reader(body)
    text.expect(_LEGACY_VERSION)
    random = text.take(32)
    text.vector(1)
    text.vector(2)
    text.vector(1)
    _extensions(text)
    return ClientHello(random)


def read_server_hello(body: bytes) -> ServerHello:
    """Read the body of a ServerHello; NotUnderstood unless it is one of TLS 1.3."""
    text = _Reader(body)
    text.expect(_LEGACY_VERSION)
    random = text.take(32)
    text.vector(1)
    suite = int.from_bytes(text.take(2))
    text.expect(b"\0")
    extensions = _extensions(text)
    if extensions.get(_SUPPORTED_VERSIONS) != _TLS_1_3:
        raise NotUnderstood("the listener does not speak TLS 1.3")
    return ServerHello(suite, random == _RETRY, _PRE_SHARED_KEY in extensions)


def _extensions(text: "_Reader") -> dict[int, bytes]:
    listed, found = _Reader(text.vector(2)), dict[int, bytes]()
    text.end()
    while listed.left:
        kind = int.from_bytes(listed.take(2))
        if kind in found:
            raise NotUnderstood("a hello has an extension twice")
        found[kind] = listed.vector(2)
    return found


class _Reader:
    """Takes fields off a message."""

    _CUT: ClassVar[str] = "a hello is cut short"

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def take(self, count: int) -> bytes:
        if count > self.left:
            raise NotUnderstood(self._CUT)
        self._at += count
        return self._data[self._at - count : self._at]

    def vector(self, length_bytes: int) -> bytes:
        return self.take(int.from_bytes(self.take(length_bytes)))

    def expect(self, constant: bytes) -> None:
        if self.take(len(constant)) != constant:
            raise NotUnderstood("a hello has a version or a compression that TLS 1.3 does not have")

    def end(self) -> None:
        if self.left:
            raise NotUnderstood("a hello goes on after its end")
