"""Bob's side of a meeting: he listens, answers, and refuses a peer that names other parameters."""

from qkdlink.common.errors import DisagreementError, OutdatedStoreError
from qkdlink.common.keys.identifiers import session_id
from qkdlink.common.printable import printable
from qkdlink.common.protocol.conversation import Conversation
from qkdlink.common.protocol.greeting import (
    Acquaintance,
    Introduction,
    PendingBlocks,
    check_agreement,
    check_answers_only,
    check_claims_only,
    hello,
    holdings,
)
from qkdlink.common.protocol.high_water import Marks
from qkdlink.common.wire.messages import LONGEST_SENTENCE, Goodbye, Hello, Holdings


async def greet(conversation: Conversation, ours: Introduction, pending: PendingBlocks) -> Acquaintance:
    """Meet Alice; DisagreementError, told to her too, unless every parameter is the same on both sides."""
    theirs = await conversation.expect(Hello)
    try:
        check_agreement(ours, theirs)
    except DisagreementError as error:
        await conversation.say(Goodbye(reason=printable(str(error), LONGEST_SENTENCE)))
        raise
    await conversation.say(hello(ours))
    session, before = session_id(ours.link, theirs.nonce, ours.nonce), len(conversation.transcript)
    claimed = await conversation.expect(Holdings)
    check_claims_only(claimed)
    stated = Marks.of(claimed)
    try:
        pending.check_marks(stated, ours.node, ours.peer)
    except OutdatedStoreError:
        await conversation.say(holdings(pending.marks()))  # from which Alice sees the same
        raise
    have, never = await pending.answer(claimed.pending, session)
    claims = await pending.claims(session)
    await conversation.say(holdings(pending.marks(), pending=claims, have=have, never=never))
    answered = await conversation.expect(Holdings)
    check_answers_only(answered)
    await pending.settle(answered, session)
    most_blocks = min(ours.most_blocks, theirs.most_blocks)
    return Acquaintance(session, most_blocks, stated.highest_block, conversation.transcript.since(before))
