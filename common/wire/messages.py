"""What Alice and Bob say to each other: one frozen model each.

Fields marked `Attachment` travel as raw bytes behind the JSON text; every other field is small and bounded. The
order of a block's messages stands in `qkdlink.common.protocol.phases`.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from qkdlink.common.keys.identifiers import Name


class AttachmentMark:
    """Marks a field whose bytes travel behind the JSON text."""


type Attachment = Annotated[bytes, AttachmentMark()]

LONGEST_SENTENCE = 500
"""Characters of a reason or a detail."""

type Count = Annotated[int, Field(ge=0, le=2**40)]
type ClassCounts = Annotated[tuple[Count, ...], Field(min_length=1, max_length=4)]
type Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
type Sentence = Annotated[str, StringConstraints(max_length=LONGEST_SENTENCE)]
type Word = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,32}$")]
type Nonce = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]

PROTOCOL_VERSION = "qkdlink/2"
MOST_FRAMES = 2**20
"""Frames of light in a block."""


class Message(BaseModel):
    """Common ground of all messages: immutable, and nothing unknown is let in."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    attachments: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.attachments = tuple(
            name for name, annotation in cls.__annotations__.items() if annotation is Attachment
        )

    @field_validator("*")
    @classmethod
    def _printable(cls, value: object) -> object:
        """Refuse text that a terminal or a log might obey; our own is made printable before it is said."""
        if isinstance(value, str) and not value.isprintable():
            raise ValueError("it has characters that cannot be printed")
        return value

    def __repr_args__(self) -> list[tuple[str | None, object]]:
        return [
            (name, f"<{len(value)} bytes>" if isinstance(value, bytes) else value)
            for name, value in super().__repr_args__()
        ]


# --- the link ------------------------------------------------------------------------------------------------


class Hello(Message):
    """Both: who I am, which link this is, and every parameter that has to be the same on both sides."""

    type: Literal["hello"] = "hello"
    protocol: Annotated[str, StringConstraints(max_length=32)]
    link: Name
    node: Name
    nonce: Nonce
    anchor: Word
    """What this side trusts at the bootstrap."""
    scheme: Word
    """By which scheme it authenticates data after the bootstrap."""
    most_blocks: Annotated[int, Field(ge=1, le=64)]
    """How many blocks may be open here at a time; of both numbers the smaller counts."""
    parameters: Annotated[str, StringConstraints(max_length=8192)]
    """The link parameters as canonical JSON, so that a difference can be named field by field."""


class Holdings(Message):
    """Alice, Bob, Alice: what is pending here, and the answer to what is pending there."""

    type: Literal["holdings"] = "holdings"
    pending: Attachment
    """Claims of 56 bytes each: session, number, proof."""
    have: Attachment
    """Of the peer's claims: blocks that are here too, 56 bytes each: session, number, proof."""
    never: Attachment
    """Of the peer's claims: blocks that were never here, 24 bytes each: session, number."""
    highest_block: Count
    """The highest block number that this side knows of."""
    heard_block: Count
    """The highest number of a block in which this side has verified the peer's part."""
    units_taken: Count
    """How many units for tags this side has taken."""
    units_heard: Count
    """How many units of the peer this side has seen in right tags."""


class Goodbye(Message):
    """Either: no further block will be opened on this connection."""

    type: Literal["goodbye"] = "goodbye"
    reason: Sentence


# --- transmit ------------------------------------------------------------------------------------------------


class OpenBlock(Message):
    """Alice: the number of pulses, fixed before the first of them is sent."""

    type: Literal["open-block"] = "open-block"
    pulses: Annotated[int, Field(ge=1, le=2**32)]
    frames: Annotated[int, Field(ge=1, le=MOST_FRAMES)]
    verification_key: Attachment
    """Her public key, shown while a bootstrap authenticates the block, if later ones are signed; else empty."""


class BlockAccepted(Message):
    """Bob: my detectors are on."""

    type: Literal["block-accepted"] = "block-accepted"
    verification_key: Attachment
    """His public key, likewise."""


class LightEnded(Message):
    """Alice: every frame of the block has been sent and receipted."""

    type: Literal["light-ended"] = "light-ended"


# --- sift ----------------------------------------------------------------------------------------------------


class DetectionAnnouncement(Message):
    """Bob: all gates that clicked and the basis of each, once, for the whole block; never a bit."""

    type: Literal["detection-announcement"] = "detection-announcement"
    detections: Count
    gaps: Attachment
    """Distances between clicked gates, as `qkdlink.common.wire.attachments.encode_gates` writes them."""
    bases: Attachment
    """One bit per detection: 0 key basis, 1 test basis."""


class BasisAnnouncement(Message):
    """Alice: which detections had her basis, and the intensity class of each of those."""

    type: Literal["basis-announcement"] = "basis-announcement"
    sifted: Count
    matched: Attachment
    """One bit per announced detection: 1 where the bases agree."""
    classes: Attachment
    """Intensity class of each matched detection, as `encode_classes` writes them."""
    emitted: ClassCounts
    """Pulses emitted per intensity class."""
    detected: ClassCounts
    """Detections per intensity class over all basis pairs."""


# --- estimate ------------------------------------------------------------------------------------------------


class TestBits(Message):
    """Bob, then Alice: the bits of the test basis, which never become key."""

    __test__: ClassVar[bool] = False  # not a pytest class, for all its name
    type: Literal["test-bits"] = "test-bits"
    bits: Attachment


# --- reconcile -----------------------------------------------------------------------------------------------


class ReconciliationOpened(Message):
    """Bob: the public seed of the permutations and the error rate that sets the block sizes."""

    type: Literal["reconciliation-opened"] = "reconciliation-opened"
    shuffle_seed: Attachment
    expected_qber: Fraction


class ParityQuestions(Message):
    """Bob: the ranges of the permuted key whose parities he asks for."""

    type: Literal["parity-questions"] = "parity-questions"
    questions: Attachment
    """As `qkdlink.common.wire.parities.encode_questions` writes them."""


class ParityAnswers(Message):
    """Alice: the parities asked for, in the order of the questions and of their lanes."""

    type: Literal["parity-answers"] = "parity-answers"
    count: Count
    parities: Attachment


class ReconciliationEnded(Message):
    """Bob: how many parities I received, and how many errors I corrected per class."""

    type: Literal["reconciliation-ended"] = "reconciliation-ended"
    disclosed_parities: Count
    key_errors: ClassCounts


# --- verify, amplify, confirm --------------------------------------------------------------------------------


class VerificationHash(Message):
    """Alice: a fresh universal hash of her key, and how many parities she answered."""

    type: Literal["verification-hash"] = "verification-hash"
    disclosed_parities: Count
    seed: Attachment
    tag: Attachment


class Verified(Message):
    """Bob: my hash is the same."""

    type: Literal["verified"] = "verified"


class AmplificationSeed(Message):
    """Alice: the length of the secret key, how much of it fills the reserve, and a fresh Toeplitz seed."""

    type: Literal["amplification-seed"] = "amplification-seed"
    secret_bits: Annotated[int, Field(ge=1, le=2**40)]
    reserve_bits: Annotated[int, Field(ge=0, le=2**40)]
    """How many of them are asked for the reserve; see the rule by which a key is cut."""
    seed: Attachment


class Confirmation(Message):
    """Bob, then Alice: the key is durable here as pending."""

    type: Literal["confirmation"] = "confirmation"
    secret_bits: Annotated[int, Field(ge=1, le=2**40)]


# --- any stage -----------------------------------------------------------------------------------------------


class Checkpoint(Message):
    """Either: a tag over everything said in this block so far, in both directions, as I saw it."""

    type: Literal["checkpoint"] = "checkpoint"
    position: Annotated[int, Field(ge=0, le=15)]
    scheme: Annotated[str, StringConstraints(max_length=64)]
    pad: Annotated[str, StringConstraints(max_length=128)] = ""
    """Name of the 256 bits of generated key that the tag was made with; empty for schemes that use none."""
    tag: Attachment


class Abort(Message):
    """Either, in its turn: this block ends without a key; answered in kind, so that both know that both know."""

    type: Literal["abort"] = "abort"
    reason: Annotated[str, StringConstraints(max_length=64)]
    detail: Sentence


MESSAGE_TYPES: tuple[type[Message], ...] = tuple(Message.__subclasses__())
"""Every kind of message; the field `type` tells them apart."""
