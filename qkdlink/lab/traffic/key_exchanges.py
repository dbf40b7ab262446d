"""Where the key of user traffic comes from: ECDH, ML-KEM, QKD, or the last two together.

An exchange is an offer, an answer, and a secret at both ends; several are combined by HKDF over all their secrets, so
that the key is safe while one of them holds.

Sources: RFC 7748 (X25519); FIPS 203 (ML-KEM-768); RFC 5869; Giacon, Heuer, Poettering, "KEM combiners", PKC 2018.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar, Protocol

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from qkdlink.common.errors import LinkError

KEY_BYTES = 32
_NAME_BYTES = 128


class Primitive(StrEnum):
    """What a user's key may rest on."""

    ECDH = "ecdh"
    ML_KEM = "ml-kem"
    QKD = "qkd"


class KeySource(StrEnum):
    """Where the key of a user connection comes from."""

    ECDH = "ecdh"
    ML_KEM = "ml-kem"
    QKD = "qkd"
    QKD_AND_ML_KEM = "qkd+ml-kem"

    @property
    def primitives(self) -> tuple[Primitive, ...]:
        """What it rests on: whoever breaks all of these has the key."""
        return tuple(Primitive(name) for name in self.value.split("+"))


@dataclass(frozen=True, slots=True)
class DeliveredKey:
    """A part of a block that a node's key store has delivered to its application."""

    name: str
    """Of block and purpose: what is said on the wire."""
    key: bytes = field(repr=False)


class Exchange(Protocol):
    """One end of one exchange."""

    offer_bytes: ClassVar[int]
    answer_bytes: ClassVar[int]

    def offer(self) -> bytes:
        """Return what the dialler says, `offer_bytes` long."""

    def answer(self, offer: bytes) -> tuple[bytes, bytes]:
        """Return what the listener answers, `answer_bytes` long, and the secret."""

    def secret(self, answer: bytes) -> bytes:
        """Return the dialler's secret."""

    @property
    def private(self) -> bytes:
        """What the dialler has kept to itself: whoever had this would have the secret, too."""


class EcdhExchange:
    """Ephemeral X25519, as TLS has it."""

    offer_bytes: ClassVar[int] = 32
    answer_bytes: ClassVar[int] = 32

    def __init__(self, private: bytes | None = None) -> None:
        self._private = (
            X25519PrivateKey.generate() if private is None else X25519PrivateKey.from_private_bytes(private)
        )

    @property
    def private(self) -> bytes:
        """The discrete logarithm of the offer."""
        return self._private.private_bytes_raw()

    def offer(self) -> bytes:
        """Return the public key."""
        return self._private.public_key().public_bytes_raw()

    def answer(self, offer: bytes) -> tuple[bytes, bytes]:
        """Return the own public key, and the point that both come to."""
        return self.offer(), self.secret(offer)

    def secret(self, answer: bytes) -> bytes:
        """Return the point that both come to."""
        return self._private.exchange(X25519PublicKey.from_public_bytes(answer))


class MlKemExchange:
    """ML-KEM-768."""

    offer_bytes: ClassVar[int] = 1184
    answer_bytes: ClassVar[int] = 1088

    def __init__(self, seed: bytes | None = None) -> None:
        self._private = (
            MLKEM768PrivateKey.generate() if seed is None else MLKEM768PrivateKey.from_seed_bytes(seed)
        )

    @property
    def private(self) -> bytes:
        """The seed of the decapsulation key."""
        return self._private.private_bytes_raw()

    def offer(self) -> bytes:
        """Return the encapsulation key."""
        return self._private.public_key().public_bytes_raw()

    def answer(self, offer: bytes) -> tuple[bytes, bytes]:
        """Encapsulate a secret."""
        secret, ciphertext = MLKEM768PublicKey.from_public_bytes(offer).encapsulate()
        return ciphertext, secret

    def secret(self, answer: bytes) -> bytes:
        """Decapsulate it."""
        return self._private.decapsulate(answer)


@dataclass(frozen=True, slots=True)
class QkdExchange:
    """No exchange at all: both ends have the key, and only its name crosses the wire."""

    offer_bytes: ClassVar[int] = _NAME_BYTES
    answer_bytes: ClassVar[int] = _NAME_BYTES
    delivered: DeliveredKey

    @property
    def private(self) -> bytes:
        """The key."""
        return self.delivered.key

    def offer(self) -> bytes:
        """Name the key."""
        return self.delivered.name.encode().ljust(_NAME_BYTES)

    def answer(self, offer: bytes) -> tuple[bytes, bytes]:
        """Agree to the name."""
        return self.offer(), self.secret(offer)

    def secret(self, answer: bytes) -> bytes:
        """Return the key; LinkError if the other end names another one."""
        if answer != self.offer():
            raise LinkError("both ends of user traffic name different keys")
        return self.delivered.key


def exchange_of(
    primitive: Primitive, delivered: DeliveredKey | None, private: bytes | None = None
) -> Exchange:
    """Begin an exchange, or take up again what was kept of one; QKD needs what a key store has delivered."""
    match primitive:
        case Primitive.ECDH:
            return EcdhExchange(private)
        case Primitive.ML_KEM:
            return MlKemExchange(private)
        case Primitive.QKD if delivered is not None:
            return QkdExchange(delivered)
        case _:
            raise LinkError("no key store has delivered a key for this user traffic")


def key_from(source: KeySource, secrets: Sequence[bytes]) -> bytes:
    """Derive a user connection's key of 32 bytes from the secrets of its primitives, in their order."""
    info = f"qkdlink lab user traffic|{source}".encode()
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=info).derive(b"".join(secrets))


def parts(exchanges: Sequence[type[Exchange] | Exchange], said: bytes, *, offers: bool) -> list[bytes]:
    """Cut what was said on the wire into the offers (or answers) of its exchanges; LinkError if it does not fit."""
    lengths = [each.offer_bytes if offers else each.answer_bytes for each in exchanges]
    if sum(lengths) != len(said):
        raise LinkError("what was said about a key of user traffic has another length")
    ends = [sum(lengths[: index + 1]) for index in range(len(lengths))]
    return [said[end - length : end] for end, length in zip(ends, lengths, strict=True)]
