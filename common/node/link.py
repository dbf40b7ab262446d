"""A link on one connection: run blocks on it until the connection ends."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from qkdlink.common.authentication.scheme import Authentication, CheckpointScheme
from qkdlink.common.authentication.wegman_carter import WegmanCarter
from qkdlink.common.distillation.stages import SecretKey
from qkdlink.common.errors import CredentialsError, LinkError, RemoteProtocolError, StarvationError
from qkdlink.common.journal.event import Event
from qkdlink.common.keys.identifiers import BlockId
from qkdlink.common.node.meeting import Meeting
from qkdlink.common.node.recorder import block_record, recorded_trust
from qkdlink.common.node.settling_scheme import SettlingScheme
from qkdlink.common.node.timed_scheme import TimedScheme
from qkdlink.common.node.vault import Vault
from qkdlink.common.printable import printable
from qkdlink.common.protocol.aborts import Aborted, AbortReason
from qkdlink.common.protocol.account import Account, Said
from qkdlink.common.protocol.block import Block
from qkdlink.common.protocol.conversation import BlockConversation, Conversation, Place
from qkdlink.common.protocol.economy import Economy
from qkdlink.common.protocol.greeting import Acquaintance
from qkdlink.common.protocol.parameters import LinkParameters
from qkdlink.common.protocol.pinning import Pinning
from qkdlink.common.protocol.rekeying import BootstrapKeys
from qkdlink.common.protocol.roles import Role
from qkdlink.common.randomness import Randomness
from qkdlink.common.transport.channel import ClassicalChannel
from qkdlink.common.wire.messages import LONGEST_SENTENCE, Goodbye

type Distil = Callable[["LinkDeposit", Block], Awaitable[SecretKey | Aborted]]
type StillTrusted = Callable[[], Awaitable[None]]
"""Raises CredentialsError once the trust anchor would not open the connection any more."""


@dataclass(frozen=True, slots=True)
class Party:
    """Who this node is on its link, and what it works with."""

    role: Role
    link: str
    node: str
    peer: str
    parameters: LinkParameters
    randomness: Randomness
    vault: Vault
    tell: Callable[[Event], None]
    economy: Economy
    pinning: Callable[[], Pinning]
    """What a block shows while the bootstrap authenticates it."""


@dataclass(frozen=True, slots=True)
class LinkDeposit:
    """Where the key of a block goes, and with it what the peer has shown in this block."""

    vault: Vault
    pinning: Pinning
    bootstrap: BootstrapKeys | None = None
    """How many keys the trust anchor may still authenticate; None on a connection that a key authenticates."""

    async def hold(self, block: BlockId, key: SecretKey, leaked_bits: int) -> None:
        """Keep the key as pending; it is durable when this returns. RemoteProtocolError if it is one too many."""
        if self.bootstrap is not None:
            self.bootstrap.take(self.vault.link_psks(live_too=True))
        await self.vault.hold(block, key, leaked_bits, self.pinning.theirs)

    async def release(self, block: BlockId) -> None:
        """The peer has confirmed: the key is available from now on."""
        await self.vault.release(block)


class Link:
    """An established link: both sides have greeted each other and agree on every parameter."""

    def __init__(
        self,
        party: Party,
        channel: ClassicalChannel,
        conversation: Conversation,
        met: Acquaintance,
        authentication: Authentication,
        epoch: int,
        meeting: Meeting,
        still_trusted: StillTrusted | None = None,
    ) -> None:
        self.party = party
        self.session = met.session
        self.epoch = epoch
        """The number of the block whose key authenticates the connection; 0 with the trust anchor."""
        self.most_blocks = met.most_blocks
        """How many blocks Alice may have open here at a time."""
        before = () if still_trusted is None else party.vault.link_psks(live_too=True)
        self._bootstrap = None if still_trusted is None else BootstrapKeys(frozenset(before))
        self._still_trusted = still_trusted
        self._channel = channel
        self._conversation = conversation
        self._authentication = authentication
        self._meeting = meeting
        self.peers_highest_block = met.peers_highest_block
        self._holdings = met.holdings

    async def say_goodbye(self, reason: str) -> None:
        """Tell the peer that no further block will be opened here."""
        await self._conversation.say(Goodbye(reason=printable(reason, LONGEST_SENTENCE)))

    async def hear_goodbye(self) -> str:
        """Wait for the peer's goodbye and return its reason."""
        return (await self._conversation.expect(Goodbye)).reason

    @property
    def pays_for_tags(self) -> bool:
        """Whether every block here costs generated key."""
        return isinstance(self._authentication, WegmanCarter)

    async def run_block(self, number: int, distil: Distil) -> SecretKey | Aborted:
        """Live one block from its first message to its account; LinkError or RemoteProtocolError end the link."""
        await self._check_bootstrap(number)
        began, started = time.time(), time.monotonic()
        scheme = TimedScheme(SettlingScheme(self._authentication.of_block(number), self._on_authenticated))
        block = self._block(number, scheme)
        self.party.vault.open(block.id)
        outcome: SecretKey | Aborted = Aborted(AbortReason.STOPPED, "the node was stopped", by_peer=False)
        try:
            outcome = await distil(LinkDeposit(self.party.vault, block.pinning, self._bootstrap), block)
            return outcome  # noqa: TRY300 - the account is written on every way out
        except (LinkError, RemoteProtocolError) as error:
            self._channel.end(error)
            outcome = _lost_with(error)
            raise
        except StarvationError as error:
            outcome = Aborted(AbortReason.STARVED, str(error), by_peer=False)
            raise
        except Exception as error:
            outcome = Aborted(AbortReason.FAULT, f"{type(error).__name__}: {error}", by_peer=False)
            raise
        except asyncio.CancelledError:
            if self._channel.ended is not None:  # another block has met the reason first
                outcome = _lost_with(self._channel.ended)
            raise
        finally:
            self._channel.close_line(number)
            self._close(block, scheme, outcome, began, time.monotonic() - started)

    async def _on_authenticated(self) -> None:
        """Do as the peer answered at the meeting, now that a tag covers it which the link PSK alone cannot make."""
        if self._authentication.is_independent:
            await self._meeting.authenticated()

    async def _check_bootstrap(self, number: int) -> None:
        """Before each block that the anchor authenticates: is it trusted still, and may there be a further key?"""
        if self._still_trusted is None or self._bootstrap is None:
            return
        try:
            self._bootstrap.check(self.party.vault.link_psks(live_too=True))
            await self._still_trusted()
        except CredentialsError as refusal:
            raise self._channel.end(LinkError(f"Block {number} does not begin: {refusal}.")) from refusal
        except RemoteProtocolError as breach:
            self._channel.end(breach)
            raise

    def _close(
        self, block: Block, scheme: TimedScheme, outcome: SecretKey | Aborted, began: float, seconds: float
    ) -> None:
        """Write account and record; what the store says of the block counts, whatever became of the conversation."""
        stored = self.party.vault.close(block.id)
        told = outcome.secret_bits if isinstance(outcome, SecretKey) else outcome
        result = told if stored is None else stored
        said = Said(block.conversation.bytes_said, block.conversation.checkpoint_bytes, scheme.seconds)
        self.party.tell(block.account.close(block.id, result, scheme.name, seconds, said))
        trust = recorded_trust(block, self.party.vault, self.epoch, scheme.name)
        self.party.tell(block_record(block, result, began, began + seconds, trust))
        if (levels := self.party.vault.changed_levels()) is not None:
            self.party.tell(levels)

    def _block(self, number: int, scheme: CheckpointScheme) -> Block:
        party = self.party
        place = Place(party.link, self.session, number, self._holdings)
        return Block(
            id=BlockId(party.link, self.session, number),
            parameters=party.parameters,
            conversation=BlockConversation(party.role, place, self._channel.line(number), scheme),
            randomness=party.randomness,
            compute=asyncio.to_thread,
            tell=party.tell,
            account=Account(),
            economy=party.economy,
            pinning=party.pinning() if self.epoch == 0 else Pinning(),
        )


def _lost_with(error: LinkError | RemoteProtocolError) -> Aborted:
    broken = isinstance(error, RemoteProtocolError)
    reason = AbortReason.PROTOCOL_BROKEN if broken else AbortReason.CONNECTION_LOST
    return Aborted(reason, str(error), by_peer=False)
