"""Pending blocks at a meeting: the peer decides about what was named there, and about nothing of somebody else's."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from common.keys.identifiers import BlockId
from common.node.meeting import Meeting
from common.node.vault import Vault
from common.protocol.resumption import claim, encode_blocks, encode_claims
from common.protocol.roles import Role
from common.store.schema import State
from common.wire.messages import Holdings
from tests.support.stores import LINK, block, open_store, secret

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


def answered(*, have: tuple[BlockId, ...] = (), never: tuple[BlockId, ...] = ()) -> Holdings:
    return Holdings(pending=b"", have=encode_blocks(have), never=encode_blocks(never))


def proof(vault: Vault, one: BlockId) -> bytes:
    """What a peer says who holds the block too."""
    key = vault.store.proof_key(one)
    assert key is not None
    return encode_claims([claim(one, key, MEETING, vault.role.peer)])


async def test_what_was_named_is_settled_as_the_peer_answers(vault: Vault) -> None:
    one, two, three = (keep(vault, number) for number in (1, 2, 3))
    meeting = Meeting(vault)
    assert len(await meeting.claims(MEETING)) == 3 * 56
    await meeting.settle(answered(have=(one,), never=(two,)))
    states = [vault.store.state(each) for each in (one, two, three)]
    assert states == [State.AVAILABLE, State.DISCARDED, State.PENDING]


async def test_a_block_that_was_not_named_at_this_meeting_is_not_settled_by_it(vault: Vault) -> None:
    one = keep(vault, 1)
    vault.open(block(2))
    meeting = Meeting(vault)
    await meeting.claims(MEETING)
    two = keep(vault, 2)
    vault.close(two)  # it has become pending while the peer was answering
    await Meeting(vault).claims(MEETING)
    for answer in (answered(have=(two,)), answered(never=(two,))):
        await meeting.settle(answer)
        assert vault.store.state(two) is State.PENDING
    await meeting.settle(answered(never=(one,)))
    assert vault.store.state(one) is State.DISCARDED


async def test_nobody_names_answers_and_settles_no_block_that_was_made_with_somebody(vault: Vault) -> None:
    authenticated = keep(vault, 1)
    vault.store.mark_unauthenticated()
    nobodys = keep(vault, 2)
    meeting = Meeting(vault, authenticated=False)
    assert len(await meeting.claims(MEETING)) == 56
    assert await meeting.answer(proof(vault, authenticated), MEETING) == (b"", b"")
    for answer in (answered(have=(authenticated,)), answered(never=(authenticated,))):
        await meeting.settle(answer)
        assert vault.store.state(authenticated) is State.PENDING
    assert await meeting.answer(proof(vault, nobodys), MEETING) == (encode_blocks([nobodys]), b"")
    assert await Meeting(vault).answer(proof(vault, authenticated), MEETING) == (
        encode_blocks([authenticated]),
        b"",
    )
