"""Two vaults that meet: the real greetings over lines that may be cut, and stores whose process may die."""

import asyncio
import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from qkdlink.alice.greeting import greet as greet_bob
from qkdlink.bob.greeting import greet as greet_alice
from qkdlink.common.errors import LinkError, OutdatedStoreError
from qkdlink.common.keys.identifiers import BlockId
from qkdlink.common.node.meeting import Meeting
from qkdlink.common.node.vault import Vault
from qkdlink.common.protocol.greeting import Acquaintance, Introduction, PendingBlocks, link_conversation
from qkdlink.common.protocol.roles import Role
from qkdlink.common.store.schema import State
from tests.support.lines import MemoryLine, Room
from tests.support.pair import small_block
from tests.support.stores import ALICE_OWNER, LINK, open_store

NAMES = {Role.ALICE: "alice", Role.BOB: "bob"}
GREETING_MESSAGES = 5
_GREET = {Role.ALICE: greet_bob, Role.BOB: greet_alice}


class Died(BaseException):
    """The process of a node has ended here."""


@dataclass
class Side:
    """A node as far as its vault goes: it writes to its store, and may die before or after the n-th time."""

    role: Role
    folder: Path
    vault: Vault = field(init=False)
    settled: list[tuple[BlockId, bool]] = field(default_factory=list)
    writes_left: int | None = None
    dies_before_writing: bool = False

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Begin a new process on the store as it is."""
        store = open_store(self.folder / NAMES[self.role], replace(ALICE_OWNER, node=NAMES[self.role]))
        store._database.connection.execute("PRAGMA synchronous = OFF")  # durability has tests of its own
        for name in ("hold", "release", "discard", "begin_epoch"):
            setattr(store, name, self._mortal(getattr(store, name)))
        self.vault = Vault(store, LINK, self.role, self._on_settled)
        self.writes_left = None

    def restart(self) -> None:
        """Die, if it has not happened, and begin anew."""
        self.vault.store.close()
        self.start()

    def states(self) -> dict[BlockId, State]:
        """What became of every block that was ever here."""
        found = self.vault.store._database.connection.execute(
            "SELECT session, number, state FROM blocks"
        ).fetchall()
        return {BlockId(LINK, session, number): State(state) for session, number, state in found}

    def _on_settled(self, block: BlockId, key: object, /, *, available: bool, late: bool) -> None:
        del key, late
        self.settled.append((block, available))

    def _mortal[**P, R](self, write: Callable[P, R]) -> Callable[P, R]:
        def written(*args: P.args, **kwargs: P.kwargs) -> R:
            if self.writes_left is None:
                return write(*args, **kwargs)
            self.writes_left -= 1
            if self.writes_left == 0 and self.dies_before_writing:
                raise Died
            result = write(*args, **kwargs)
            if self.writes_left == 0:
                raise Died
            return result

        return written


@dataclass(frozen=True, slots=True)
class Contact:
    """What came of a contact on each side: whether it knows that both directions were heard, and who died."""

    met: dict[Role, Acquaintance | None]
    died: set[Role]
    refused: dict[Role, str] = field(default_factory=dict)
    """Where a side has refused the contact because of a store that was put back: its words."""


async def contact(
    sides: dict[Role, Side],
    key: BlockId | None = None,
    *,
    delivered: int = GREETING_MESSAGES,
    tags_heard_by: Collection[Role] = tuple(Role),
    liar: tuple[Role, PendingBlocks] | None = None,
) -> Contact:
    """Let both meet as stations do; after so many messages the line is cut. With a key an epoch begins.

    Where both have met, a first checkpoint reaches those in `tags_heard_by`. A `liar` says what it likes.
    """
    room, said = Room(NAMES.values()), 0
    lines: dict[Role, MemoryLine] = {}

    def carry(to: Role) -> Callable[[bytes], None]:
        def deliver(frame: bytes) -> None:
            nonlocal said
            said += 1
            if said <= delivered:
                lines[to].deliver(frame)

        return deliver

    lines |= {role: MemoryLine(room, NAMES[role], carry(role.peer)) for role in Role}
    met: dict[Role, Acquaintance | None] = dict.fromkeys(Role)
    died: set[Role] = set()
    refused: dict[Role, str] = {}
    meetings: dict[Role, Meeting] = {}

    async def live(role: Role) -> None:
        side = sides[role]
        try:
            conversation = link_conversation(role, LINK, lines[role])
            meeting = meetings[role] = Meeting(side.vault)
            pending = liar[1] if liar is not None and role is liar[0] else meeting
            acquaintance = await _GREET[role](conversation, _introduction(side), pending)
            if key is not None:
                assert await side.vault.begin_epoch(key)
            met[role] = acquaintance
        except LinkError:
            pass
        except OutdatedStoreError as error:
            refused[role] = str(error)
        except Died:
            died.add(role)
        finally:
            room.leave(NAMES[role])

    async with asyncio.timeout(10):
        await asyncio.gather(*(live(role) for role in Role))
        if None not in met.values():
            died |= await _hear_tags({role: meetings[role] for role in tags_heard_by})
    return Contact(met, died, refused)


async def _hear_tags(meetings: Mapping[Role, Meeting]) -> set[Role]:
    """Let the peer's first checkpoint be right at these sides, and return who died of it."""
    died: set[Role] = set()
    for role, meeting in meetings.items():
        try:
            await meeting.authenticated()
        except Died:
            died.add(role)
    return died


def _introduction(side: Side) -> Introduction:
    return Introduction(
        link=LINK,
        node=NAMES[side.role],
        peer=NAMES[side.role.peer],
        anchor="pki",
        scheme=side.vault.scheme,
        parameters=small_block(),
        nonce=secrets.token_hex(16),
        most_blocks=8,
    )
