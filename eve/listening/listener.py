"""Eve listens while the link runs: every conversation that passes through her hands, as far as she has its secrets.

She reads, and never says or alters a word. What a block's announcements make of her notes is an account (`EveLearnt`),
told when its conversation ends; whether the keys that she came to are the nodes' own is for the launcher to say, who
alone is told a fingerprint of each.
"""

import asyncio
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from qkdlink.common.distillation.leftover_hash import min_entropy_suffices
from qkdlink.common.distillation.stages import SecretKey
from qkdlink.common.distillation.verification import verification_tag_bits
from qkdlink.common.errors import ConfigurationError
from qkdlink.common.journal.event import Event
from qkdlink.common.journal.events import EveLearnt
from qkdlink.common.keys.identifiers import BlockId
from qkdlink.common.node.launcher_pipe import LauncherPipe
from qkdlink.common.optics.records import Gates
from qkdlink.common.optics.states import Basis
from qkdlink.common.protocol.parameters import LinkParameters
from qkdlink.common.wire.framing import LINK_BLOCK, Envelope
from qkdlink.common.wire.messages import OpenBlock
from qkdlink.eve.click_memory import Published
from qkdlink.eve.listening.blocks import OverheardBlock
from qkdlink.eve.listening.hellos import NotUnderstood
from qkdlink.eve.listening.recovery import recover
from qkdlink.eve.listening.tls import Secrets
from qkdlink.eve.listening.words import OverheardLine
from qkdlink.eve.notebook import Bases, Knowledge
from qkdlink.eve.relay import Way

type Known = Callable[[str, int, Gates, Bases], Knowledge]
"""(session, block, gates, their bases) -> what her notes say of these bits, now that the bases are told."""

type KnownOfKey = Callable[[str, int, Published], Knowledge]
"""(session, block, what is published about its clicks) -> what her notes say of its sifted key."""

type Noted = Callable[[str, int], None]
"""(session, block): it was opened, or it has ended."""

_BODY_BYTES_PER_PULSE = 2
_SMALLEST_BODY_LIMIT = 1 << 20
"""As the nodes bound each other's messages (`qkdlink.common.node.station`)."""


def longest_body(parameters: LinkParameters) -> int:
    """Return how many bytes the attachments of a message may have."""
    return max(_SMALLEST_BODY_LIMIT, _BODY_BYTES_PER_PULSE * parameters.block_pulses)


@dataclass(frozen=True, slots=True)
class Account:
    """What came of a block."""

    block: BlockId
    overheard: OverheardBlock
    learnt: EveLearnt | None
    """None if it ended before there was a sifted key."""
    key: SecretKey | None = field(repr=False)
    """The key that she has come to."""


class Overhearing:
    """All lines and all blocks; without a clock, a socket or a thread."""

    def __init__(
        self,
        link: str,
        parameters: LinkParameters,
        secrets: Secrets,
        known: Known,
        known_of_key: KnownOfKey | None = None,
        opened: Noted = lambda _, __: None,
        ended: Noted = lambda _, __: None,
    ) -> None:
        """Follow a link; `known_of_key` takes account of the errors that Bob's questions tell of.

        `opened` is called for each block that Alice announces, `ended` once it is accounted for.
        """
        self._opened, self._ended = opened, ended
        self._link = link
        self._parameters = parameters
        self._secrets = secrets
        self._known = known
        self._known_of_key = known_of_key if parameters.detector.afterpulse_probability else None
        self._lines: dict[int, OverheardLine] = {}
        self._blocks: dict[BlockId, tuple[int, OverheardBlock]] = {}

    def hear(self, connection: int, way: Way, data: bytes) -> list[Account]:
        """Take bytes of a connection as they passed; NotUnderstood if they are none of a link's."""
        line = self._lines.get(connection)
        if line is None:
            limit = longest_body(self._parameters)
            line = self._lines[connection] = OverheardLine.begin(self._secrets, limit)
        told: list[Account] = []
        for speaking_to, envelope in line.feed(way, data):
            if envelope.block != LINK_BLOCK:
                told += self._follow(connection, speaking_to, envelope)
        return told

    def line(self, connection: int) -> OverheardLine | None:
        """Return a connection on which something has passed, until it is closed."""
        return self._lines.get(connection)

    def closed(self, connection: int) -> list[Account]:
        """A connection is gone, and every block that still lived on it."""
        self._lines.pop(connection, None)
        left = [block for block, (where, _) in self._blocks.items() if where == connection]
        return [self._account(block) for block in left]

    def all_closed(self) -> list[Account]:
        """Everything has ended."""
        return [told for connection in tuple(self._lines) for told in self.closed(connection)]

    def _follow(self, connection: int, way: Way, envelope: Envelope) -> list[Account]:
        block = BlockId(self._link, envelope.session, envelope.block)
        if isinstance(envelope.message, OpenBlock) and block not in self._blocks:
            self._blocks[block] = connection, OverheardBlock(self._parameters.block_pulses)
            self._opened(block.session, block.number)
        if block not in self._blocks:
            return []  # a tag under what ended it
        _, overheard = self._blocks[block]
        overheard.hear(way, envelope.message)
        return [self._account(block)] if overheard.ended else []

    def _account(self, block: BlockId) -> Account:
        _, overheard = self._blocks.pop(block)
        try:
            return self._accounted(block, overheard)
        finally:
            self._ended(block.session, block.number)

    def _accounted(self, block: BlockId, overheard: OverheardBlock) -> Account:
        if overheard.key_gates is None:
            return Account(block, overheard, None, None)
        known = self._knowledge(block, overheard, overheard.key_gates)
        key = recover(overheard, known, self._parameters.eps_cor) if overheard.has_key else None
        told = learnt(block, overheard, known, self._parameters, recovered=key is not None)
        return Account(block, overheard, told, key)

    def _knowledge(self, block: BlockId, overheard: OverheardBlock, gates: Gates) -> Knowledge:
        published = overheard.published() if self._known_of_key is not None else None
        if self._known_of_key is None or published is None:
            return self._known(block.session, block.number, gates, np.full(len(gates), Basis.KEY, np.uint8))
        return self._known_of_key(block.session, block.number, published)


def learnt(
    block: BlockId,
    overheard: OverheardBlock,
    known: Knowledge,
    parameters: LinkParameters,
    *,
    recovered: bool,
) -> EveLearnt:
    """Account for a sifted block."""
    length = overheard.sifted_bits
    amplified = overheard.amplified if overheard.has_key else None
    tag_bits = verification_tag_bits(length, parameters.eps_cor) if overheard.shown else 0
    disclosed, entropy = overheard.disclosed_parities + tag_bits, known.min_entropy_bits
    undetermined = None
    if amplified is not None:
        undetermined = min_entropy_suffices(entropy, disclosed, amplified.secret_bits, parameters.eps_sec)
    return EveLearnt(
        block_id=str(block),
        number=block.number,
        sifted_bits=length,
        known_fraction_of_sifted=known.known_fraction,
        guess_probability=known.guess_probability,
        information_bits=known.information * length,
        min_entropy_bits=entropy,
        disclosed_bits=disclosed,
        removed_bits=0 if amplified is None else length - amplified.secret_bits,
        secret_bits=0 if amplified is None else amplified.secret_bits,
        key_recovered=recovered,
        key_undetermined=undetermined,
    )


@dataclass(slots=True)
class Listener:
    """Overhears beside the event loop, in the order in which everything passed."""

    overhearing: Overhearing
    tell: Callable[[Event], None]
    pipe: LauncherPipe
    _passed: deque[tuple[int, Way, bytes] | int] = field(default_factory=deque, repr=False)
    """Bytes of a connection, or the number of one that was closed."""
    _something: asyncio.Event = field(default_factory=asyncio.Event)
    _lost: set[int] = field(default_factory=set)
    """Connections that she does not understand."""

    def passed(self, connection: int, way: Way, data: bytes) -> None:
        """Note bytes that pass; to be read later (`qkdlink.eve.relay.Watch`)."""
        self._passed.append((connection, way, data))
        self._something.set()

    def closed(self, connection: int) -> None:
        """Note that a connection is gone."""
        self._passed.append(connection)
        self._something.set()

    async def run(self) -> None:
        """Read for as long as she lives; `finish` reads what is left."""
        while True:
            await self._something.wait()
            self._something.clear()
            while self._passed:
                # what a thread has begun to read is read to its end, so that `finish` goes on where it stopped
                reading = asyncio.ensure_future(asyncio.to_thread(self._read, self._passed.popleft()))
                try:
                    told = await asyncio.shield(reading)
                except asyncio.CancelledError:
                    self._report(await reading)
                    raise
                self._report(told)

    def finish(self) -> None:
        """Read what is left, and account for every block that has not ended."""
        while self._passed:
            self._report(self._read(self._passed.popleft()))
        self._report(self.overhearing.all_closed())

    def _read(self, passed: tuple[int, Way, bytes] | int) -> list[Account]:
        if isinstance(passed, int):
            self._lost.discard(passed)
            return self.overhearing.closed(passed)
        connection, way, data = passed
        if connection in self._lost:
            return []
        try:
            return self.overhearing.hear(connection, way, data)
        except (NotUnderstood, ConfigurationError) as error:
            self._lost.add(connection)
            print(f"eve: connection {connection} cannot be followed: {error}", file=sys.stderr, flush=True)  # noqa: T201
            return self.overhearing.closed(connection)

    def _report(self, told: list[Account]) -> None:
        for each in told:
            self.pipe.settle(each.key)
            if each.learnt is not None:
                self.tell(each.learnt)
