"""What Eve can do to a line without any key: each function makes a relay that does it to one frame."""

import json
from collections.abc import Callable, Sequence

from qkdlink.common.protocol.roles import Role
from qkdlink.common.wire.framing import LENGTHS, Envelope, decode, encode
from qkdlink.common.wire.messages import Message
from tests.support.pair import Delivery, Relay, Said, faithfully


def dropped(target: int) -> Relay:
    """Let a frame never arrive."""
    return _instead(target, lambda _: [])


def twice(target: int) -> Relay:
    """Deliver a frame and deliver it again."""
    return _instead(target, lambda said: [(said.speaker.peer, said.frame)] * 2)


def reflected(target: int) -> Relay:
    """Send a frame back to its speaker, as if the peer had said it."""
    return _instead(target, lambda said: [(said.speaker, said.frame)])


def echoed(target: int) -> Relay:
    """Deliver a frame, and send it back as well."""
    return _instead(target, lambda said: [(role, said.frame) for role in Role])


def altered(target: int, where: float, flip: int) -> Relay:
    """Change one byte of a frame, at a place between its beginning (0) and its end (1)."""

    def alter(said: Said) -> list[Delivery]:
        frame = bytearray(said.frame)
        frame[min(int(where * len(frame)), len(frame) - 1)] ^= flip
        return [(said.speaker.peer, bytes(frame))]

    return _instead(target, alter)


def cut_short(target: int) -> Relay:
    """Take the last byte off."""
    return _instead(target, lambda said: [(said.speaker.peer, said.frame[:-1])])


def replaced(target: int, frame: bytes) -> Relay:
    """Deliver something else instead."""
    return _instead(target, lambda said: [(said.speaker.peer, frame)])


def rewritten(target: int) -> Relay:
    """Say the same in other bytes: the JSON text with a space in it."""
    return _instead(target, lambda said: [(said.speaker.peer, with_other_bytes(said.frame))])


def after_the_next(target: int, *, others: int = 1) -> Relay:
    """Keep a frame back until another one, or several, have been delivered."""
    kept: list[Delivery] = []

    def relay(index: int, said: Said) -> Sequence[Delivery]:
        if index == target:
            kept.append((said.speaker.peer, said.frame))
            return []
        honest = faithfully(index, said)
        if index < target + others:
            return honest
        late, kept[:] = kept[:], []
        return [*honest, *late]

    return relay


def from_an_older(old: Sequence[Said], target: int, changed: list[int]) -> Relay:
    """Say what was said at this point of an older block, as if it belonged to this one; note it if it differs."""

    def relay(index: int, said: Said) -> Sequence[Delivery]:
        if index != target or index >= len(old):
            return faithfully(index, said)
        now = decode(said.frame).envelope
        frame = encode(Envelope(now.session, now.block, now.sequence, old[target].message))
        if frame != said.frame:
            changed.append(index)
        return [(said.speaker.peer, frame)]

    return relay


def preceded_by(target: int, message: Message, *, in_the_name_of_its_speaker: bool = True) -> Relay:
    """Forge one more message, with the number that is due, and deliver it before a frame of the block."""
    said_so_far = {Role.ALICE: 0, Role.BOB: 0}

    def relay(index: int, said: Said) -> Sequence[Delivery]:
        honest = faithfully(index, said)
        if index == target:
            place = decode(said.frame).envelope
            speaker = said.speaker if in_the_name_of_its_speaker else said.speaker.peer
            forged = Envelope(place.session, place.block, said_so_far[speaker], message)
            honest = [(speaker.peer, encode(forged)), *honest]
        said_so_far[said.speaker] += 1
        return honest

    return relay


def with_other_bytes(frame: bytes) -> bytes:
    """Write a frame's JSON text differently; it means the same."""
    header_length, attached = LENGTHS.unpack_from(frame)
    end = LENGTHS.size + header_length
    header = json.dumps(json.loads(frame[LENGTHS.size : end])).encode()
    return LENGTHS.pack(len(header), attached) + header + frame[end:]


def _instead(target: int, does: Callable[[Said], list[Delivery]]) -> Relay:
    def relay(index: int, said: Said) -> Sequence[Delivery]:
        return does(said) if index == target else faithfully(index, said)

    return relay
