"""User traffic, later: what opens of it once primitives are broken that its key rests on, and what holds it shut."""

from collections.abc import Collection, Mapping
from typing import Any

from qkdlink.common.errors import ConfigurationError
from qkdlink.eve.relay import Way
from qkdlink.lab.recordings.recording import Recording
from qkdlink.lab.traffic.key_exchanges import (
    DeliveredKey,
    EcdhExchange,
    KeySource,
    MlKemExchange,
    Primitive,
    QkdExchange,
    exchange_of,
    key_from,
    parts,
)
from qkdlink.lab.traffic.user_traffic import Direction, TrafficKey

_TRAFFIC_BYTES_LIMIT = 1 << 24
_KINDS = {Primitive.ECDH: EcdhExchange, Primitive.ML_KEM: MlKemExchange, Primitive.QKD: QkdExchange}


def user_traffic(
    recording: Recording, source: KeySource, broken: Collection[Primitive], verdicts: Mapping[str, bool]
) -> dict[str, Any]:
    """Say what of one kind of user traffic opens, and why, or why not.

    `verdicts` says of blocks that were read, by name, whether their key is undetermined. QKD stands as long as the
    block was not read, or is undetermined in spite of it; a block that fails the check counts as broken, whole.
    """
    agreement, words = _streams(recording, source)
    name = recording.link.keys_used.get(source)
    verdict = None if name is None else verdicts.get(name.partition(" ")[0])
    worthless = {*broken, Primitive.QKD} if verdict is False else set(broken)
    standing = [primitive for primitive in source.primitives if primitive not in worthless]
    key = None if standing else _key(recording, source, agreement)
    sealed = {way: _messages(words[way]) for way in Way}
    texts = [] if key is None else _texts(key, sealed)
    size = sum(len(each) for messages in sealed.values() for each in messages)
    return {
        "opened": bool(texts),
        "bytes": size,
        "opened_bytes": size if texts else 0,
        "opened_by": [str(primitive) for primitive in source.primitives] if texts else [],
        "held_by": [str(primitive) for primitive in standing],
        "texts": texts,
        "key": name,
        "key_undetermined": verdict,
    }


def _key(recording: Recording, source: KeySource, agreement: Mapping[Way, bytes]) -> TrafficKey:
    """Come to a key from what crossed the wire, where everything that it rests on is broken."""
    exchanges = [_KINDS[primitive] for primitive in source.primitives]
    [offered], [answered] = (_messages(agreement[way]) for way in (Way.TO_BOB, Way.TO_ALICE))
    offers, answers = parts(exchanges, offered, offers=True), parts(exchanges, answered, offers=False)
    secrets = []
    for primitive, offer, answer in zip(source.primitives, offers, answers, strict=True):
        kept = bytes.fromhex(recording.kept.secrets[source][primitive])
        named = (
            DeliveredKey(offer.decode(errors="replace").rstrip(), kept)
            if primitive is Primitive.QKD
            else None
        )
        broken = exchange_of(primitive, named, kept)
        if broken.offer() != offer:
            raise ConfigurationError(
                f"What was kept of the {primitive} exchange is not of this recording: make a new one."
            )
        secrets.append(broken.secret(answer))
    return TrafficKey(key_from(source, secrets))


def _streams(recording: Recording, source: KeySource) -> tuple[dict[Way, bytes], dict[Way, bytes]]:
    """Return what crossed each way on the connection of the agreement, and on that of the words."""
    streams = {number: {way: bytearray() for way in Way} for number in (1, 2)}
    for passed in recording.words_of(source):
        if passed.connection not in streams:
            raise ConfigurationError(
                f"The recording in {recording.folder} is not of user traffic: make a new one."
            )
        stream = streams[passed.connection][passed.way]
        stream += passed.data
        if len(stream) > _TRAFFIC_BYTES_LIMIT:
            raise ConfigurationError(
                f"The recording in {recording.folder} is longer than any that is made here."
            )
    return tuple({way: bytes(data) for way, data in each.items()} for each in streams.values())  # type: ignore[return-value]


def _messages(stream: bytes) -> list[bytes]:
    """Cut a stream into the messages of `qkdlink.lab.traffic.user_traffic`."""
    found, at = [], 0
    while at + 4 <= len(stream):
        end = at + 4 + int.from_bytes(stream[at : at + 4])
        found.append(stream[at + 4 : end])
        at = end
    return found


def _texts(key: TrafficKey, sealed: Mapping[Way, list[bytes]]) -> list[str]:
    """Open every message of both directions, in order."""
    directions = ((Direction.THERE, sealed[Way.TO_BOB]), (Direction.BACK, sealed[Way.TO_ALICE]))
    return [
        key.unseal(direction, number, message).decode(errors="replace")
        for direction, messages in directions
        for number, message in enumerate(messages)
    ]
