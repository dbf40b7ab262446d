"""The vault beyond the agreement of two: writes that outlive whoever asked for them, and what is told of blocks."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from common.distillation.stages import SecretKey
from common.keys.identifiers import BlockId
from common.node.vault import Vault
from common.protocol.aborts import Aborted, AbortReason
from common.protocol.roles import Role
from common.store.key_store import State
from tests.support.stores import LINK, block, open_store, secret


@dataclass
class Told:
    """A vault, and what it has told."""

    vault: Vault
    settled: list[tuple[BlockId, bool, bool, bool]] = field(default_factory=list)
    """Block, whether with its key, available, late."""

    def note(self, block: BlockId, key: SecretKey | None, /, *, available: bool, late: bool) -> None:
        self.settled.append((block, key is not None, available, late))


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    with closing(open_store(tmp_path / "alice")) as store:
        one = Told(Vault(store, LINK, Role.ALICE, lambda *_, **__: None))
        one.vault.on_settled = one.note
        yield one


async def hold(told: Told, number: int = 1) -> BlockId:
    told.vault.open(block(number))
    await told.vault.hold(block(number), secret(number), 100)
    return block(number)


async def test_a_confirmed_block_is_told_once_with_its_key(told: Told) -> None:
    one = await hold(told)
    await told.vault.release(one)
    await told.vault.release(one)
    assert told.vault.close(one) == 2_000
    assert told.settled == [(one, True, True, False)]


async def test_a_block_that_ends_without_a_key_is_told_at_its_end(told: Told) -> None:
    told.vault.open(block(1))
    assert told.vault.close(block(1)) is None
    assert told.settled == [(block(1), False, False, False)]


async def test_a_pending_block_is_told_when_it_is_settled_and_not_before(told: Told) -> None:
    one = await hold(told)
    ended = told.vault.close(one)
    assert isinstance(ended, Aborted)
    assert ended.reason is AbortReason.PENDING
    assert told.settled == []
    await told.vault.release(one)
    assert told.settled == [(one, True, True, True)]


async def cancelled_while_the_disk_works(told: Told, write: str, work: Callable[[], object]) -> None:
    """Cancel a task while its write is on the way, and let the disk go on only afterwards."""
    began, may_end = threading.Event(), threading.Event()
    real = getattr(told.vault.store, write)

    def slow(*args: object, **kwargs: object) -> object:
        began.set()
        assert may_end.wait(5)
        return real(*args, **kwargs)

    setattr(told.vault.store, write, slow)
    task = asyncio.ensure_future(work())  # type: ignore[call-overload] # a coroutine it is
    await asyncio.to_thread(began.wait, 5)
    task.cancel()
    await asyncio.sleep(0.01)
    assert not task.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_release_that_is_cancelled_while_the_disk_works_is_made_and_told(told: Told) -> None:
    one = await hold(told)
    await cancelled_while_the_disk_works(told, "release", lambda: told.vault.release(one))
    assert told.vault.close(one) == 2_000
    assert told.settled == [(one, True, True, False)]


async def test_a_deposit_that_is_cancelled_while_the_disk_works_is_pending_when_the_block_ends(
    told: Told,
) -> None:
    told.vault.open(block(1))
    await cancelled_while_the_disk_works(
        told, "hold", lambda: told.vault.hold(block(1), secret(1), 100)
    )
    assert isinstance(told.vault.close(block(1)), Aborted)
    assert told.vault.store.state(block(1)) is State.PENDING
    await told.vault.release(block(1))
    assert told.settled == [(block(1), True, True, True)], "with its key, for the fingerprint"


async def test_a_dialler_leaves_out_the_keys_of_live_blocks_and_a_listener_takes_them(told: Told) -> None:
    await hold(told, 1)
    told.vault.close(block(1))
    await hold(told, 2)
    assert told.vault.link_psks() == [block(1)]
    assert told.vault.link_psks(live_too=True) == [block(2), block(1)]
