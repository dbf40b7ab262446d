"""Record now, decrypt later: what Eve's recording of every wire is worth to her when time has given her more.

What time gives is a hand. *quantum*: the TLS key logs of handshakes that rest on certificates, and discrete logarithms
of public keys: a quantum computer's work. It does not open a line that rests on a link PSK, because in psk_dhe_ke the
traffic keys need the PSK and Diffie-Hellman. *generous*: the key logs of every session. ML-KEM resists both, by
assumption. `also` supposes in addition that something named is broken.

For each block that she can read then, the rank check of `lab.undetermined` says whether the key is undetermined for
her, and not what was hoped.
"""

import tempfile
from collections.abc import Collection, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from common.authentication.scheme import SchemeName
from common.distillation.universal_hash import toeplitz_seed_bits
from common.distillation.verification import verification_tag_bits
from common.errors import ConfigurationError, LinkError
from common.keys.allotment import Purpose
from common.keys.identifiers import BlockId, Name
from common.protocol.parameters import LinkParameters
from common.store.key_store import KeyStore
from common.trust.private_files import FOLDER_MODE, NewFile, private_folder, write_new
from eve.listening.key_log import KeyLog, Label
from eve.listening.listener import Account, Overhearing
from eve.listening.tls import OverheardTls, Proof
from eve.notebook import BlockNotes
from eve.recorder import Passed, Wire, read_recording
from eve.relay import Way
from lab.echo import KEY_BYTES, Direction, TrafficKey
from lab.home import ALICE, BOB, LinkHome, open_home
from lab.kill_trials import tiny_parameters, tiny_settings
from lab.launcher import RunningLink, run_to_the_end
from lab.security import Security
from lab.undetermined import Disclosed, Undetermined, undetermined
from lab.user_traffic import (
    DeliveredKey,
    EcdhExchange,
    KeySource,
    MlKemExchange,
    Primitive,
    QkdExchange,
    exchange_of,
    key_from,
    parts,
    record_traffic,
)

_WIRES, _TRAFFIC, _LATER, _LINK = "wires", "traffic", "later", "link.json"
_KEPT = "kept.json"
_BLOCKS = 3
_TEXTS = (b"the convoy leaves at dawn", b"by the northern road", b"burn after reading")
_TRAFFIC_BYTES_LIMIT = 1 << 24


class Hand(StrEnum):
    """What time gives to Eve."""

    QUANTUM = "quantum"
    GENEROUS = "generous"


class _Link(BaseModel):
    """What everybody knows of a recorded link."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    link: Name
    parameters: LinkParameters
    keys_used: dict[KeySource, str]
    """Which block's key each kind of user traffic was under, as it was said on the wire."""


class _Kept(BaseModel):
    """What the applications have kept to themselves, in hexadecimal: only what a hand breaks is taken from here."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    secrets: dict[KeySource, dict[Primitive, str]] = Field(max_length=len(KeySource))


@dataclass(slots=True)
class _Connection:
    """One connection of the classical line, as it was recorded."""

    hellos: OverheardTls
    """Read without any secret."""
    passed_bytes: int = 0
    opened_bytes: int = 0


@dataclass(frozen=True, slots=True)
class _Later:
    """A recording and a hand."""

    folder: Path
    hand: Hand
    also: frozenset[Primitive]
    link: _Link
    key_log: KeyLog
    kept: _Kept = field(repr=False)

    @classmethod
    def of(cls, folder: Path, hand: Hand, also: Collection[Primitive] = ()) -> Self:
        """Read what was kept with a recording; ConfigurationError if it is none of ours."""
        link, kept = _read(_Link, folder / _LINK), _read(_Kept, folder / _LATER / _KEPT)
        key_log = KeyLog.of(folder / _LATER / f"{name}.log" for name in (ALICE, BOB))
        return cls(folder, hand, frozenset(also), link, key_log, kept)

    @property
    def broken(self) -> frozenset[Primitive]:
        """What user keys may rest on and is worth nothing any more."""
        return self.also | {Primitive.ECDH}


def decrypt_later(folder: Path, hand: Hand, also: Collection[Primitive] = ()) -> dict[str, Any]:
    """Open what a hand opens of a recording that `make_recording` has made, and account for every byte.

    Returns `link` (each connection with its bytes and by what it was opened), `blocks` (each that could be read, and
    whether its key is undetermined) and `user_traffic` (by the source of its key). ConfigurationError if the folder
    holds no such recording.
    """
    later = _Later.of(folder, hand, also)
    connections = _connections(folder / _WIRES)
    blocks = _judged_blocks(later, connections)
    verdicts = _verdicts(blocks)
    return {
        "hand": str(hand),
        "also_broken": sorted(later.also),
        "light": {"bytes": _light_bytes(folder / _WIRES), "opened_bytes": 0, "opened_by": None},
        "link": [_told(number, each) for number, each in sorted(connections.items())],
        "blocks": blocks,
        "user_traffic": {str(source): _user_traffic(later, source, verdicts) for source in KeySource},
    }


def blocks_read(folder: Path, hand: Hand) -> list[Account]:
    """Return every block of a recording whose words a hand opens; ConfigurationError as of `decrypt_later`."""
    return _opened(_Later.of(folder, hand), _connections(folder / _WIRES))


def _connections(wires: Path) -> dict[int, _Connection]:
    """Read the hellos of every connection on which anything was said; they are in clear."""
    found: dict[int, _Connection] = {}
    for passed in filter(lambda passed: passed.data, _words(wires)):
        connection = found.setdefault(passed.connection, _Connection(OverheardTls(_no_secret)))
        connection.passed_bytes += len(passed.data)
        if connection.hellos.server is None:
            for _ in connection.hellos.feed(passed.way, passed.data):
                pass  # nothing is said that could be read
    return found


def _opened(later: _Later, connections: Mapping[int, _Connection]) -> list[Account]:
    """Read all conversations that the hand opens; the account of every block that was."""
    open_to_her = {
        connection.hellos.client.random
        for connection in connections.values()
        if connection.hellos.client is not None
        and (later.hand is Hand.GENEROUS or connection.hellos.proof is Proof.CERTIFICATE)
    }

    def secret(label: Label, client_random: bytes) -> bytes | None:
        return later.key_log.secret(label, client_random) if client_random in open_to_her else None

    # light that is copied under its seal is not kept: she has no notes
    overhearing = Overhearing(
        later.link.link,
        later.link.parameters,
        secret,
        lambda _, __, gates, bases: BlockNotes().known(gates, bases),
    )
    told = []
    for passed in _words(later.folder / _WIRES):
        if passed.data:
            told += overhearing.hear(passed.connection, passed.way, passed.data)
            line = overhearing.line(passed.connection)
            if line is not None:
                connections[passed.connection].opened_bytes = line.tls.opened_bytes
        else:
            told += overhearing.closed(passed.connection)
    told += overhearing.all_closed()
    return [each for each in told if isinstance(each, Account)]


def _told(number: int, connection: _Connection) -> dict[str, Any]:
    proof = connection.hellos.proof
    return {
        "connection": number,
        "proof": proof and str(proof),
        "bytes": connection.passed_bytes,
        "opened_bytes": connection.opened_bytes,
        "opened_by": f"TLS key log of a {proof} handshake" if connection.opened_bytes else None,
    }


def _judged_blocks(later: _Later, connections: Mapping[int, _Connection]) -> list[dict[str, Any]]:
    accounts = _opened(later, connections)
    return [_judged(later, account) for account in accounts if account.overheard.has_key]


def _verdicts(blocks: Iterable[Mapping[str, Any]]) -> dict[str, bool]:
    return {block["block"]: block["undetermined"] for block in blocks}


def _judged(later: _Later, account: Account) -> dict[str, Any]:
    """Say of a block that she has read whether its key is undetermined for her."""
    check = rank_check(account, later.link.parameters)
    overheard = account.overheard
    return {
        "block": str(account.block),
        "sifted_bits": overheard.sifted_bits,
        "disclosed_parities": overheard.disclosed_parities,
        "secret_bits": check.secret_bits,
        "undetermined_bits": check.undetermined_bits,
        "undetermined": check.holds,
    }


def rank_check(
    account: Account, parameters: LinkParameters, *, known_bits: int = 0, lengthened_by: int = 0
) -> Undetermined:
    """Check a block of which Eve has read every word, and knows the first `known_bits` of the sifted key besides.

    `lengthened_by` bits are added to its key, which is what the check is there to catch. LinkError if it has no key.
    """
    overheard, plan, amplified = account.overheard, account.overheard.plan, account.overheard.amplified
    if plan is None or amplified is None:
        raise LinkError(f"block {account.block} has no key to be checked")
    length, secret_bits = overheard.sifted_bits, amplified.secret_bits + lengthened_by
    drawn = np.unpackbits(np.frombuffer(amplified.seed, np.uint8))
    wanted = toeplitz_seed_bits(length, secret_bits)
    disclosed = Disclosed(
        plan,
        overheard.shuffle_seed,
        tuple(questions for questions, _ in overheard.answered),
        verification_tag_bits(length, parameters.eps_cor),
    )
    return undetermined(np.arange(length) >= known_bits, np.resize(drawn, wanted), secret_bits, disclosed)


def _user_traffic(later: _Later, source: KeySource, verdicts: Mapping[str, bool]) -> dict[str, Any]:
    """Say what of one kind of user traffic opens, and why, or why not.

    QKD stands as long as the block was not read, or is undetermined in spite of it; a block that fails the check counts
    as broken, whole.
    """
    agreement, words = _streams(later.folder / _TRAFFIC / source)
    name = later.link.keys_used.get(source)
    verdict = None if name is None else verdicts.get(name.partition(" ")[0])
    broken = later.broken | ({Primitive.QKD} if verdict is False else set())
    standing = [primitive for primitive in source.primitives if primitive not in broken]
    key = None if standing else _key(later, source, agreement)
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


def _key(later: _Later, source: KeySource, agreement: Mapping[Way, bytes]) -> TrafficKey:
    """Come to a key from what crossed the wire, where everything that it rests on is broken."""
    kinds = {Primitive.ECDH: EcdhExchange, Primitive.ML_KEM: MlKemExchange, Primitive.QKD: QkdExchange}
    exchanges = [kinds[primitive] for primitive in source.primitives]
    [offered], [answered] = (_messages(agreement[way]) for way in (Way.TO_BOB, Way.TO_ALICE))
    offers, answers = parts(exchanges, offered, offers=True), parts(exchanges, answered, offers=False)
    secrets = []
    for primitive, offer, answer in zip(source.primitives, offers, answers, strict=True):
        kept = bytes.fromhex(later.kept.secrets[source][primitive])
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
    return key_from(source, secrets)


def _streams(folder: Path) -> tuple[dict[Way, bytes], dict[Way, bytes]]:
    """Return what crossed each way on the connection of the agreement, and on that of the words."""
    streams = {number: {way: bytearray() for way in Way} for number in (1, 2)}
    for passed in _words(folder):
        if passed.connection not in streams:
            raise ConfigurationError(f"The recording in {folder} is not of user traffic: make a new one.")
        stream = streams[passed.connection][passed.way]
        stream += passed.data
        if len(stream) > _TRAFFIC_BYTES_LIMIT:
            raise ConfigurationError(f"The recording in {folder} is longer than any that is made here.")
    return tuple({way: bytes(data) for way, data in each.items()} for each in streams.values())  # type: ignore[return-value]


def _messages(stream: bytes) -> list[bytes]:
    """Cut a stream into the messages of `lab.echo`."""
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


def _words(wires: Path) -> Iterable[Passed]:
    return (passed for passed in read_recording(wires) if passed.wire is Wire.WORDS)


def _light_bytes(wires: Path) -> int:
    return sum(len(passed.data) for passed in read_recording(wires) if passed.wire is Wire.LIGHT)


def _no_secret(label: Label, client_random: bytes) -> None:
    del label, client_random


def _read[M: BaseModel](kind: type[M], path: Path) -> M:
    try:
        return kind.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise ConfigurationError(
            f"{path} cannot be read: name a folder that `qkdlink lab decrypt-later` has recorded into, or a new one."
        ) from error


# --- making a recording --------------------------------------------------------------------------------------


async def make_recording(
    folder: Path, parameters: LinkParameters | None = None, blocks: int = _BLOCKS
) -> dict[str, Any]:
    """Run a link with Eve, transparent, on every wire, and user traffic under a key of each source.

    What she records lies in `wires` and `traffic`; what time may give her, in `later`. Every block begins an epoch, so
    that there are a bootstrap and lines under link PSKs. No key that was stored is kept, but those that user traffic
    was under. Returns what came of it; ConfigurationError if the folder is not new or empty.
    """
    _check_new(folder)
    chosen = parameters or tiny_parameters()
    with private_folder(folder), tempfile.TemporaryDirectory(prefix="qkdlink-") as house:
        _make_private(folder)
        home = open_home(Path(house) / "home")
        result = await run_to_the_end(
            home,
            chosen,
            blocks=blocks,
            alice=tiny_settings(),
            # tags that cost no generated key: so small a block would else give all of it to the reserve
            security=Security(scheme=SchemeName.HMAC_SHA256),
            eve={"record": str((folder / _WIRES).resolve())},
        )
        delivered = _deliver(home, result.link)
        recorded = [
            await record_traffic(
                folder / _TRAFFIC / source, source, _TEXTS, *delivered.get(source, (None, None))
            )
            for source in KeySource
        ]
        names = {source: alices.name for source, (alices, _) in delivered.items()}
        kept = _Kept(
            secrets={each.source: {name: key.hex() for name, key in each.kept.items()} for each in recorded}
        )
        link = _Link(link=home.link, parameters=chosen, keys_used=names)
        with private_folder(folder / _LATER):
            write_new(
                NewFile(folder / _LINK, link.model_dump_json(exclude_none=True).encode()),
                NewFile(folder / _LATER / _KEPT, kept.model_dump_json().encode()),
                *(
                    NewFile(folder / _LATER / f"{name}.log", home.key_log(name).read_bytes())
                    for name in (ALICE, BOB)
                ),
            )
        return {
            "keys_equal": result.keys_equal,
            "secret_bits": result.secret_bits,
            "came_back": all(each.came_back for each in recorded),
            "known_fraction_of_sifted": result.known_fraction_of_sifted,
            "key_recovered": result.key_recovered,
        }


def _check_new(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigurationError(f"{folder} is neither new nor empty: name another folder for a recording.")


def _make_private(folder: Path) -> None:
    """Take from everybody else a folder that was there, and empty: what time gives her will lie in it."""
    try:
        folder.chmod(FOLDER_MODE)
    except OSError as error:
        raise ConfigurationError(
            f"{folder} cannot be made private: {error.strerror}; name a folder of your own."
        ) from error


def _deliver(home: LinkHome, link: RunningLink) -> dict[KeySource, tuple[DeliveredKey, DeliveredKey]]:
    """Have both key stores deliver one part of the first block, and another of the last, to their applications.

    The first block is one of the bootstrap, which certificates alone have protected on the wire.
    """
    with_key = sorted((block.number, block.block_id) for block in link.alice.blocks if block.secret_bits)
    if not with_key:
        raise LinkError("the link has made no key for user traffic")
    return {
        KeySource.QKD: _part(home, with_key[0][1], Purpose.APPLICATIONS_AT_ALICE),
        KeySource.QKD_AND_ML_KEM: _part(home, with_key[-1][1], Purpose.APPLICATIONS_AT_BOB),
    }


def _part(home: LinkHome, block_id: str, purpose: Purpose) -> tuple[DeliveredKey, DeliveredKey]:
    link, session, number = block_id.split("/")
    found = []
    for node in (ALICE, BOB):
        with closing(KeyStore.of(home.node(node))) as store:
            material = store.deliver(BlockId(link, session, int(number)), purpose)
        if material is None or len(material) < KEY_BYTES:
            raise LinkError(f"{node} has no {KEY_BYTES} bytes of block {block_id} for its application")
        found.append(DeliveredKey(f"{block_id} {purpose}", material[:KEY_BYTES]))
    return found[0], found[1]


def combined_is_safe_while_either_holds(folder: Path) -> dict[str, bool]:
    """Whether traffic under QKD and ML-KEM together opens with none, either and both of them broken."""
    later = _Later.of(folder, Hand.GENEROUS)
    verdicts = _verdicts(_judged_blocks(later, _connections(folder / _WIRES)))
    cases = {
        "none": (),
        "ml-kem": (Primitive.ML_KEM,),
        "qkd": (Primitive.QKD,),
        "both": (Primitive.QKD, Primitive.ML_KEM),
    }
    return {
        name: _user_traffic(replace(later, also=frozenset(also)), KeySource.QKD_AND_ML_KEM, verdicts)[
            "opened"
        ]
        for name, also in cases.items()
    }
