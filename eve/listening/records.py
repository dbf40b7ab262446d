"""TLS 1.3 records: cut out of a stream of bytes, and opened with the traffic secret of their direction.

Before TLS a line of the web of trust carries one node card each way (`qkdlink.common.transport.carded`); it is stepped
over.

Source: RFC 8446, sections 5.1 to 5.4, 7.1 to 7.3.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, HashAlgorithm
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from qkdlink.common.trust.node_card import LARGEST_CARD_BYTES
from qkdlink.eve.listening.hellos import NotUnderstood

HEADER_BYTES = 5
_MOST_PLAIN_BYTES = 2**14
_MOST_PROTECTED_BYTES = _MOST_PLAIN_BYTES + 256
_CARD_LENGTH_BYTES = 4
_NONCE_BYTES = 12


class Content(IntEnum):
    """What a record carries."""

    CHANGE_CIPHER_SPEC = 20
    ALERT = 21
    HANDSHAKE = 22
    APPLICATION_DATA = 23


@dataclass(frozen=True, slots=True)
class Record:
    """A record as it crossed the wire."""

    content: Content
    header: bytes
    payload: bytes = field(repr=False)

    def __len__(self) -> int:
        return HEADER_BYTES + len(self.payload)


@dataclass(frozen=True, slots=True)
class Suite:
    """A cipher suite of TLS 1.3."""

    name: str
    cipher: type[AESGCM | ChaCha20Poly1305]
    key_bytes: int
    hash: HashAlgorithm


SUITES = {
    0x1301: Suite("TLS_AES_128_GCM_SHA256", AESGCM, 16, SHA256()),
    0x1302: Suite("TLS_AES_256_GCM_SHA384", AESGCM, 32, SHA384()),
    0x1303: Suite("TLS_CHACHA20_POLY1305_SHA256", ChaCha20Poly1305, 32, SHA256()),
}


class RecordReader:
    """Cuts one direction of a connection into records."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._began = False
        self.clear_bytes = 0
        """Bytes of a node card that came before TLS."""

    def feed(self, data: bytes) -> Iterator[Record]:
        """Take what came next and yield the records that are whole; NotUnderstood if it is no TLS."""
        self._rest += data
        if not self._began and not self._stepped_over_card():
            return
        while len(self._rest) >= HEADER_BYTES:
            header = bytes(self._rest[:HEADER_BYTES])
            content, length = _content(header), int.from_bytes(header[3:])
            if len(self._rest) < HEADER_BYTES + length:
                return
            payload = bytes(self._rest[HEADER_BYTES : HEADER_BYTES + length])
            del self._rest[: HEADER_BYTES + length]
            yield Record(content, header, payload)

    def _stepped_over_card(self) -> bool:
        if not self._rest:
            return False
        # a record begins with its content type, a card with the length of what follows
        if self._rest[0] == 0:
            if len(self._rest) < _CARD_LENGTH_BYTES:
                return False
            length = int.from_bytes(self._rest[:_CARD_LENGTH_BYTES])
            if length > LARGEST_CARD_BYTES:
                raise NotUnderstood("the line begins neither with TLS nor with a node card")
            if len(self._rest) < _CARD_LENGTH_BYTES + length:
                return False
            self.clear_bytes = _CARD_LENGTH_BYTES + length
            del self._rest[: self.clear_bytes]
        self._began = True
        return True


class Opener:
    """Opens the records of one direction under one traffic secret, in order."""

    def __init__(self, suite: Suite, secret: bytes) -> None:
        if len(secret) != suite.hash.digest_size:
            raise NotUnderstood(f"a secret of {len(secret)} bytes is none of {suite.name}")
        self._suite = suite
        self._secret = secret
        self._cipher = suite.cipher(expand_label(suite.hash, secret, "key", suite.key_bytes))
        self._iv = int.from_bytes(expand_label(suite.hash, secret, "iv", _NONCE_BYTES))
        self._sequence = 0

    def open(self, record: Record) -> tuple[Content, bytes]:
        """Return what a record carries, its padding removed; NotUnderstood if the secret is not this record's."""
        nonce = (self._iv ^ self._sequence).to_bytes(_NONCE_BYTES)
        try:
            inner = self._cipher.decrypt(nonce, record.payload, record.header)
        except InvalidTag as error:
            raise NotUnderstood("a record does not open with the secret of its session") from error
        self._sequence += 1
        content = inner.rstrip(b"\0")
        if not content or len(inner) > _MOST_PLAIN_BYTES + 1:
            raise NotUnderstood("a record holds nothing but padding, or too much")
        return _known(content[-1]), content[:-1]

    def updated(self) -> "Opener":
        """Return the opener of what follows a KeyUpdate."""
        size = self._suite.hash.digest_size
        return Opener(self._suite, expand_label(self._suite.hash, self._secret, "traffic upd", size))


def expand_label(algorithm: HashAlgorithm, secret: bytes, label: str, length: int) -> bytes:
    """HKDF-Expand-Label with an empty context (RFC 8446, section 7.1)."""
    full = b"tls13 " + label.encode()
    info = length.to_bytes(2) + bytes([len(full)]) + full + b"\0"
    return HKDFExpand(algorithm, length, info).derive(secret)


def _content(header: bytes) -> Content:
    if header[1] != 3 or int.from_bytes(header[3:]) > _MOST_PROTECTED_BYTES:
        raise NotUnderstood("the bytes are no TLS records")
    return _known(header[0])


def _known(content: int) -> Content:
    try:
        return Content(content)
    except ValueError as error:
        raise NotUnderstood(f"there is no TLS record of type {content}") from error
