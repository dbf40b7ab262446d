"""`authenticate`: a block's checkpoints over a transcript that grows, by the default scheme of a link.

Wegman-Carter tags are polynomials over all that was said so far, anew at each checkpoint; pads are in memory here. The
baseline signs the same with the keys of certificates (ECDSA P-256 over SHA-256).
"""

import asyncio
import secrets
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from qkdlink.benchmarks.alternation import Contender, Stage, alternate
from qkdlink.common.authentication.transcript import Transcript
from qkdlink.common.authentication.wegman_carter import Unit, WegmanCarter
from qkdlink.common.keys.allotment import UNIT_BYTES
from qkdlink.common.trust.credentials import CredentialFiles, NodeCredentials, verify_signature
from qkdlink.common.trust.pki import issue
from qkdlink.deployment.certificates.hierarchy import create_authorities

CHECKPOINTS = 6
"""Of a block on its straight course."""
_FRAME_BYTES = 4096
_HEADING = b"qkdlink benchmark"

type Phases = Sequence[Sequence[bytes]]
"""The frames of the line before each checkpoint."""


class Parties(NamedTuple):
    """Both nodes' credentials."""

    alice: NodeCredentials
    bob: NodeCredentials


def issued_parties() -> Parties:
    """Make an authority and both nodes' credentials, and forget the files."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        create_authorities(root / "ca")
        return Parties(*(_issued(root, name) for name in Parties._fields))


def conversation(size: int) -> Phases:
    """Draw a block's conversation of about `size` bytes, in as many equal parts as there are checkpoints."""
    frames = max(1, size // (CHECKPOINTS * _FRAME_BYTES))
    return [[secrets.token_bytes(_FRAME_BYTES) for _ in range(frames)] for _ in range(CHECKPOINTS)]


@dataclass(slots=True)
class Pads:
    """Units that both parties have, in memory."""

    material: dict[str, bytes] = field(default_factory=dict, repr=False)

    async def take(self, block: int) -> Unit:
        """Draw a unit, which the other side has too."""
        unit = Unit(f"{block}/{len(self.material)}", secrets.token_bytes(UNIT_BYTES))
        self.material[unit.name] = unit.material
        return unit

    async def look_up(self, name: str) -> bytes | None:
        """Return a unit that was taken."""
        return self.material.get(name)

    async def used(self, name: str, block: int) -> bool:
        """Believe that it is used for the first time."""
        del name, block
        return True


def authenticate(phases: Phases) -> int:
    """Tag and verify at each checkpoint, in turns; return how many tags were good."""
    return asyncio.run(_authenticated(phases))


async def _authenticated(phases: Phases) -> int:
    pads = Pads()
    schemes = [WegmanCarter(pads).of_block(1) for _ in range(2)]
    transcripts = [Transcript(_HEADING) for _ in schemes]
    good = 0
    for position, frames in enumerate(phases):
        speaker, listener = position % 2, 1 - position % 2
        for transcript in transcripts:
            for frame in frames:
                transcript.append(speaker, frame)
        tag = await schemes[speaker].tag(speaker, position, transcripts[speaker])
        good += await schemes[listener].verify(speaker, position, transcripts[listener], tag)
    return good


def authenticate_anew(parties: Parties, phases: Phases) -> int:
    """Sign and verify the whole conversation so far at each checkpoint; return how many signatures were good."""
    transcripts = [bytearray(_HEADING) for _ in parties]
    good = 0
    for position, frames in enumerate(phases):
        speaker, listener = position % 2, 1 - position % 2
        for transcript in transcripts:
            transcript.extend(b"".join(frames))
        signature = parties[speaker].sign(bytes(transcripts[speaker]))
        certificate = parties[speaker].certificate_der
        good += verify_signature(certificate, bytes(transcripts[listener]), signature)
    return good


def measure(size: int, blocks: int, pairs: int) -> Stage:
    """Time the checkpoints of `blocks` conversations of about `size` bytes, by both parties."""
    parties, phases = issued_parties(), conversation(size)
    said = blocks * sum(len(frame) for frames in phases for frame in frames)

    def ours() -> None:
        for _ in range(blocks):
            authenticate(phases)

    def anew() -> None:
        for _ in range(blocks):
            authenticate_anew(parties, phases)

    return alternate(
        "authenticate",
        "byte/s",
        Contender("qkdlink.common.authentication", said, ours),
        Contender("signing it", said, anew),
        pairs,
    )


def _issued(root: Path, name: str) -> NodeCredentials:
    issue(root / "ca", name, root / name)
    return NodeCredentials.load(CredentialFiles.in_folder(root / name), name, datetime.now(UTC))
