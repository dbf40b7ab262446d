"""Light as bytes: a frame is sealed, so that whoever copies the message has copied nothing.

A sealed frame is

    version (1 byte) | sender (15, ASCII, zero-filled) | boot id (16) | counter (8) | ciphertext | tag (16)

under AES-256-GCM with the key HKDF-SHA-256(seal key, salt = boot id, info = label and sender) and the
counter as nonce. A process draws its boot id from the operating system, so neither a restart nor a second
sender ever repeats a nonce. Associated data are the fields before the ciphertext and the caller's header.
Inside stand the first pulse's index, the fibre's three numbers and one byte per pulse: no seed, nothing from
which a receiver could regenerate light. Light that is not as honest light is (`side_light`) has version 2 and one more
byte per pulse behind those.

Each frame opens once per process. That stands for no-cloning, which a message does not obey: whoever lacks the seal
key has nothing, and whoever has it (the emulated optics of Alice, Bob and Eve) gets the light once. The boundary is
this interface, not Python.

A frame is known again by its whole envelope and its tag, and by nothing that its sender merely claims: were the highest
counter of a sender kept instead, one frame with the last counter would have all later ones refused. The latest
`MOST_REMEMBERED` frames are remembered; of an older one its place says that it is over (`qkdlink.bob.receiver`).
"""

import secrets
import struct

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from qkdlink.common.errors import ConfigurationError, RemoteProtocolError
from qkdlink.common.optics.fibre import Fibre
from qkdlink.common.optics.pulses import PulseTrain
from qkdlink.common.optics.records import MOST_PULSES
from qkdlink.common.optics.side_light import SideLight
from qkdlink.common.optics.states import States

SEAL_KEY_BYTES = 32
_VERSION = 1
_VERSION_WITH_SIDE_LIGHT = 2
_ENVELOPE = struct.Struct(">B15s16sQ")
_PREAMBLE = struct.Struct(">Qddd")
_TAG_BYTES = 16
_LABEL = b"qkdlink light seal 1|"

MOST_REMEMBERED = 1 << 14
"""Frames; ten minutes of light at 25 frames a second, in about 3 MB."""
_opened: dict[bytes, None] = {}
"""Envelope and tag of the frames that this process has opened, oldest first: light is handed out once."""


def sealed_bytes(pulses: int) -> int:
    """Length of a sealed frame of so many pulses: whatever is shorter was cut short on its way."""
    return _ENVELOPE.size + _PREAMBLE.size + pulses + _TAG_BYTES


class SealBroken(RemoteProtocolError):  # noqa: N818 - what happened, as the journal names it
    """This is not a frame of light that belongs here: it is foreign, damaged or truncated."""


class AlreadyOpened(SealBroken):
    """This frame of light has been opened in this process: it exists once."""


class ImpossibleLight(SealBroken):
    """The seal is good, and what it holds cannot be light."""


class LightSeal:
    """Seals and opens frames of light for one process of one link."""

    def __init__(self, seal_key: bytes, sender: str) -> None:
        """Take the link's 32 secret bytes and this process's name: 1 to 15 ASCII characters, as "alice"."""
        if len(seal_key) != SEAL_KEY_BYTES:
            raise ConfigurationError(f"a seal key has {SEAL_KEY_BYTES} bytes, not {len(seal_key)}")
        if not (sender.isascii() and sender.isprintable() and 0 < len(sender) <= 15):
            raise ConfigurationError(
                f"a sender of light is named by 1 to 15 ASCII characters, not {sender!r}"
            )
        self._seal_key = seal_key
        self._sender = sender.encode().ljust(15, b"\0")
        self._boot_id = secrets.token_bytes(16)
        self._counter = 0

    def __repr__(self) -> str:
        return f"LightSeal({self._sender.rstrip(b'\0').decode()}, redacted)"

    def seal(self, train: PulseTrain, header: bytes) -> bytes:
        """Turn light into a sealed frame; the train is dark afterwards.

        `header` travels in clear beside the frame and has to be the same when it is opened.
        """
        return b"".join(self.seal_in_parts(train, header))

    def seal_in_parts(self, train: PulseTrain, header: bytes) -> tuple[bytes, ...]:
        """Do as `seal` does, and leave the parts of the frame where they are: joining takes as long as sealing."""
        version = _VERSION if train.side is None else _VERSION_WITH_SIDE_LIGHT
        envelope = _ENVELOPE.pack(version, self._sender, self._boot_id, self._counter)
        medium = train.medium
        preamble = _PREAMBLE.pack(
            train.first_pulse, medium.length_km, medium.attenuation_db_per_km, medium.misalignment
        )
        key = self._frame_key(self._sender, self._boot_id)
        # AESGCM wants preamble and states in one piece, and copying a megabyte costs more than sealing it.
        encryptor = Cipher(algorithms.AES(key), modes.GCM(_nonce(self._counter))).encryptor()
        self._counter += 1
        encryptor.authenticate_additional_data(envelope + header)
        sealed = (
            envelope,
            encryptor.update(preamble),
            encryptor.update(memoryview(train.absorb())),
            b"" if train.side is None else encryptor.update(memoryview(train.side.absorb())),
            encryptor.finalize(),
        )
        return (*sealed, encryptor.tag)

    def unseal(self, sealed: bytes | memoryview, header: bytes) -> PulseTrain:
        """Open a frame that anybody with this link's seal key has sealed.

        Raises SealBroken on anything but the whole, unaltered frame with its own header, AlreadyOpened the second
        time, and ImpossibleLight if it holds what no light can be: its sender is not believed either.
        """
        if len(sealed) <= _ENVELOPE.size + _PREAMBLE.size + _TAG_BYTES:
            raise SealBroken(f"a frame of light cannot be as short as {len(sealed)} bytes")
        version, sender, boot_id, counter = _ENVELOPE.unpack_from(sealed)
        if version not in (_VERSION, _VERSION_WITH_SIDE_LIGHT):
            raise SealBroken(
                f"a frame of light of version {version} is unknown here; this is version {_VERSION} or 2"
            )
        preamble, pulses = self._decrypt(
            memoryview(sealed), header, self._frame_key(sender, boot_id), counter
        )
        _remember(bytes(sealed[: _ENVELOPE.size]) + bytes(sealed[-_TAG_BYTES:]))
        first_pulse, *fibre = _PREAMBLE.unpack(preamble)
        return _light(
            pulses, _medium(*fibre), first_pulse, has_side_light=version == _VERSION_WITH_SIDE_LIGHT
        )

    def _decrypt(self, sealed: memoryview, header: bytes, key: bytes, counter: int) -> tuple[bytes, States]:
        """Return preamble and states; nothing leaves before the tag is verified."""
        body, tag = sealed[_ENVELOPE.size : -_TAG_BYTES], sealed[-_TAG_BYTES:]
        decryptor = Cipher(algorithms.AES(key), modes.GCM(_nonce(counter), bytes(tag))).decryptor()
        decryptor.authenticate_additional_data(bytes(sealed[: _ENVELOPE.size]) + header)
        preamble = decryptor.update(body[: _PREAMBLE.size])
        states = np.empty(len(body) - _PREAMBLE.size, np.uint8)
        decryptor.update_into(body[_PREAMBLE.size :], memoryview(states))
        try:
            decryptor.finalize()
        except InvalidTag:
            raise SealBroken(
                "a frame of light was damaged on its way or belongs to another link or place"
            ) from None
        return preamble, states

    def _frame_key(self, sender: bytes, boot_id: bytes) -> bytes:
        """The AES key of one sender's boot."""
        hkdf = HKDF(SHA256(), SEAL_KEY_BYTES, salt=boot_id, info=_LABEL + sender)
        return hkdf.derive(self._seal_key)


def _remember(frame: bytes) -> None:
    if frame in _opened:
        raise AlreadyOpened("a frame of light came twice: light exists once")
    _opened[frame] = None
    if len(_opened) > MOST_REMEMBERED:
        del _opened[next(iter(_opened))]


def _medium(length_km: float, attenuation_db_per_km: float, misalignment: float) -> Fibre:
    try:
        return Fibre(length_km, attenuation_db_per_km, misalignment)
    except ConfigurationError as error:
        raise ImpossibleLight(str(error)) from None


def _light(pulses: States, medium: Fibre, first_pulse: int, *, has_side_light: bool) -> PulseTrain:
    """Return the train that the plaintext describes; every byte is a state, and every byte is side light."""
    states, side = pulses, None
    if has_side_light:
        if len(pulses) % 2:
            raise ImpossibleLight("a frame of light with side light has two bytes for each pulse")
        states, manners = np.split(pulses, 2)
        side = SideLight(manners)
    if first_pulse + len(states) > MOST_PULSES:
        raise ImpossibleLight(
            f"a block has at most {MOST_PULSES} pulses, and a frame of light lies beyond them"
        )
    return PulseTrain(states, medium, first_pulse, side)


def _nonce(counter: int) -> bytes:
    return counter.to_bytes(12, "big")
