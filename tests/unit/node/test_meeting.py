"""Pending blocks at a meeting: the peer decides about what was named there, and about nothing of somebody else's."""

from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any, cast

import pytest

from qkdlink.bob.greeting import greet
from qkdlink.common.authentication.transcript import Transcript
from qkdlink.common.errors import RemoteProtocolError
from qkdlink.common.keys.identifiers import BlockId
from qkdlink.common.node.meeting import Meeting
from qkdlink.common.node.vault import Vault
from qkdlink.common.protocol.greeting import Introduction, hello, holdings
from qkdlink.common.protocol.high_water import Marks
from qkdlink.common.protocol.resumption import (
    MOST_PENDING,
    ProvenBlock,
    Statement,
    decode_proven,
    encode_blocks,
    encode_proven,
    prove,
)
from qkdlink.common.protocol.roles import Role
from qkdlink.common.store.schema import State
from qkdlink.common.wire.messages import Holdings, Message
from tests.support.pair import small_block
from tests.support.stores import LINK, block, open_store, secret
from tests.support.vaults import Side, contact

NO_MARKS = Marks(0, 0, 0, 0)
MEETING = "a5" * 16
"""The session of the meeting."""


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Vault]:
    with closing(open_store(tmp_path / "alice")) as store:
        yield Vault(store, LINK, Role.ALICE, lambda *_, **__: None)


def keep(vault: Vault, number: int) -> BlockId:
    """Hold a block as pending."""
    vault.store.hold(block(number), secret(number), 100, tags=True)
    return block(number)


def answered(*, have: bytes = b"", never: tuple[BlockId, ...] = ()) -> Holdings:
    return holdings(NO_MARKS, have=have, never=encode_blocks(never))


def proof(vault: Vault, one: BlockId, statement: Statement = Statement.CLAIM) -> bytes:
    """What a peer says who holds the block too."""
    key = vault.store.proof_key(one)
    assert key is not None
    return encode_proven([prove(statement, one, key, MEETING, vault.role.peer)])


async def test_what_was_named_is_settled_as_the_peer_answers(vault: Vault) -> None:
    one, two, three = (keep(vault, number) for number in (1, 2, 3))
    meeting = Meeting(vault)
    assert len(await meeting.claims(MEETING)) == 3 * 56
    await meeting.settle(answered(have=proof(vault, one, Statement.HAVE), never=(two,)), MEETING)
    states = [vault.store.state(each) for each in (one, two, three)]
    assert states == [State.AVAILABLE, State.PENDING, State.PENDING], "a denial waits for a tag"
    await meeting.authenticated()
    states = [vault.store.state(each) for each in (one, two, three)]
    assert states == [State.AVAILABLE, State.DISCARDED, State.PENDING]


async def test_what_the_peer_has_denied_is_claimed_after_everything_else(vault: Vault) -> None:
    """Where no tag is independent of the link PSK, denied blocks stay: they must not crowd out the others."""
    ours = [keep(vault, number) for number in range(1, MOST_PENDING + 2)]
    meeting = Meeting(vault)
    named = [each.block for each in decode_proven(await meeting.claims(MEETING), LINK)]
    assert named == ours[:MOST_PENDING]
    await meeting.settle(answered(never=tuple(named)), MEETING)
    again = decode_proven(await Meeting(vault).claims(MEETING), LINK)
    assert [each.block for each in again] == [ours[-1], *ours[: MOST_PENDING - 1]]


async def test_a_block_that_was_not_named_at_this_meeting_is_not_settled_by_it(vault: Vault) -> None:
    one = keep(vault, 1)
    vault.open(block(2))
    meeting = Meeting(vault)
    await meeting.claims(MEETING)
    two = keep(vault, 2)
    vault.close(two)  # it has become pending while the peer was answering
    await Meeting(vault).claims(MEETING)
    for answer in (answered(have=proof(vault, two, Statement.HAVE)), answered(never=(two,))):
        await meeting.settle(answer, MEETING)
        await meeting.authenticated()
        assert vault.store.state(two) is State.PENDING
    await meeting.settle(answered(never=(one,)), MEETING)
    await meeting.authenticated()
    assert vault.store.state(one) is State.DISCARDED


async def test_nobody_names_answers_and_settles_no_block_that_was_made_with_somebody(vault: Vault) -> None:
    authenticated = keep(vault, 1)
    vault.store.mark_unauthenticated()
    nobodys = keep(vault, 2)
    meeting = Meeting(vault, authenticated_peer=False)
    assert len(await meeting.claims(MEETING)) == 56
    assert await meeting.answer(proof(vault, authenticated), MEETING) == (b"", b"")
    for answer in (
        answered(have=proof(vault, authenticated, Statement.HAVE)),
        answered(never=(authenticated,)),
    ):
        await meeting.settle(answer, MEETING)
        await meeting.authenticated()
        assert vault.store.state(authenticated) is State.PENDING
    for one, known in ((nobodys, False), (authenticated, True)):
        have, never = await Meeting(vault, authenticated_peer=known).answer(proof(vault, one), MEETING)
        (named,) = decode_proven(have, LINK)
        assert (named.block, never) == (one, b"")


class Liar:
    """A thief of the link PSK: it holds no block, hears the claims of the honest side, and answers as it likes."""

    def marks(self) -> Marks:
        return Marks(highest_block=1, heard_block=0, units_taken=0, units_heard=0)

    def check_marks(self, theirs: Marks, node: str, peer: str) -> None:
        del theirs, node, peer

    def __init__(self, have: Callable[[ProvenBlock], ProvenBlock | None]) -> None:
        self.have = have

    async def claims(self, session: str) -> bytes:
        del session
        return encode_proven([ProvenBlock(block(1), bytes(32))])

    async def answer(self, claims: bytes, session: str) -> tuple[bytes, bytes]:
        del session
        heard = decode_proven(claims, LINK)
        have = [answer for claim in heard if (answer := self.have(claim)) is not None]
        answered = {answer.block for answer in have}
        return encode_proven(have), encode_blocks(
            claim.block for claim in heard if claim.block not in answered
        )

    async def settle(self, answered: Holdings, session: str) -> None:
        del answered, session


LIES: dict[str, Callable[[ProvenBlock], ProvenBlock | None]] = {
    "it never had the block": lambda _: None,
    "it has the block, without a proof": lambda claim: ProvenBlock(claim.block, bytes(32)),
    "it has the block, and sends the claim back": lambda claim: claim,
}


@pytest.mark.parametrize("honest", Role, ids=lambda role: role.label)
@pytest.mark.parametrize("lie", LIES)
async def test_a_thief_of_the_link_psk_settles_nothing(tmp_path: Path, honest: Role, lie: str) -> None:
    sides = {role: Side(role, tmp_path) for role in Role}
    one = keep(sides[honest].vault, 1)
    met = await contact(sides, liar=(honest.peer, Liar(LIES[lie])), tags_heard_by=())
    assert None not in met.met.values()
    assert sides[honest].states() == {one: State.PENDING}
    for side in sides.values():
        side.vault.store.close()


NAMED, NAMED_PROVEN = encode_blocks([block(1)]), ProvenBlock(block(1), bytes(32)).encode()


def introduction(node: str, peer: str) -> Introduction:
    return Introduction(LINK, node, peer, "pki", "wegman-carter", small_block(), "ab" * 16, 8)


class Scripted:
    """A conversation in which Alice introduces herself, and says these lists in her first and last `holdings`."""

    def __init__(self, first: dict[str, bytes], last: dict[str, bytes]) -> None:
        self.transcript = Transcript(b"")
        lists = (holdings(NO_MARKS, **said) for said in (first, last))
        self._due: Iterator[Message] = iter((hello(introduction("alice", "bob")), *lists))

    async def expect(self, _: type[Message]) -> Message:
        return next(self._due)

    async def say(self, message: Message) -> None:
        del message


@pytest.mark.parametrize(
    ("first", "last", "refusal"),
    [
        ({"have": NAMED_PROVEN}, {}, "first holdings answer claims"),
        ({"never": NAMED}, {}, "first holdings answer claims"),
        ({}, {"pending": NAMED_PROVEN}, "last holdings claim blocks"),
    ],
)
async def test_alice_claims_first_and_answers_last(
    vault: Vault, first: dict[str, bytes], last: dict[str, bytes], refusal: str
) -> None:
    for said, refused in ((({}, {}), False), ((first, last), True)):
        with pytest.raises(RemoteProtocolError, match=refusal) if refused else nullcontext():
            await greet(cast("Any", Scripted(*said)), introduction("bob", "alice"), Meeting(vault))
