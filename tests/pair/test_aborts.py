import re
from dataclasses import replace
from pathlib import Path

import pytest

import qkdlink.alice.steps
import qkdlink.bob.steps
from qkdlink.common.bits import Bits
from qkdlink.common.distillation.verification import verification_tag
from qkdlink.common.optics.fibre import Fibre
from qkdlink.common.protocol.aborts import AbortReason
from qkdlink.common.protocol.conversation import MOST_CHECKPOINTS
from qkdlink.common.protocol.key_length import Reckoning, secret_length
from qkdlink.common.protocol.parameters import ProtocolName
from qkdlink.common.protocol.phases import BlockPhase
from qkdlink.common.protocol.roles import Role
from qkdlink.common.protocol.variants.catalogue import VARIANTS
from qkdlink.common.wire.messages import (
    Abort,
    AmplificationSeed,
    BasisAnnouncement,
    Checkpoint,
    Confirmation,
    LightEnded,
    Message,
    TestBits,
    VerificationHash,
)
from tests.support.pair import Ending, Pair, small_block


def settled(ending: Ending, reason: AbortReason, by: Role) -> str:
    """Hold that both sides settled the same abort; return its sentence."""
    aborter, follower = (ending.alice, ending.bob) if by is Role.ALICE else (ending.bob, ending.alice)
    assert (aborter.abort.reason, aborter.abort.by_peer) == (reason, False)
    assert follower.abort == replace(aborter.abort, by_peer=True)
    assert [(one.speaker, one.kind) for one in ending.said[-4:]] == [
        (by, Abort),
        (by, Checkpoint),
        (by.peer, Abort),
        (by.peer, Checkpoint),
    ]
    assert [one.kind for one in ending.said].count(Checkpoint) <= MOST_CHECKPOINTS
    for party in (ending.alice, ending.bob):
        conversation = party.block.conversation
        assert conversation.phase is BlockPhase.ABORTED
        assert conversation.ended
        assert (party.pending, party.available) == (None, None)
        account = party.block.account.close(party.block.id, party.abort, "scheme", seconds=1.0)
        assert (account.aborted, account.secret_bits) == (reason, 0)
    return aborter.abort.detail


def never_said(ending: Ending, *kinds: type[Message]) -> bool:
    return {one.kind for one in ending.said}.isdisjoint(kinds)


async def test_light_that_alice_cannot_send_voids_the_block_on_both_sides():
    ending = await Pair(alice_loses_light="frame 0 of 1 was not receipted").play()
    assert "not receipted" in settled(ending, AbortReason.LIGHT_LOST, Role.ALICE)
    assert never_said(ending, LightEnded)


async def test_light_that_bob_has_missed_voids_the_block_on_both_sides():
    ending = await Pair(bob_loses_light="frame 0 of 1 was lost").play()
    assert "lost" in settled(ending, AbortReason.LIGHT_LOST, Role.BOB)
    assert never_said(ending, BasisAnnouncement)


async def test_a_block_without_a_click_ends_before_anything_is_announced():
    ending = await Pair(bob_is_in_the_dark=True).play()
    assert "no gate clicked" in settled(ending, AbortReason.TOO_FEW_DETECTIONS, Role.BOB)
    assert never_said(ending, BasisAnnouncement)


async def test_too_many_errors_in_the_test_basis_end_the_block_before_reconciliation():
    parameters = small_block().model_copy(update={"fibre": Fibre(0.0, 0.2, 0.06)})
    ending = await Pair(parameters=parameters).play()
    assert f"{parameters.tolerated_qber:.2%} are tolerated" in settled(
        ending, AbortReason.QBER_ABOVE_TOLERATED, Role.BOB
    )
    assert ending.said[-5].kind is TestBits
    shown = [party.block.account.qber_test for party in (ending.alice, ending.bob)]
    assert shown[0] == shown[1] == pytest.approx(0.06, abs=0.03)


@pytest.mark.parametrize("protocol", VARIANTS)
async def test_a_block_that_is_too_small_ends_before_reconciliation(protocol: ProtocolName):
    parameters = small_block(protocol).model_copy(update={"block_pulses": 2000})
    ending = await Pair(parameters=parameters).play()
    assert "cannot make a key" in settled(ending, AbortReason.NO_SECRET_BITS, Role.BOB)
    assert ending.said[-5].kind is TestBits


async def test_a_block_that_reconciliation_leaves_nothing_of_ends_before_its_seed_is_drawn():
    parameters = small_block().model_copy(update={"block_pulses": 6_500})
    ending = await Pair(parameters=parameters).play()
    assert "fewer than the 256" in settled(ending, AbortReason.NO_SECRET_BITS, Role.ALICE)
    assert not never_said(ending, VerificationHash)
    assert never_said(ending, AmplificationSeed)
    assert ending.alice.block.account == ending.bob.block.account


async def test_errors_beyond_the_parity_budget_end_the_block():
    ending = await Pair(bob_misreads_key_bits=0.2).play()
    assert "budget" in settled(ending, AbortReason.PARITY_BUDGET_EXHAUSTED, Role.ALICE)
    assert never_said(ending, VerificationHash)


async def test_keys_that_are_not_the_same_are_found_out_and_dropped(monkeypatch: pytest.MonkeyPatch):
    def of_another_key(bits: Bits, seed: bytes, eps_cor: float) -> bytes:
        other = bits.copy()
        other[17] ^= 1
        return verification_tag(other, seed, eps_cor)

    monkeypatch.setattr(qkdlink.bob.steps, "verification_tag", of_another_key)
    ending = await Pair().play()
    settled(ending, AbortReason.VERIFICATION_FAILED, Role.BOB)
    assert never_said(ending, AmplificationSeed)


async def test_a_length_beyond_bobs_own_bound_is_refused(monkeypatch: pytest.MonkeyPatch):
    def one_bit_too_many(*arguments: object) -> Reckoning:
        reckoned = secret_length(*arguments)  # type: ignore[arg-type]
        length = reckoned.length
        return replace(reckoned, length=replace(length, secret_bits=length.secret_bits + 1))

    monkeypatch.setattr(qkdlink.alice.steps, "secret_length", one_bit_too_many)
    ending = await Pair().play()
    assert "Bob's bound" in settled(ending, AbortReason.LENGTHS_DISAGREE, Role.BOB)
    assert never_said(ending, Confirmation)


async def test_a_reason_is_told_however_long_its_sentence_is():
    ending = await Pair(alice_loses_light="lost " * 1000).play()
    assert len(settled(ending, AbortReason.LIGHT_LOST, Role.ALICE)) == 500


def test_every_kind_of_abort_that_parties_settle_is_played_here():
    settled_by_the_link = {
        AbortReason.CONNECTION_LOST,
        AbortReason.PROTOCOL_BROKEN,
        AbortReason.STARVED,
        AbortReason.PENDING,
        AbortReason.FAULT,
        AbortReason.STOPPED,
    }
    played = re.findall(r"AbortReason\.(\w+), Role", Path(__file__).read_text())
    assert {AbortReason[name] for name in played} == set(AbortReason) - settled_by_the_link
