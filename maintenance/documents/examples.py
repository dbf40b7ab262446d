"""Worked examples, byte by byte: what a second implementation can compare itself with.

Everything here is a function of the values written here; nothing is drawn.
"""

import asyncio
import hashlib
from collections.abc import Iterator, Sequence

import numpy as np

from qkdlink.common.authentication.certificate_signature import CertificateSignature
from qkdlink.common.authentication.transcript import Transcript
from qkdlink.common.bits import Bits, pack, unpack
from qkdlink.common.distillation.reconciliation.efficiency import parity_budget
from qkdlink.common.distillation.reconciliation.parity import Questions
from qkdlink.common.distillation.reconciliation.schedule import PASSES, schedule
from qkdlink.common.distillation.reconciliation.shuffle import check_keys, shuffled, stream, weight
from qkdlink.common.distillation.universal_hash import toeplitz, toeplitz_seed_bits
from qkdlink.common.distillation.verification import (
    verification_seed_bytes,
    verification_tag,
    verification_tag_bits,
)
from qkdlink.common.keys.identifiers import FIRST_SESSION, session_id
from qkdlink.common.optics.detector import DetectorSettings
from qkdlink.common.optics.fibre import Fibre
from qkdlink.common.protocol.conversation import Place
from qkdlink.common.protocol.greeting import holdings
from qkdlink.common.protocol.high_water import Marks
from qkdlink.common.protocol.parameters import LinkParameters
from qkdlink.common.protocol.roles import Role
from qkdlink.common.protocol.variants.single_photon import SINGLE_PHOTON
from qkdlink.common.trust.credentials import SIGNATURE_CONTEXT
from qkdlink.common.wire.attachments import encode_classes, encode_gates
from qkdlink.common.wire.framing import LINK_BLOCK, Envelope, encode
from qkdlink.common.wire.messages import BlockAccepted, DetectionAnnouncement, OpenBlock
from qkdlink.common.wire.parities import encode_parities, encode_questions
from qkdlink.common.wire.pulse_frames import FrameHeader

LINK = "link-1"
_NONCES = ("00" * 16, "ff" * 16)
SESSION = session_id(LINK, *_NONCES)
EXAMPLE_BLOCK = 1
_GATES = np.array([3, 4, 200, 16700], np.uint32)
_BASES = np.array([0, 1, 0, 0], np.uint8)
_CLASSES = np.array([0, 2, 1, 0, 1], np.uint8)
_KEY = unpack(bytes.fromhex("b1e7"), 16)
_SEED = bytes(range(64))


def message_frame() -> str:
    """One message with two attachments, as it is on the line."""
    message = DetectionAnnouncement(detections=len(_GATES), gaps=encode_gates(_GATES), bases=pack(_BASES))
    return _dump(encode(Envelope(SESSION, EXAMPLE_BLOCK, 1, message)))


def attachments() -> str:
    """Each encoding of an attachment."""
    return values(
        {
            "gates 3, 4, 200, 16700": encode_gates(_GATES).hex(" "),
            "bits 0, 1, 0, 0": pack(_BASES).hex(" "),
            "classes 0, 2, 1, 0, 1 of three": encode_classes(_CLASSES, 3).hex(" "),
            "integers 1, 2, 70000": np.array([1, 2, 70000], "<u4").tobytes().hex(" "),
        }
    )


def questions() -> str:
    """Parity questions that show each form of lanes, and a range that starts before the last one."""
    asked = Questions(
        np.array([0, 0, PASSES], np.uint8),
        np.array([300, 295, 288], np.uint32),
        np.array([428, 296, 289], np.uint32),
        np.array([0b1111, 1 << 5, 2**64 - 1], np.uint64),
    )
    answers = np.array([0b1001, 1 << 5, 1], np.uint64)
    return values(
        {
            "pass 0, positions 300 to 427, lanes 0 to 3": encode_questions(asked)[:14].hex(" "),
            "pass 0, position 295, lane 5": encode_questions(asked)[14:18].hex(" "),
            "check 0, position 288, all 64 lanes": encode_questions(asked)[18:].hex(" "),
            "parities 1, 0, 0, 1, then 1, then 1": encode_parities(asked, answers, 6).hex(" "),
        }
    )


def parameters() -> str:
    """The parameters of a link as `hello` carries them."""
    text = LinkParameters(
        protocol=SINGLE_PHOTON.name,
        block_pulses=250_000,
        intensities=(),
        probabilities=(1.0,),
        key_basis_probability=0.765625,
        expected_qber=0.01,
        tolerated_qber=0.0185,
        fibre=Fibre(10.0, 0.2, 0.01),
        detector=DetectorSettings(0.5, 1e-8, 0.0, 0.0, 1e9),
    ).canonical()
    return f"```text\n{text}\n```"


def light_header() -> str:
    """The clear header of a frame of light."""
    return _dump(_header().encode())


def receipt() -> str:
    """The receipt of that frame."""
    return _dump(_header().receipt.encode())


def checkpoint() -> str:
    """What a signature covers, from the nonces of a session on."""
    transcript, frames = example_transcript()
    return values(
        {
            "nonce of Alice": _NONCES[0],
            "nonce of Bob": _NONCES[1],
            "session": SESSION,
            "heading": Place(LINK, SESSION, EXAMPLE_BLOCK).heading.decode(),
            "holdings of Alice, first": frames[0].hex(),
            "holdings of Bob": frames[1].hex(),
            "holdings of Alice, second": frames[2].hex(),
            "frame of Alice": frames[3].hex(),
            "frame of Bob": frames[4].hex(),
            "SHA-256 of the transcript": transcript.sha256().hex(),
            "fingerprint of Alice": hashlib.sha256(b"alice").hexdigest(),
            "fingerprint of Bob": hashlib.sha256(b"bob").hexdigest(),
            "signed by Bob at position 0": _signed(transcript).hex(),
        }
    )


def example_transcript() -> tuple[Transcript, tuple[bytes, ...]]:
    """Return a transcript of a meeting's three holdings and a block's first two messages, and the frames in it."""
    nothing = holdings(Marks(0, 0, 0, 0))
    frames = (
        encode(Envelope(FIRST_SESSION, LINK_BLOCK, 1, nothing)),
        encode(Envelope(FIRST_SESSION, LINK_BLOCK, 1, nothing)),
        encode(Envelope(FIRST_SESSION, LINK_BLOCK, 2, nothing)),
        encode(Envelope(SESSION, EXAMPLE_BLOCK, 0, OpenBlock(pulses=1000, frames=1, verification_key=b""))),
        encode(Envelope(SESSION, EXAMPLE_BLOCK, 0, BlockAccepted(verification_key=b""))),
    )
    transcript = Transcript(Place(LINK, SESSION, EXAMPLE_BLOCK).heading)
    for speaker, frame in zip((*Role, Role.ALICE, *Role), frames, strict=True):
        transcript.append(speaker, frame)
    return transcript, frames


def distillation() -> str:
    """Small inputs and outputs of reconciliation, verification and amplification."""
    tag_bits = verification_tag_bits(len(_KEY), 1e-15)
    seed = _SEED[: verification_seed_bytes(len(_KEY), 1e-15)]
    plan = schedule(100_000, 0.01)
    drawn, check_key = stream(_SEED[:32], 0, 0, 8), check_keys(_SEED[:32])[0]
    weights = [int(weight(check_key, word)) for word in range(2)]
    toeplitz_seed = np.unpackbits(np.frombuffer(_SEED[::-1], np.uint8))[: toeplitz_seed_bits(len(_KEY), 5)]
    return values(
        {
            "lanes and words for 100000 bits": f"{plan.lanes}, {plan.words}",
            "block sizes for 100000 bits at 0.01": _listed(
                [plan.block_words(index, plan.words) for index in range(PASSES)]
            ),
            "parity budget for 100000 bits at 0.01": str(parity_budget(100_000, 0.01)),
            "shuffle seed": _SEED[:32].hex(),
            "permutation of 8 words, pass 0": _listed(shuffled(drawn).tolist()),
            "turns of 8 words of 4 lanes, pass 0": _listed((drawn % 4).tolist()),
            "weights of 2 words, check 0": _listed(weights),
            "key": _digits(_KEY),
            "tag bits for eps_cor 1e-15": str(tag_bits),
            "verification seed": seed.hex(),
            "verification tag": verification_tag(_KEY, seed, 1e-15).hex(),
            "Toeplitz seed": _digits(toeplitz_seed),
            "Toeplitz hash of 5 bits": _digits(toeplitz(_KEY, toeplitz_seed, 5)),
        }
    )


def _header() -> FrameHeader:
    return FrameHeader(
        link=LINK,
        session=SESSION,
        block=EXAMPLE_BLOCK,
        sequence=2,
        frames=8,
        first_pulse=524288,
        pulses=262144,
    )


def _signed(transcript: Transcript) -> bytes:
    """Let the scheme show what it would have signed."""
    scheme = CertificateSignature(
        sign=lambda statement: SIGNATURE_CONTEXT + statement,
        verify_peer=lambda _statement, _signature: False,
        fingerprints=(hashlib.sha256(b"alice").digest(), hashlib.sha256(b"bob").digest()),
    )
    return asyncio.run(scheme.tag(Role.BOB, 0, transcript)).value


def _dump(data: bytes) -> str:
    """Show bytes sixteen a line, with their offset and, where they are printable, as text."""
    lines = []
    for offset in range(0, len(data), 16):
        row = data[offset : offset + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{offset:04x}  {row.hex(' '):<47}  {text}".rstrip())
    return "\n".join(["```text", *lines, "```"])


def values(named: dict[str, str]) -> str:
    """Return named values, one a line, as a document shows them."""
    return "\n".join(["```text", *_lines(named), "```"])


def _lines(named: dict[str, str]) -> Iterator[str]:
    width = max(map(len, named))
    for name, value in named.items():
        yield f"{name:<{width}} = {value}"


def _listed(values: Sequence[int]) -> str:
    return ", ".join(map(str, values))


def _digits(bits: Bits) -> str:
    return "".join(map(str, bits.tolist()))
