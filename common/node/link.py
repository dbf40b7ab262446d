"""A link on one connection: greet, agree on parameters, and run blocks on it until the connection ends."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from common.authentication.scheme import CheckpointScheme
from common.distillation.stages import SecretKey
from common.errors import ConfigurationError, LinkError, RemoteProtocolError
from common.journal.events import Event
from common.keys.identifiers import FIRST_SESSION, BlockId, session_id
from common.protocol.aborts import Aborted, AbortReason
from common.protocol.account import Account
from common.protocol.block import Block
from common.protocol.conversation import BlockConversation, Conversation, Place
from common.protocol.parameters import LinkParameters, differences
from common.protocol.phases import LINK_TABLE, LinkPhase
from common.protocol.roles import Role
from common.randomness import Randomness
from common.transport.channel import ClassicalChannel
from common.wire.framing import LINK_BLOCK
from common.wire.messages import PROTOCOL_VERSION, Goodbye, Hello

type Distil = Callable[[Block], Awaitable[SecretKey | Aborted]]
type Begin = Callable[[BlockId], None]
type Settle = Callable[[BlockId, SecretKey | None], None]


@dataclass(frozen=True, slots=True)
class Party:
    """Who this node is on its link, and what it works with."""

    role: Role
    link: str
    node: str
    peer: str
    parameters: LinkParameters
    randomness: Randomness
    tell: Callable[[Event], None]
    begin: Begin
    settle: Settle


class Link:
    """An established link: both sides have greeted each other and agree on every parameter."""

    def __init__(
        self,
        party: Party,
        channel: ClassicalChannel,
        conversation: Conversation,
        session: str,
        scheme: CheckpointScheme,
    ) -> None:
        self.party = party
        self.session = session
        self._channel = channel
        self._conversation = conversation
        self._scheme = scheme

    async def say_goodbye(self, reason: str) -> None:
        """Tell the peer that no further block will be opened here."""
        await self._conversation.say(Goodbye(reason=reason))

    async def hear_goodbye(self) -> str:
        """Wait for the peer's goodbye and return its reason."""
        return (await self._conversation.expect(Goodbye)).reason

    async def run_block(self, number: int, distil: Distil) -> None:
        """Live one block from its first message to its account; LinkError or RemoteProtocolError end the link."""
        started = time.monotonic()
        block = self._block(number)
        self.party.begin(block.id)
        outcome: SecretKey | Aborted = Aborted(AbortReason.STOPPED, "the node was stopped", by_peer=False)
        try:
            outcome = await distil(block)
        except (LinkError, RemoteProtocolError) as error:
            self._channel.end(error)
            outcome = _lost_with(error)
            raise
        except asyncio.CancelledError:
            if self._channel.ended is not None:  # another block has met the reason first
                outcome = _lost_with(self._channel.ended)
            raise
        finally:
            self._channel.close_line(number)
            self._settle(block, outcome, time.monotonic() - started)

    def _settle(self, block: Block, outcome: SecretKey | Aborted, seconds: float) -> None:
        key, result = (outcome, outcome.secret_bits) if isinstance(outcome, SecretKey) else (None, outcome)
        self.party.settle(block.id, key)
        self.party.tell(block.account.close(block.id, result, self._scheme.name, seconds))

    def _block(self, number: int) -> Block:
        party = self.party
        place = Place(party.link, self.session, number)
        return Block(
            id=BlockId(party.link, self.session, number),
            parameters=party.parameters,
            conversation=BlockConversation(party.role, place, self._channel.line(number), self._scheme),
            randomness=party.randomness,
            compute=asyncio.to_thread,
            tell=party.tell,
            account=Account(),
        )


def _lost_with(error: LinkError | RemoteProtocolError) -> Aborted:
    broken = isinstance(error, RemoteProtocolError)
    reason = AbortReason.PROTOCOL_BROKEN if broken else AbortReason.CONNECTION_LOST
    return Aborted(reason, str(error), by_peer=False)


async def greet(party: Party, channel: ClassicalChannel, scheme: CheckpointScheme) -> Link:
    """Exchange greetings; ConfigurationError, told to both sides, unless every parameter is the same."""
    place = Place(party.link, FIRST_SESSION, LINK_BLOCK)
    conversation = Conversation(party.role, LINK_TABLE, LinkPhase.CONNECTED, place, channel.line())
    nonce = secrets.token_hex(16)
    ours = Hello(
        protocol=PROTOCOL_VERSION,
        link=party.link,
        node=party.node,
        nonce=nonce,
        parameters=party.parameters.canonical(),
    )
    if party.role is Role.ALICE:
        await conversation.say(ours)
        theirs = await conversation.expect_either(Hello, Goodbye)
        if isinstance(theirs, Goodbye):
            raise ConfigurationError(f"{party.peer} turned this node away: {theirs.reason}")
        _agree(party, theirs)
        session = session_id(party.link, nonce, theirs.nonce)
    else:
        theirs = await conversation.expect(Hello)
        try:
            _agree(party, theirs)
        except ConfigurationError as error:
            await conversation.say(Goodbye(reason=str(error)[:500]))
            raise
        await conversation.say(ours)
        session = session_id(party.link, theirs.nonce, nonce)
    return Link(party, channel, conversation, session, scheme)


def _agree(party: Party, theirs: Hello) -> None:
    if theirs.protocol != PROTOCOL_VERSION:
        raise ConfigurationError(
            f"{party.peer} speaks {theirs.protocol}, {party.node} speaks {PROTOCOL_VERSION}: use the same version."
        )
    if (theirs.link, theirs.node) != (party.link, party.peer):
        raise ConfigurationError(
            f"{party.node} expects {party.peer} on link {party.link}, not {theirs.node} on link {theirs.link}."
        )
    differing = differences(party.parameters, theirs.parameters)
    if differing:
        raise ConfigurationError(
            f"The parameters of {party.node} and {party.peer} differ ({'; '.join(differing)}): make them the same."
        )
