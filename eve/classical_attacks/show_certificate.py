"""Show a certificate: she answers Alice's call herself, ignores any key that is offered, and shows a certificate of
her own making in Bob's name. Where he listens with link PSKs that is a downgrade, at the bootstrap an imposture.
"""

import ssl
from dataclasses import dataclass, field
from tempfile import NamedTemporaryFile
from typing import ClassVar

from qkdlink.common.keys.derivation import LISTENER
from qkdlink.common.trust.algorithms import KeyAlgorithm
from qkdlink.common.trust.pki import Validity
from qkdlink.common.trust.self_signed import self_signed
from qkdlink.eve.classical_attacks.base import ClassicalAttack, Hand, Line
from qkdlink.eve.relay import Way

_DAYS = 1


class ShowCertificate(ClassicalAttack):
    """Be a TLS server that nobody has vouched for; what she is told on such a line is read and goes nowhere."""

    name: ClassVar[str] = "show-certificate"

    def begin(self, line: Line) -> Hand:
        """Answer this call; Bob hears nothing of it."""
        return _Impostor(line)


@dataclass(slots=True)
class _Impostor:
    line: Line
    _heard: ssl.MemoryBIO = field(default_factory=ssl.MemoryBIO)
    _to_say: ssl.MemoryBIO = field(default_factory=ssl.MemoryBIO)
    _server: ssl.SSLObject = field(init=False)

    def __post_init__(self) -> None:
        self._server = _context().wrap_bio(self._heard, self._to_say, server_side=True)

    async def touch(self, way: Way, data: bytes) -> bytes:
        if way is Way.TO_ALICE:
            return b""
        self.line.acted()
        self._heard.write(data)
        try:
            self._server.do_handshake()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            self._say()
            self.line.cut()
            return b""
        self._say()
        return b""

    def _say(self) -> None:
        self.line.inject(Way.TO_ALICE, self._to_say.read())


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    private_pem, certificate_pem = self_signed(LISTENER, Validity.days(_DAYS), KeyAlgorithm.P256)
    with NamedTemporaryFile() as file:  # made with mode 0600; Python loads a key from a file only
        file.write(private_pem + certificate_pem)
        file.flush()
        context.load_cert_chain(file.name)
    return context
