import asyncio

import numpy as np
import pytest

import qkdlink.alice.steps
import qkdlink.bob.steps
from qkdlink.common.distillation.reconciliation.schedule import Pace
from qkdlink.common.journal.events import BlockOpened, StageReached
from qkdlink.common.protocol.conversation import MOST_CHECKPOINTS
from qkdlink.common.protocol.phases import BlockPhase
from qkdlink.common.protocol.roles import Role
from qkdlink.common.protocol.variants.catalogue import VARIANTS
from qkdlink.common.protocol.variants.single_photon import SINGLE_PHOTON
from qkdlink.common.randomness import Nature, Randomness
from qkdlink.common.wire.framing import LENGTHS, LONGEST_HEADER
from qkdlink.common.wire.messages import Checkpoint, Message, ParityAnswers, ParityQuestions
from tests.support.pair import Ending, Pair, small_block

STAGES = ["transmit", "sift", "estimate", "reconcile", "verify", "amplify", "confirm"]


@pytest.fixture(scope="module", params=list(VARIANTS))
def ending(request: pytest.FixtureRequest) -> Ending:
    return asyncio.run(Pair(parameters=small_block(request.param)).play())


def test_both_end_with_the_same_key_of_the_announced_length(ending: Ending):
    assert ending.alice.key == ending.bob.key
    assert len(ending.alice.key) > 64
    assert any(ending.alice.key)


def test_the_key_is_available_on_both_sides_and_pending_on_none(ending: Ending):
    for party in (ending.alice, ending.bob):
        assert party.available == ending.alice.key
        assert party.pending is None


def test_both_tell_the_seven_stages_in_order(ending: Ending):
    for party in (ending.alice, ending.bob):
        assert isinstance(party.events[0], BlockOpened)
        assert [event.stage for event in party.events if isinstance(event, StageReached)] == STAGES


def test_both_keep_the_same_account(ending: Ending):
    assert ending.alice.block.account == ending.bob.block.account
    account = ending.alice.block.account
    assert account.detections > account.sifted_bits > account.leaked_bits > 0
    assert account.exchanges == ending.said_by(Role.BOB).count(ParityQuestions)


async def test_the_pace_of_reconciliation_is_a_parameter_of_the_link():
    asked = []
    for pace in Pace:
        parameters = small_block(SINGLE_PHOTON.name).model_copy(update={"reconciliation_pace": pace})
        ending = await Pair(parameters=parameters).play()
        opening = [one.message for one in ending.said if one.kind is ParityQuestions]
        asked.append([message.questions for message in opening])
        assert ending.alice.block.account == ending.bob.block.account
    assert asked[0][0] == asked[1][0]  # the blocks of the first pass are the same
    assert asked[0] != asked[1]


def test_both_have_the_same_transcript_of_everything_said(ending: Ending):
    alices, bobs = (party.block.conversation for party in (ending.alice, ending.bob))
    assert alices.transcript.sha256() == bobs.transcript.sha256()
    assert alices.phase is bobs.phase is BlockPhase.CONFIRMED
    lengths = sum(9 + len(one.frame) for one in ending.said)
    assert len(alices.transcript) == len(alices.place.heading) + lengths


def test_a_block_has_six_checkpoints_numbered_in_order(ending: Ending):
    checkpoints = [one.message for one in ending.said if one.kind is Checkpoint]
    assert [one.position for one in checkpoints if isinstance(one, Checkpoint)] == list(range(6))
    assert len(checkpoints) <= MOST_CHECKPOINTS


def test_no_header_comes_near_the_longest_that_is_read(ending: Ending):
    assert max(LENGTHS.unpack_from(one.frame)[0] for one in ending.said) < LONGEST_HEADER // 100


def test_both_say_the_words_of_a_block_in_its_only_order(ending: Ending):
    said = [one.kind.__name__ for one in ending.said if not _is_a_parity(one.kind)]
    assert said == [
        *("OpenBlock", "BlockAccepted", "LightEnded"),
        *("DetectionAnnouncement", "Checkpoint", "BasisAnnouncement", "Checkpoint"),
        *("TestBits", "TestBits"),
        *("ReconciliationOpened", "ReconciliationEnded", "Checkpoint"),
        *("VerificationHash", "Verified", "AmplificationSeed", "Checkpoint"),
        *("Confirmation", "Checkpoint", "Confirmation", "Checkpoint"),
    ]


def test_what_the_parties_are_made_of_does_not_print_a_bit_of_the_key(ending: Ending):
    shown = repr((ending.alice.outcome, ending.alice.block, [one.message for one in ending.said]))
    assert ending.alice.key.hex() not in shown
    assert repr(ending.alice.key)[2:40] not in shown


def test_the_stages_of_both_columns_are_those_they_tell():
    for column in (qkdlink.alice.steps, qkdlink.bob.steps):
        told = [name for name in vars(column) if name in {*STAGES, "estimate_errors"}]
        assert {"estimate" if name == "estimate_errors" else name for name in told} == set(STAGES)


async def test_the_blocks_of_a_link_have_different_keys():
    endings = [await Pair(number=number).play() for number in (1, 2, 3)]
    assert len({ending.alice.key for ending in endings}) == 3


async def test_a_seeded_block_has_the_same_key_whatever_the_size_of_its_frames_of_light():
    keys = {(await Pair(frame_pulses=size).play()).alice.key for size in (2**20, 20_000, 1000, 777)}
    assert len(keys) == 1


async def test_a_seeded_block_has_the_same_key_whenever_and_beside_whatever_it_is_made():
    alone = {number: (await Pair(number=number).play()).alice.key for number in (1, 2, 3)}
    beside = await asyncio.gather(*(Pair(number=number, frame_pulses=3000).play() for number in (3, 1, 2)))
    assert [ending.bob.key for ending in beside] == [alone[number] for number in (3, 1, 2)]


async def test_a_seeded_block_has_the_same_key_in_every_session(monkeypatch: pytest.MonkeyPatch):
    here = await Pair().play()
    monkeypatch.setattr("tests.support.pair.SESSION", "77" * 16)
    there = await Pair().play()
    assert here.alice.block.id != there.alice.block.id
    assert here.alice.key == there.alice.key


async def test_another_seed_makes_another_key():
    keys = {(await Pair(seed=seed).play()).alice.key for seed in (1, 2, 0, -1)}
    assert len(keys) == 4


async def test_without_a_seed_no_block_is_ever_made_twice():
    endings = [await Pair(seed=None).play() for _ in range(3)]
    assert all(ending.alice.key == ending.bob.key for ending in endings)
    assert len({ending.alice.key for ending in endings}) == 3
    assert len({ending.said[3].frame for ending in endings}) == 3, "the same detections"


class OneNature(Randomness):
    """Secrets of the operating system in a nature that repeats itself."""

    def nature(self, purpose: Nature, block: int) -> np.random.Generator:
        return Randomness(self.node, seed=5).nature(purpose, block)


async def test_unseeded_secrets_differ_although_all_of_nature_is_the_same():
    endings = [await Pair(seed=None, randomness=OneNature).play() for _ in range(2)]
    assert endings[0].alice.key != endings[1].alice.key


def _is_a_parity(kind: type[Message]) -> bool:
    return kind in {ParityQuestions, ParityAnswers}
