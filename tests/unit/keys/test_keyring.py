import pytest

from common.distillation.stages import SecretKey
from common.errors import LocalProtocolError
from common.keys.identifiers import FIRST_SESSION, BlockId
from common.node.keyring import Keyring

BLOCK = BlockId("link", FIRST_SESSION, 1)
KEY = SecretKey(bytes(range(32)), 256)


async def test_a_key_is_held_and_then_released():
    keyring = Keyring()
    await keyring.hold(BLOCK, KEY)
    assert "1 pending, 0 available" in repr(keyring)
    await keyring.release(BLOCK)
    assert "0 pending, 1 available" in repr(keyring)


async def test_a_block_has_one_key_whether_pending_or_available():
    keyring = Keyring()
    await keyring.hold(BLOCK, KEY)
    with pytest.raises(LocalProtocolError, match="has a key already"):
        await keyring.hold(BLOCK, KEY)
    await keyring.release(BLOCK)
    with pytest.raises(LocalProtocolError, match="has a key already"):
        await keyring.hold(BLOCK, KEY)


async def test_only_a_pending_key_is_released_and_once():
    keyring = Keyring()
    with pytest.raises(LocalProtocolError, match="no pending key"):
        await keyring.release(BLOCK)
    await keyring.hold(BLOCK, KEY)
    await keyring.release(BLOCK)
    with pytest.raises(LocalProtocolError, match="no pending key"):
        await keyring.release(BLOCK)
