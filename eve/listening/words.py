"""What Alice and Bob say to each other on one connection, message by message, once its TLS can be read."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from qkdlink.common.errors import RemoteProtocolError
from qkdlink.common.transport.connections import ACCEPTED
from qkdlink.common.wire.framing import LENGTHS, Envelope, body_length, decode
from qkdlink.eve.listening.hellos import NotUnderstood
from qkdlink.eve.listening.tls import OverheardTls, Secrets
from qkdlink.eve.relay import Way


@dataclass(slots=True)
class OverheardLine:
    """A connection of the link: TLS, the listener's ACCEPTED, then frames both ways."""

    tls: OverheardTls
    limit: int
    """The longest attachments that a message may have, in bytes."""
    _rest: dict[Way, bytearray] = field(default_factory=lambda: {way: bytearray() for way in Way}, repr=False)
    _accepted: bool = False

    @classmethod
    def begin(cls, secrets: Secrets, limit: int) -> "OverheardLine":
        """Begin with a connection's first byte."""
        return cls(OverheardTls(secrets), limit)

    def feed(self, way: Way, data: bytes) -> Iterator[tuple[Way, Envelope]]:
        """Take bytes as they passed, and yield the messages that are whole; NotUnderstood if they are none of ours."""
        for speaking_to, said in self.tls.feed(way, data):
            rest = self._rest[speaking_to]
            rest += said
            if speaking_to is Way.TO_ALICE and not self._accepted:
                if not rest.startswith(ACCEPTED):
                    raise NotUnderstood("what answers there is not a qkdlink node")
                del rest[: len(ACCEPTED)]
                self._accepted = True
            for envelope in self._frames(rest):
                yield speaking_to, envelope

    def _frames(self, rest: bytearray) -> Iterator[Envelope]:
        try:
            while len(rest) >= LENGTHS.size:
                end = LENGTHS.size + body_length(bytes(rest[: LENGTHS.size]), self.limit)
                if len(rest) < end:
                    return
                frame = bytes(rest[:end])
                del rest[:end]
                yield decode(frame).envelope
        except RemoteProtocolError as error:
            raise NotUnderstood(str(error)) from error
