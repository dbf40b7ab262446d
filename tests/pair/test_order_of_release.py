"""The rules of who may know what when, each held by looking at the wire."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from qkdlink.common.distillation.reconciliation.schedule import PASSES
from qkdlink.common.distillation.stages import SecretKey
from qkdlink.common.errors import RemoteProtocolError
from qkdlink.common.keys.identifiers import BlockId
from qkdlink.common.protocol.parameters import ProtocolName
from qkdlink.common.protocol.roles import Role
from qkdlink.common.protocol.variants.catalogue import VARIANTS
from qkdlink.common.randomness import Choice, ChoiceStream, Randomness
from qkdlink.common.wire.messages import (
    AmplificationSeed,
    Checkpoint,
    Confirmation,
    DetectionAnnouncement,
    LightEnded,
    Message,
    OpenBlock,
    ParityAnswers,
    ParityQuestions,
    ReconciliationEnded,
    TestBits,
    VerificationHash,
)
from qkdlink.common.wire.parities import decode_questions
from tests.support.apparatus import MemoryDeposit
from tests.support.interference import altered
from tests.support.pair import Delivery, Ending, Pair, Said, faithfully, small_block

DETECTIONS, SIFTING, RECONCILIATION, AMPLIFICATION, BOBS_CONFIRMATION, ALICES_CONFIRMATION = range(6)
"""The checkpoints of a block, by their positions."""


async def with_a_wrong_tag(position: int) -> Ending:
    """Play a block in which the tag of one checkpoint is changed on its way."""
    honest = await Pair().play()
    target = places(honest, Checkpoint)[position]
    return await Pair(relay=altered(target, 1.0, 1)).play()


def places(ending: Ending, kind: type[Message], speaker: Role | None = None) -> list[int]:
    """Where in the block messages of a type were said."""
    return [
        index for index, one in enumerate(ending.said) if one.kind is kind and speaker in {None, one.speaker}
    ]


def words(ending: Ending, role: Role) -> set[type[Message]]:
    return set(ending.said_by(role))


async def test_the_number_of_pulses_is_said_before_the_first_of_them():
    chronicle = Chronicle()
    ending = await Pair(relay=chronicle.relay, randomness=chronicle.randomness).play()
    opened = ending.said[0].message
    assert isinstance(opened, OpenBlock)
    assert opened.pulses == small_block().block_pulses
    assert chronicle.happened.index("OpenBlock") < chronicle.happened.index("alice draws pulses")


async def test_bob_announces_everything_at_once_after_the_light():
    ending = await Pair(frame_pulses=1000).play()
    (announced,), (ended,) = places(ending, DetectionAnnouncement), places(ending, LightEnded)
    assert announced == ended + 1


async def test_alice_tells_no_basis_intensity_or_bit_before_bobs_announcement_is_verified():
    ending = await with_a_wrong_tag(DETECTIONS)
    assert isinstance(ending.alice.outcome, RemoteProtocolError)
    assert ending.said_by(Role.ALICE) == [OpenBlock, LightEnded]


async def test_a_changed_announcement_costs_alice_no_basis_either():
    honest = await Pair().play()
    (announcement,) = places(honest, DetectionAnnouncement)
    for where in (0.3, 0.6, 1.0):
        ending = await Pair(relay=altered(announcement, where, 1)).play()
        assert ending.said_by(Role.ALICE) == [OpenBlock, LightEnded]


async def test_test_bits_are_shown_only_after_the_sifting_checkpoint():
    ending = await with_a_wrong_tag(SIFTING)
    assert isinstance(ending.bob.outcome, RemoteProtocolError)
    assert TestBits not in words(ending, Role.ALICE) | words(ending, Role.BOB)


async def test_hash_key_and_amplification_seed_are_shown_only_after_the_reconciliation_checkpoint():
    ending = await with_a_wrong_tag(RECONCILIATION)
    assert isinstance(ending.alice.outcome, RemoteProtocolError)
    assert words(ending, Role.ALICE).isdisjoint({VerificationHash, AmplificationSeed})


async def test_bob_stores_no_key_before_the_amplification_checkpoint():
    ending = await with_a_wrong_tag(AMPLIFICATION)
    assert isinstance(ending.bob.outcome, RemoteProtocolError)
    assert Confirmation not in words(ending, Role.BOB)
    assert (ending.bob.pending, ending.bob.available) == (None, None)


async def test_alice_neither_stores_nor_confirms_before_bobs_confirmation_is_verified():
    ending = await with_a_wrong_tag(BOBS_CONFIRMATION)
    assert isinstance(ending.alice.outcome, RemoteProtocolError)
    assert Confirmation not in words(ending, Role.ALICE)
    assert (ending.alice.pending, ending.alice.available) == (None, None)
    assert ending.bob.pending is not None


async def test_bobs_key_stays_pending_until_alices_confirmation_is_verified():
    ending = await with_a_wrong_tag(ALICES_CONFIRMATION)
    assert isinstance(ending.bob.outcome, RemoteProtocolError)
    assert ending.bob.available is None
    assert ending.bob.pending == ending.alice.available


@dataclass(frozen=True, slots=True)
class Chronicle:
    """What was said and what was drawn, in the order in which it happened."""

    happened: list[str] = field(default_factory=list)

    def relay(self, index: int, said: Said) -> Sequence[Delivery]:
        self.happened.append(said.kind.__name__)
        return faithfully(index, said)

    def randomness(self, node: str, seed: int | None) -> Randomness:
        happened = self.happened

        class Watched(Randomness):
            def choices(self, purpose: Choice, block: int) -> ChoiceStream:
                happened.append(f"{self.node} draws {purpose}")
                return Randomness(self.node, self.seed).choices(purpose, block)

        return Watched(node, seed)

    def deposit(self) -> MemoryDeposit:
        happened = self.happened

        class Watched(MemoryDeposit):
            async def hold(self, block: BlockId, key: SecretKey, leaked_bits: int) -> None:
                happened.append("a key is held")
                await super().hold(block, key, leaked_bits)

            async def release(self, block: BlockId) -> None:
                happened.append("a key is released")
                await super().release(block)

        return Watched()


async def test_each_side_stores_before_it_confirms_and_releases_once_it_has_heard_the_other_confirm():
    chronicle = Chronicle()
    await Pair(relay=chronicle.relay, deposit=chronicle.deposit).play()
    assert chronicle.happened[-8:] == [
        *("a key is held", "Confirmation", "Checkpoint"),
        *("a key is held", "a key is released", "Confirmation", "Checkpoint"),
        "a key is released",
    ]


async def test_every_secret_choice_is_drawn_at_the_moment_it_is_needed_and_once():
    chronicle = Chronicle()
    await Pair(relay=chronicle.relay, randomness=chronicle.randomness).play()
    notable = [entry for entry in chronicle.happened if not entry.startswith("Parity")]
    assert notable == [
        "OpenBlock",
        "bob draws measurements",
        "BlockAccepted",
        "alice draws pulses",
        "LightEnded",
        *("DetectionAnnouncement", "Checkpoint", "BasisAnnouncement", "Checkpoint", "TestBits", "TestBits"),
        "bob draws reconciliation",
        *("ReconciliationOpened", "ReconciliationEnded", "Checkpoint"),
        "alice draws verification",
        *("VerificationHash", "Verified"),
        "alice draws amplification",
        *("AmplificationSeed", "Checkpoint", "Confirmation", "Checkpoint", "Confirmation", "Checkpoint"),
    ]


@pytest.mark.parametrize("protocol", VARIANTS)
async def test_both_counts_of_parities_stand_on_the_wire_and_are_the_number_of_questions(
    protocol: ProtocolName,
):
    ending = await Pair(parameters=small_block(protocol)).play()
    said = [one.message for one in ending.said]
    asked = sum(_parities(message) for message in said if isinstance(message, ParityQuestions))
    answered = sum(message.count for message in said if isinstance(message, ParityAnswers))
    counts = [
        message.disclosed_parities
        for message in said
        if isinstance(message, ReconciliationEnded | VerificationHash)
    ]
    assert counts == [asked, asked]
    assert answered == asked
    assert ending.alice.block.account.leaked_bits == asked


def _parities(message: ParityQuestions) -> int:
    """One per lane of a pass, one per check."""
    asked = decode_questions(message.questions)
    return sum(
        mask.bit_count() if index < PASSES else 1
        for index, mask in zip(asked.indices.tolist(), asked.masks.tolist(), strict=True)
    )
