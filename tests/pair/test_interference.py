"""Whatever happens to a single message: keys never differ, and no key is usable that the other side refused.

So it is under every scheme that makes tags, at every message of a block.
"""

import asyncio
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkdlink.common.authentication.scheme import SchemeName
from qkdlink.common.distillation.stages import SecretKey
from qkdlink.common.errors import LinkError, RemoteProtocolError
from qkdlink.common.optics.fibre import Fibre
from qkdlink.common.protocol.aborts import Aborted
from qkdlink.common.protocol.parameters import LinkParameters, ProtocolName
from qkdlink.common.protocol.roles import Role
from qkdlink.common.protocol.variants.catalogue import VARIANTS
from qkdlink.common.wire.messages import Checkpoint, Message
from tests.support.interference import (
    after_the_next,
    altered,
    cut_short,
    dropped,
    echoed,
    from_an_older,
    preceded_by,
    reflected,
    replaced,
    rewritten,
    twice,
)
from tests.support.pair import Ending, Pair, Relay, small_block
from tests.support.samples import SAMPLES
from tests.support.schemes import SCHEMES, wegman_carter

CONFIRMATIONS = 4
"""The last messages: Bob's confirmation and its checkpoint, Alice's confirmation and its checkpoint."""

CAUGHT_UNDER_ANY_SCHEME: dict[str, Callable[[int], Relay]] = {
    "first byte altered": lambda target: altered(target, 0.0, 1),
    "cut short": cut_short,
    "after the next three": lambda target: after_the_next(target, others=3),
}
"""By the framing and the numbers of messages, before any tag is looked at: played under one scheme."""
DESTRUCTIVE: dict[str, Callable[[int], Relay]] = {
    "header altered": lambda target: altered(target, 0.5, 4),
    "last bit altered": lambda target: altered(target, 1.0, 1),
    "dropped": dropped,
    "after the next": after_the_next,
    "reflected": reflected,
}
HARMLESS_AT_THE_END: dict[str, Callable[[int], Relay]] = {"twice": twice, "echoed": echoed}


def never_apart(ending: Ending) -> None:
    """Keys are equal or refused; one that is available here is at least pending there."""
    alice, bob = ending.alice, ending.bob
    for one, other in ((alice, bob), (bob, alice)):
        if one.available is not None:
            assert one.available in {other.available, other.pending}
            assert not isinstance(other.outcome, Aborted)
        if isinstance(one.outcome, SecretKey):
            assert one.available == one.outcome.material
        else:
            assert isinstance(one.outcome, Aborted | LinkError | RemoteProtocolError)
            assert one.available is None
    if isinstance(alice.outcome, Aborted) and isinstance(bob.outcome, Aborted):
        assert alice.outcome.reason == bob.outcome.reason


def refused_on_both_sides_or_pending(ending: Ending, target: int, length: int) -> None:
    """Nothing is available if it happened to something that Bob's last tag covers; afterwards his key is pending."""
    never_apart(ending)
    if target < length - CONFIRMATIONS + 2:
        assert (ending.alice.available, ending.bob.available) == (None, None)
    else:
        assert ending.alice.available == ending.bob.pending is not None
    assert isinstance(ending.bob.outcome, LinkError | RemoteProtocolError)
    assert str(ending.bob.outcome).endswith("."), "the sentence that the journal tells"


@lru_cache
def quiet_link() -> LinkParameters:
    """A link without errors: few messages, so that every one of them can be interfered with."""
    return small_block().model_copy(update={"fibre": Fibre(0.0, 0.2, 0.0), "block_pulses": 10_000})


@lru_cache
def honest_length(parameters: LinkParameters) -> int:
    return len(asyncio.run(Pair(parameters=parameters).play()).said)


def interfered(relay: Relay, parameters: LinkParameters, scheme: str = "certificate-signature") -> Ending:
    return asyncio.run(Pair(parameters=parameters, relay=relay, schemes=SCHEMES[scheme]()).play())


def at_every_message(fault: Callable[[int], Relay], scheme: str) -> None:
    length = honest_length(quiet_link())
    assert length < 80
    for target in range(length):
        refused_on_both_sides_or_pending(interfered(fault(target), quiet_link(), scheme), target, length)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("fault", DESTRUCTIVE)
def test_no_single_message_can_be_changed_withheld_or_misplaced(fault: str, scheme: str):
    at_every_message(DESTRUCTIVE[fault], scheme)


@pytest.mark.parametrize("fault", CAUGHT_UNDER_ANY_SCHEME)
def test_no_single_message_can_be_mutilated_or_kept_back_for_long(fault: str):
    at_every_message(CAUGHT_UNDER_ANY_SCHEME[fault], "certificate-signature")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_same_words_in_other_bytes_are_refused_by_the_next_tag(scheme: str):
    length = honest_length(quiet_link())
    for target in range(length):
        ending = interfered(rewritten(target), quiet_link(), scheme)
        never_apart(ending)
        if target < length - CONFIRMATIONS + 1:
            assert (ending.alice.available, ending.bob.available) == (None, None)
        if target < length - 1:  # no tag is left to cover the last one's own bytes
            assert isinstance(ending.bob.outcome, LinkError | RemoteProtocolError)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("fault", HARMLESS_AT_THE_END)
def test_no_single_message_can_be_repeated_to_either_side(fault: str, scheme: str):
    length = honest_length(quiet_link())
    for target in range(length):
        ending = interfered(HARMLESS_AT_THE_END[fault](target), quiet_link(), scheme)
        never_apart(ending)
        if target < length - CONFIRMATIONS - 1:  # what is still to be heard when the repetition is
            assert (ending.alice.available, ending.bob.available) == (None, None)


@pytest.mark.parametrize("protocol", VARIANTS)
@settings(max_examples=25)
@given(data=st.data())
def test_a_noisy_block_of_any_protocol_survives_any_interference_with_any_message(
    protocol: ProtocolName, data: st.DataObject
):
    parameters = small_block(protocol)
    length = honest_length(parameters)
    target = data.draw(st.integers(0, length - 1), "message")
    where = data.draw(st.floats(0, 1), "where in the message")
    flip = data.draw(st.integers(1, 255), "change")
    forged = data.draw(st.sampled_from(sorted(SAMPLES.values(), key=lambda message: type(message).__name__)))
    relay = data.draw(
        st.sampled_from(
            [make(target) for make in (CAUGHT_UNDER_ANY_SCHEME | DESTRUCTIVE | HARMLESS_AT_THE_END).values()]
            + [altered(target, where, flip)] * 4
            + [preceded_by(target, forged, in_the_name_of_its_speaker=own) for own in (True, False)] * 2
        ),
        "interference",
    )
    never_apart(interfered(relay, parameters))


@settings(max_examples=60)
@given(
    target=st.integers(0, 45), message=st.sampled_from(sorted(SAMPLES.values(), key=repr)), own=st.booleans()
)
def test_one_more_message_anywhere_in_the_name_of_either_makes_no_key_available(
    target: int, message: Message, own: bool
):
    ending = interfered(preceded_by(target, message, in_the_name_of_its_speaker=own), quiet_link())
    never_apart(ending)
    assert not (
        isinstance(ending.alice.outcome, SecretKey) and target < honest_length(quiet_link()) - CONFIRMATIONS
    )


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(
    "older", [{"number": 6}, {"session": "77" * 16}], ids=["an older block", "an older session"]
)
def test_what_was_said_in_an_older_block_or_session_is_refused_wherever_it_is_said_again(
    older: dict[str, Any], scheme: str
):
    """Eve writes the new names of session and block, and the number that is due, over the old words."""
    ends = wegman_carter(units=120) if scheme == SchemeName.WEGMAN_CARTER else SCHEMES[scheme]()
    old = asyncio.run(Pair(parameters=quiet_link(), schemes=ends, **{"number": 7, **older}).play())
    assert old.alice.key == old.bob.key
    length, all_changed = len(old.said), list[int]()
    for target in range(length):
        changed: list[int] = []
        relay = from_an_older(old.said, target, changed)
        new = asyncio.run(Pair(parameters=quiet_link(), schemes=ends, number=7, relay=relay).play())
        if changed:
            refused_on_both_sides_or_pending(new, target, length)
        else:
            assert new.alice.key == new.bob.key
        all_changed += changed
    checkpoints = {index for index, one in enumerate(old.said) if one.kind is Checkpoint}
    assert checkpoints <= set(all_changed), "no tag is ever the same again"


def test_messages_of_one_block_are_worth_nothing_in_another():
    first = asyncio.run(Pair(parameters=quiet_link(), number=1).play())
    length = len(first.said)
    for target, old in enumerate(first.said):
        relay = replaced(target, old.frame)
        ending = asyncio.run(Pair(parameters=quiet_link(), number=2, relay=relay).play())
        assert isinstance(
            (ending.bob if old.speaker is Role.ALICE else ending.alice).outcome, RemoteProtocolError
        )
        refused_on_both_sides_or_pending(ending, target, length)
