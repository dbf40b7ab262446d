"""Alice's side of a meeting: she dials, introduces herself, and has the first and the last word on pending blocks."""

from qkdlink.common.errors import DisagreementError, RemoteProtocolError
from qkdlink.common.keys.identifiers import session_id
from qkdlink.common.protocol.conversation import Conversation
from qkdlink.common.protocol.greeting import (
    Acquaintance,
    Introduction,
    PendingBlocks,
    check_agreement,
    hello,
    holdings,
)
from qkdlink.common.protocol.high_water import Marks, furthest
from qkdlink.common.wire.messages import Goodbye, Hello, Holdings


async def greet(conversation: Conversation, ours: Introduction, pending: PendingBlocks) -> Acquaintance:
    """Meet Bob; DisagreementError unless every parameter is the same on both sides."""
    await conversation.say(hello(ours))
    theirs = await conversation.expect_either(Hello, Goodbye)
    if isinstance(theirs, Goodbye):
        raise DisagreementError(f"{ours.peer} turned this node away: {theirs.reason}")
    check_agreement(ours, theirs)
    session, before = session_id(ours.link, ours.nonce, theirs.nonce), len(conversation.transcript)
    claims = await pending.claims(session)
    await conversation.say(holdings(pending.marks(), pending=claims))
    answered = await conversation.expect(Holdings)
    stated = Marks.of(answered)
    pending.check_marks(stated, ours.node, ours.peer)
    highest = furthest(pending.marks().highest_block)
    if stated.highest_block > highest:
        raise RemoteProtocolError(
            f"{ours.peer} states {stated.highest_block} as its highest block; {highest} is the highest allowed."
        )
    await pending.settle(answered, session)
    have, never = await pending.answer(answered.pending, session)
    await conversation.say(holdings(pending.marks(), have=have, never=never))
    most_blocks = min(ours.most_blocks, theirs.most_blocks)
    return Acquaintance(session, most_blocks, stated.highest_block, conversation.transcript.since(before))
