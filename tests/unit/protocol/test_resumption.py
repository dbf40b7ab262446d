"""Claims on pending blocks: what they look like, whom they convince, and what is refused."""

import hmac
import struct
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkdlink.common.errors import RemoteProtocolError
from qkdlink.common.keys.identifiers import BlockId
from qkdlink.common.protocol.resumption import (
    MOST_PENDING,
    ProvenBlock,
    Statement,
    decode_answers,
    decode_blocks,
    decode_proven,
    encode_blocks,
    encode_proven,
    is_proven,
    prove,
)
from qkdlink.common.protocol.roles import Role

LINK, SESSION, OTHER_SESSION = "link-1", "5e" * 16, "7a" * 16
KEY, OTHER_KEY = bytes(range(32)), bytes(range(1, 33))
BLOCK = BlockId(LINK, "ab" * 16, 7)
BLOCKS = st.builds(
    BlockId, st.just(LINK), st.text("0123456789abcdef", min_size=32, max_size=32), st.integers(0, 2**64 - 1)
)
CLAIM_BYTES, NAME_BYTES = 56, 24


@given(st.lists(BLOCKS, max_size=MOST_PENDING, unique=True), st.binary(min_size=32, max_size=32))
def test_lists_come_back_as_they_were_written(blocks: list[BlockId], proof: bytes) -> None:
    claims = [ProvenBlock(block, proof) for block in blocks]
    assert decode_proven(encode_proven(claims), LINK) == claims
    assert decode_blocks(encode_blocks(blocks), LINK) == blocks


def test_a_claim_is_session_number_and_proof_and_the_proof_is_an_hmac_over_the_statement() -> None:
    statement = f"{LINK}/{BLOCK.session}/7|{SESSION}|Alice|claim".encode()
    expected = bytes.fromhex(BLOCK.session) + struct.pack(">Q", 7) + hmac.digest(KEY, statement, "sha256")
    assert prove(Statement.CLAIM, BLOCK, KEY, SESSION, Role.ALICE).encode() == expected
    assert len(expected) == CLAIM_BYTES


def test_a_claim_convinces_whoever_holds_the_same_key() -> None:
    for statement, speaker in product(Statement, Role):
        assert is_proven(statement, prove(statement, BLOCK, KEY, SESSION, speaker), KEY, SESSION, speaker)


@pytest.mark.parametrize(
    "made",
    [
        prove(Statement.CLAIM, BLOCK, OTHER_KEY, SESSION, Role.ALICE),
        prove(Statement.CLAIM, BLOCK, KEY, OTHER_SESSION, Role.ALICE),
        prove(Statement.CLAIM, BLOCK, KEY, SESSION, Role.BOB),
        prove(Statement.HAVE, BLOCK, KEY, SESSION, Role.ALICE),
        ProvenBlock(
            BLOCK, prove(Statement.CLAIM, BlockId(LINK, BLOCK.session, 8), KEY, SESSION, Role.ALICE).proof
        ),
        ProvenBlock(
            BLOCK, prove(Statement.CLAIM, BlockId("link-2", BLOCK.session, 7), KEY, SESSION, Role.ALICE).proof
        ),
        ProvenBlock(BLOCK, bytes(32)),
        ProvenBlock(BLOCK, b""),
    ],
    ids=[
        "another key",
        "kept from another session",
        "sent back",
        "the other statement",
        "another block",
        "another link",
        "zeros",
        "nothing",
    ],
)
def test_a_claim_made_otherwise_proves_nothing(made: ProvenBlock) -> None:
    assert not is_proven(Statement.CLAIM, made, KEY, SESSION, Role.ALICE)


@pytest.mark.parametrize("length", [1, NAME_BYTES - 1, NAME_BYTES + 1, NAME_BYTES * (MOST_PENDING + 1)])
def test_a_list_of_blocks_that_is_cut_short_or_too_long_is_refused(length: int) -> None:
    with pytest.raises(RemoteProtocolError, match="cut short or too long"):
        decode_blocks(bytes(length), LINK)


@pytest.mark.parametrize("length", [1, CLAIM_BYTES - 1, CLAIM_BYTES + 1, CLAIM_BYTES * (MOST_PENDING + 1)])
def test_a_list_of_claims_that_is_cut_short_or_too_long_is_refused(length: int) -> None:
    with pytest.raises(RemoteProtocolError, match="cut short or too long"):
        decode_proven(bytes(length), LINK)


def test_what_the_peer_names_belongs_to_our_link_whatever_it_means() -> None:
    (named,) = decode_blocks(encode_blocks([BlockId("link-2", BLOCK.session, 7)]), LINK)
    assert named == BLOCK


NAMED, NAMED_PROVEN = encode_blocks([BLOCK]), ProvenBlock(BLOCK, bytes(32)).encode()


@pytest.mark.parametrize(
    ("have", "never"),
    [(NAMED_PROVEN, NAMED), (NAMED_PROVEN + ProvenBlock(BLOCK, KEY).encode(), b""), (b"", 2 * NAMED)],
    ids=["in both answers", "twice as held", "twice as never held"],
)
def test_a_block_that_is_named_twice_is_refused(have: bytes, never: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="names a block twice"):
        decode_answers(have, never, LINK)
    proven, denied = decode_answers(NAMED_PROVEN, b"", LINK)
    assert ([each.block for each in proven], denied) == ([BLOCK], [])
