"""What a stage needs to know of the block it works on: identity, parameters, conversation, randomness, computing."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NoReturn, Protocol

from qkdlink.common.distillation.monitors import Monitor
from qkdlink.common.errors import RemoteProtocolError
from qkdlink.common.journal.event import Event
from qkdlink.common.journal.events import BlockOpened, StageReached
from qkdlink.common.keys.identifiers import BlockId
from qkdlink.common.protocol.aborts import AbortReason
from qkdlink.common.protocol.account import Account
from qkdlink.common.protocol.conversation import BlockConversation
from qkdlink.common.protocol.economy import Economy
from qkdlink.common.protocol.parameters import LinkParameters
from qkdlink.common.protocol.pinning import Pinning
from qkdlink.common.randomness import Choice, ChoiceStream, Randomness
from qkdlink.common.wire.messages import Message


class Compute(Protocol):
    """Runs a numeric kernel beside the event loop; in tests, right here."""

    def __call__[**P, R](
        self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> Awaitable[R]:
        """Run `function` and wait for its result."""


@contextmanager
def _blaming_the_peer() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise RemoteProtocolError(f"The peer's message makes no sense: {error}.") from error


@dataclass(frozen=True, slots=True)
class Block:
    """One block as one party lives it."""

    id: BlockId
    parameters: LinkParameters
    conversation: BlockConversation
    randomness: Randomness
    compute: Compute
    tell: Callable[[Event], None]
    account: Account
    economy: Economy = field(default_factory=Economy)
    pinning: Pinning = field(default_factory=Pinning)

    async def say(self, message: Message) -> None:
        """Say a message of this block."""
        await self.conversation.say(message)

    async def expect[M: Message](self, kind: type[M]) -> M:
        """Wait for the peer's message of this block."""
        return await self.conversation.expect(kind)

    async def expect_either[M: Message, N: Message](self, one: type[M], other: type[N]) -> M | N:
        """Wait for the peer's message of either type."""
        return await self.conversation.expect_either(one, other)

    async def say_checkpoint(self) -> None:
        """Tag everything said so far."""
        await self.conversation.say_checkpoint()

    async def expect_checkpoint(self) -> None:
        """Wait for the peer's tag over everything said so far."""
        await self.conversation.expect_checkpoint()

    async def abort(self, reason: AbortReason | Monitor, detail: str) -> NoReturn:
        """End the block without a key."""
        await self.conversation.abort(reason, detail)

    def choices(self, purpose: Choice) -> ChoiceStream:
        """Secret choices for one purpose in this block, drawn now."""
        return self.randomness.choices(purpose, self.id.number)

    async def read[**P, R](self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a kernel on what the peer sent; its ValueError is the peer's fault."""
        with _blaming_the_peer():
            return await self.compute(function, *args, **kwargs)

    async def read_quickly[**P, R](
        self, size: int, few: int, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Do as `read` does; a `size` of `few` at most is worked on right here: changing threads would take longer."""
        if size > few:
            return await self.read(function, *args, **kwargs)
        with _blaming_the_peer():
            return function(*args, **kwargs)

    def opened(self, pulses: int) -> None:
        """Tell that light begins."""
        self.account.pulses = pulses
        self.tell(BlockOpened(block_id=str(self.id), number=self.id.number, pulses=pulses))

    def reached(self, stage: str) -> None:
        """Tell that the block has left a stage."""
        self.account.stage = stage
        self.tell(StageReached(block_id=str(self.id), number=self.id.number, stage=stage))
