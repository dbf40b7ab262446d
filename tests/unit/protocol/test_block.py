from collections.abc import Callable
from typing import Any, cast

import pytest

from qkdlink.common.errors import RemoteProtocolError
from qkdlink.common.keys.identifiers import BlockId
from qkdlink.common.protocol.account import Account
from qkdlink.common.protocol.block import Block


def nonsense() -> None:
    raise ValueError("it is upside down")


def block_of(elsewhere: list[object]) -> Block:
    async def compute(function: Callable[..., Any], /, *args: object) -> object:
        elsewhere.append(function)
        return function(*args)

    nothing = cast("Any", None)
    return Block(
        BlockId("link", "0" * 32, 1), nothing, nothing, nothing, cast("Any", compute), nothing, Account()
    )


async def test_what_is_small_is_worked_on_right_here_and_what_is_larger_elsewhere():
    elsewhere: list[object] = []
    block = block_of(elsewhere)
    assert await block.read_quickly(8, 8, abs, -5) == 5
    assert elsewhere == []
    assert await block.read_quickly(9, 8, abs, -5) == 5
    assert elsewhere == [abs]


@pytest.mark.parametrize("size", [8, 9])
async def test_nonsense_is_the_peers_fault_wherever_it_is_read(size: int):
    with pytest.raises(RemoteProtocolError, match="makes no sense: it is upside down"):
        await block_of([]).read_quickly(size, 8, nonsense)
