import numpy as np

from qkdlink.common.authentication.transcript import Transcript
from qkdlink.common.bits import Bits
from qkdlink.common.errors import LinkError, RemoteProtocolError
from qkdlink.common.optics.detector import DetectorSettings
from qkdlink.common.optics.fibre import Fibre
from qkdlink.common.optics.source import PulseSource
from qkdlink.common.protocol.conversation import BlockConversation
from qkdlink.common.protocol.parameters import LinkParameters
from qkdlink.common.protocol.phases import BlockPhase, Phase
from qkdlink.common.protocol.roles import Role
from qkdlink.common.protocol.variants.single_photon import SINGLE_PHOTON
from qkdlink.common.randomness import Choice, Randomness
from qkdlink.common.wire.messages import (
    BasisAnnouncement,
    Checkpoint,
    DetectionAnnouncement,
    LightEnded,
    Message,
    OpenBlock,
)
from qkdlink.eve.store_and_forge import StoreAndForge
from tests.support.pair import Ending, Pair

LINK = LinkParameters(
    protocol=SINGLE_PHOTON.name,
    block_pulses=400_000,
    intensities=(),
    probabilities=(1.0,),
    key_basis_probability=0.5,
    expected_qber=0.001,
    tolerated_qber=0.01,
    fibre=Fibre(length_km=0.0, attenuation_db_per_km=0.2, misalignment=0.0),
    detector=DetectorSettings(
        efficiency=1.0, dark_count_probability=0.0, dead_time_ns=0.0, afterpulse_probability=0.0, clock_hz=1e9
    ),
)


SEED = 11


class AliceForgetsToCheck(BlockConversation):
    """Alice takes any tag under Bob's announcement; everything else is as it should be."""

    async def _verify(self, message: Message) -> None:
        if self.phase is not BlockPhase.DETECTIONS_ANNOUNCED:
            await super()._verify(message)


class SiftingIsNotAuthenticated(BlockConversation):
    """Nobody checks tags before the bases are told, and the tags afterwards cover only what is said afterwards."""

    async def _verify(self, message: Message) -> None:
        if self.phase not in {BlockPhase.DETECTIONS_ANNOUNCED, BlockPhase.BASES_ANNOUNCED}:
            await super()._verify(message)

    def _record(self, speaker: Role, frame: bytes, following: Phase) -> None:
        super()._record(speaker, frame, following)
        if following is BlockPhase.SIFTED:
            self.transcript = Transcript(self.place.heading)


def what_alice_prepared() -> tuple[Bits, Bits]:
    """Her choices again, from the seed of the run."""
    choices = Randomness("alice", SEED).choices(Choice.PULSES, 1)
    prepared, _ = PulseSource(LINK.source, choices, np.random.default_rng(0)).emit(
        0, LINK.block_pulses, LINK.fibre
    )
    return prepared & np.uint8(1), prepared >> np.uint8(1) & np.uint8(1)


async def attacked(engine: type[BlockConversation]) -> tuple[StoreAndForge, Ending]:
    eve = StoreAndForge(LINK, Randomness("eve", 3), number=1)
    pair = Pair(parameters=LINK, seed=SEED, frame_pulses=2**17, conversations=engine)
    return eve, await pair.play_with(eve.attack, eve.store)


async def test_alice_tells_no_basis_to_a_forged_announcement():
    eve, ending = await attacked(BlockConversation)
    assert isinstance(ending.alice.outcome, RemoteProtocolError)
    assert "tag of checkpoint 0 is wrong" in str(ending.alice.outcome)
    assert ending.said_by(Role.ALICE) == [OpenBlock, LightEnded]
    assert eve.learnt is None
    assert eve.key is None


async def test_bob_is_left_without_light_and_without_a_key():
    _, ending = await attacked(BlockConversation)
    assert isinstance(ending.bob.outcome, LinkError)
    assert (ending.bob.pending, ending.bob.available) == (None, None)


async def test_without_authenticated_sifting_the_attack_would_succeed():
    eve, ending = await attacked(SiftingIsNotAuthenticated)
    assert ending.alice.key == ending.bob.key
    assert eve.key is not None
    assert eve.key.material == ending.alice.key
    assert eve.key.secret_bits > 1000
    for party in (ending.alice, ending.bob):
        assert party.available == eve.key.material
        assert party.block.account.qber_test == 0
        assert sum(party.block.account.key_errors or ()) == 0


async def test_the_later_tags_alone_still_refuse_a_block_whose_announcement_was_not_checked_in_time():
    eve, ending = await attacked(AliceForgetsToCheck)
    assert eve.learnt is not None, "Alice told her bases too early"
    assert isinstance(ending.bob.outcome, RemoteProtocolError)
    assert "tag of checkpoint 1 is wrong" in str(ending.bob.outcome)
    assert ending.said_by(Role.BOB)[-2:] == [DetectionAnnouncement, Checkpoint]
    assert eve.key is None


async def test_what_bases_told_too_early_give_away_is_every_sifted_bit_of_alice():
    eve, ending = await attacked(AliceForgetsToCheck)
    told = next(one.message for one in ending.said if one.kind is BasisAnnouncement)
    assert isinstance(told, BasisAnnouncement)
    assert eve.learnt is not None
    assert len(eve.learnt.bits) == told.sifted > 8000
    bits, bases = what_alice_prepared()
    np.testing.assert_array_equal(eve.learnt.bits, bits[eve.learnt.gates])
    np.testing.assert_array_equal(eve.learnt.bases, bases[eve.learnt.gates])


async def test_an_honest_block_of_this_link_makes_a_key():
    ending = await Pair(parameters=LINK).play()
    assert ending.alice.key == ending.bob.key
