"""Record now, decrypt later: what Eve's recording of every wire is worth to her when time has given her more.

What time gives is a hand. *quantum*: the TLS key logs of handshakes that rest on certificates, and discrete logarithms
of public keys: a quantum computer's work. It does not open a line that rests on a link PSK, because in psk_dhe_ke the
traffic keys need the PSK and Diffie-Hellman. *generous*: the key logs of every session. ML-KEM resists both, by
assumption. `also` supposes in addition that something named is broken.

For each block that she can read then, the rank check of `qkdlink.lab.light.undetermined` says whether the key is
undetermined for her, and not what was hoped.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from qkdlink.common.distillation.universal_hash import toeplitz_seed_bits
from qkdlink.common.distillation.verification import verification_tag_bits
from qkdlink.common.errors import LinkError
from qkdlink.common.protocol.parameters import LinkParameters
from qkdlink.eve.listening.key_log import Label
from qkdlink.eve.listening.listener import Account, Overhearing
from qkdlink.eve.listening.tls import OverheardTls, Proof
from qkdlink.eve.notebook import BlockNotes
from qkdlink.lab.light.undetermined import Disclosed, Undetermined, undetermined
from qkdlink.lab.recordings.recording import Recording
from qkdlink.lab.recordings.traffic_later import user_traffic
from qkdlink.lab.traffic.key_exchanges import KeySource, Primitive


class Hand(StrEnum):
    """What time gives to Eve."""

    QUANTUM = "quantum"
    GENEROUS = "generous"


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

    recording: Recording
    hand: Hand
    also: frozenset[Primitive] = frozenset()

    @property
    def broken(self) -> frozenset[Primitive]:
        """What user keys may rest on and is worth nothing any more."""
        return self.also | {Primitive.ECDH}


def decrypt_later(folder: Path, hand: Hand, also: Collection[Primitive] = ()) -> dict[str, Any]:
    """Open what a hand opens of a recording that `qkdlink.lab.recordings.recording` has made, and account for every
    byte.

    Returns `link` (each connection with its bytes and by what it was opened), `blocks` (each that could be read, and
    whether its key is undetermined) and `user_traffic` (by the source of its key). ConfigurationError if the folder
    holds no such recording.
    """
    later = _Later(Recording.of(folder), hand, frozenset(also))
    connections = _connections(later.recording)
    blocks = _judged_blocks(later, connections)
    verdicts = _verdicts(blocks)
    return {
        "hand": str(hand),
        "also_broken": sorted(later.also),
        "light": {"bytes": later.recording.light_bytes(), "opened_bytes": 0, "opened_by": None},
        "link": [_told(number, each) for number, each in sorted(connections.items())],
        "blocks": blocks,
        "user_traffic": {
            str(source): user_traffic(later.recording, source, later.broken, verdicts) for source in KeySource
        },
    }


def blocks_read(folder: Path, hand: Hand) -> list[Account]:
    """Return every block of a recording whose words a hand opens; ConfigurationError as of `decrypt_later`."""
    recording = Recording.of(folder)
    return _opened(_Later(recording, hand), _connections(recording))


def _connections(recording: Recording) -> dict[int, _Connection]:
    """Read the hellos of every connection on which anything was said; they are in clear."""
    found: dict[int, _Connection] = {}
    for passed in filter(lambda passed: passed.data, recording.words()):
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
        return later.recording.key_log.secret(label, client_random) if client_random in open_to_her else None

    # light that is copied under its seal is not kept: she has no notes
    overhearing = Overhearing(
        later.recording.link.link,
        later.recording.link.parameters,
        secret,
        lambda _, __, gates, bases: BlockNotes().known(gates, bases),
    )
    told = []
    for passed in later.recording.words():
        if passed.data:
            told += overhearing.hear(passed.connection, passed.way, passed.data)
            line = overhearing.line(passed.connection)
            if line is not None:
                connections[passed.connection].opened_bytes = line.tls.opened_bytes
        else:
            told += overhearing.closed(passed.connection)
    return told + overhearing.all_closed()


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
    check = rank_check(account, later.recording.link.parameters)
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


def _no_secret(label: Label, client_random: bytes) -> None:
    del label, client_random


def combined_is_safe_while_either_holds(folder: Path) -> dict[str, bool]:
    """Whether traffic under QKD and ML-KEM together opens with none, either and both of them broken."""
    later = _Later(Recording.of(folder), Hand.GENEROUS)
    verdicts = _verdicts(_judged_blocks(later, _connections(later.recording)))
    cases = {
        "none": (),
        "ml-kem": (Primitive.ML_KEM,),
        "qkd": (Primitive.QKD,),
        "both": (Primitive.QKD, Primitive.ML_KEM),
    }
    return {
        name: user_traffic(later.recording, KeySource.QKD_AND_ML_KEM, {*later.broken, *also}, verdicts)[
            "opened"
        ]
        for name, also in cases.items()
    }
