"""What both columns hold of a key's price: it pays for its block, and what goes to the reserve is Alice's to ask."""

from functools import lru_cache

import pytest

from qkdlink.common.authentication import ed25519
from qkdlink.common.authentication.scheme import SchemeName
from qkdlink.common.distillation.stages import SecretKey
from qkdlink.common.errors import RemoteProtocolError
from qkdlink.common.protocol.aborts import AbortReason
from qkdlink.common.protocol.economy import Economy
from qkdlink.common.protocol.parameters import LinkParameters
from qkdlink.common.protocol.pinning import Pinning
from qkdlink.common.wire.messages import AmplificationSeed, BlockAccepted, OpenBlock
from tests.support.pair import Ending, Pair, small_block
from tests.support.schemes import SCHEMES, wegman_carter

ALICES_KEY, BOBS_KEY = (ed25519.public_key(ed25519.new_private_key()) for _ in range(2))


def paying(reserve_wanted: int = 0) -> Economy:
    return Economy(pays_for_tags=True, reserve_wanted=lambda: reserve_wanted)


@lru_cache
def a_longer_key() -> LinkParameters:
    """A block whose key pays for tags as well; that of a small block pays for a link PSK alone."""
    return small_block().model_copy(update={"block_pulses": 40_000})


def secret(ending: Ending) -> tuple[SecretKey, SecretKey]:
    assert isinstance(ending.alice.outcome, SecretKey), ending.alice.outcome
    assert isinstance(ending.bob.outcome, SecretKey), ending.bob.outcome
    return ending.alice.outcome, ending.bob.outcome


async def test_a_key_that_does_not_pay_for_its_tags_is_given_up_and_alice_says_so():
    honest = await Pair().play()
    assert 256 <= secret(honest)[0].secret_bits < 1280
    ending = await Pair(economies=(paying(), paying())).play()
    assert ending.alice.abort.reason == ending.bob.abort.reason == AbortReason.NO_SECRET_BITS
    assert "fewer than the 1280 that a block costs" in ending.alice.abort.detail
    assert AmplificationSeed not in {one.kind for one in ending.said}
    assert (ending.alice.pending, ending.bob.pending) == (None, None)


async def test_bob_refuses_a_key_that_does_not_pay_for_its_tags_although_alice_goes_on():
    ending = await Pair(economies=(Economy(), paying())).play()
    assert isinstance(ending.bob.outcome, RemoteProtocolError)
    assert "does not pay for its block" in str(ending.bob.outcome)
    assert (ending.alice.available, ending.bob.pending) == (None, None)


@pytest.mark.parametrize("wanted", [0, 1024, 10**9])
async def test_both_cut_the_reserve_that_alice_asks_for_as_far_as_the_key_goes(wanted: int):
    pair = Pair(parameters=a_longer_key(), economies=(paying(wanted), paying(77)), schemes=wegman_carter())
    alices, bobs = secret(await pair.play())
    assert alices.material == bobs.material
    assert alices.reserve_bits == bobs.reserve_bits == min(wanted, alices.secret_bits)


def showing(*keys: bytes, pinned: tuple[bytes, bytes] = (b"", b"")) -> Pair:
    """A block in which both show these keys, the first Alice's; each knows what is pinned, the first of it Bob's."""
    alices, bobs = keys
    return Pair(
        pinnings=(lambda: Pinning(alices, 32, pinned[0]), lambda: Pinning(bobs, 32, pinned[1])),
    )


async def test_each_side_is_shown_the_other_s_key():
    ending = await showing(ALICES_KEY, BOBS_KEY).play()
    secret(ending)
    assert ending.alice.block.pinning.theirs == BOBS_KEY
    assert ending.bob.block.pinning.theirs == ALICES_KEY


async def test_keys_that_were_shown_and_pinned_may_be_shown_again():
    secret(await showing(ALICES_KEY, BOBS_KEY, pinned=(BOBS_KEY, ALICES_KEY)).play())


async def test_no_other_key_takes_the_place_of_one_that_is_pinned():
    ending = await showing(ALICES_KEY, BOBS_KEY, pinned=(b"", bytes(32))).play()
    assert isinstance(ending.bob.outcome, RemoteProtocolError)
    assert "another verification key than the one that is pinned" in str(ending.bob.outcome)
    ending = await showing(ALICES_KEY, BOBS_KEY, pinned=(bytes(32), b"")).play()
    assert isinstance(ending.alice.outcome, RemoteProtocolError)
    assert "another verification key than the one that is pinned" in str(ending.alice.outcome)


@pytest.mark.parametrize("keys", [(ALICES_KEY[:-1], BOBS_KEY), (ALICES_KEY, BOBS_KEY + b"\0"), (b"", b"")])
async def test_a_key_of_another_length_ends_the_block(keys: tuple[bytes, bytes]):
    ending = await showing(*keys).play()
    refusals = [str(one.outcome) for one in (ending.alice, ending.bob)]
    assert any("bytes where 32 are due" in refusal for refusal in refusals)
    assert (ending.alice.pending, ending.bob.pending) == (None, None)


async def test_after_the_bootstrap_nobody_shows_a_key():
    ending = await Pair(schemes=SCHEMES[SchemeName.ED25519]()).play()
    secret(ending)
    opened, accepted = ending.said[0].message, ending.said[1].message
    assert isinstance(opened, OpenBlock)
    assert isinstance(accepted, BlockAccepted)
    assert (opened.verification_key, accepted.verification_key) == (b"", b"")
