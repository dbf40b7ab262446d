"""Worked examples of keys: each derived key, a checkpoint under each scheme, and the claim of a pending block.

The material is 00 01 ... 1f; nothing is drawn.
"""

import asyncio
import hashlib
import struct

from maintenance.documents.examples import EXAMPLE_BLOCK, LINK, SESSION, example_transcript, values
from maintenance.documents.words import field_notes, table
from qkdlink.common.authentication.ed25519 import ed25519
from qkdlink.common.authentication.ed25519 import public_key as ed25519_public_key
from qkdlink.common.authentication.gmac import Gmac
from qkdlink.common.authentication.hmac_sha256 import HmacSha256
from qkdlink.common.authentication.ml_dsa_65 import public_key as ml_dsa_65_public_key
from qkdlink.common.authentication.pinned_signature import PinnedSignature
from qkdlink.common.authentication.scheme import Authentication, SchemeName
from qkdlink.common.authentication.wegman_carter import Unit, WegmanCarter
from qkdlink.common.keys.allotment import UNIT_BYTES, Purpose
from qkdlink.common.keys.derivation import (
    Label,
    bootstrap_psk,
    key_id,
    link_psk,
    parse_identity,
    pre_shared_file_name,
    psk_identity,
    resume_proof_key,
    session_key,
)
from qkdlink.common.keys.identifiers import BlockId, session_id
from qkdlink.common.protocol.resumption import Statement, prove
from qkdlink.common.protocol.roles import Role
from qkdlink.common.store.tag_units import UnitName

_MATERIAL = bytes(range(32))
_EARLIER_NONCES = ("11" * 16, "22" * 16)
_BLOCK = BlockId(LINK, session_id(LINK, *_EARLIER_NONCES), 7)
"""A block of an earlier session: its key opens the session of the other examples."""


def key_labels() -> str:
    """Every label under which a key is derived, and what for."""
    notes = field_notes(Label)
    return table(("label", "what the key is"), ((f"`{label}`", notes[label.name]) for label in Label))


def derived_keys() -> str:
    """Derive each key from the same material."""
    name = key_id(_BLOCK)
    identity = psk_identity(LINK, name)
    if parse_identity(identity, LINK) != name:
        raise ValueError("the example's identity does not name the example's key")
    return values(
        {
            "material": _MATERIAL.hex(),
            "nonces of the earlier session": ", ".join(_EARLIER_NONCES),
            "key id": name,
            "identity": identity,
            "link PSK": link_psk(_MATERIAL, LINK, name).hex(),
            "session": SESSION,
            "checkpoint key": session_key(Label.CHECKPOINT_TAGS, _MATERIAL, SESSION).hex(),
            "GMAC key": session_key(Label.CHECKPOINT_GMAC, _MATERIAL, SESSION).hex(),
            "bootstrap PSK": bootstrap_psk(_MATERIAL, LINK, 256).hex(),
            "bootstrap tags": session_key(Label.BOOTSTRAP_TAGS, _MATERIAL, SESSION).hex(),
            "name of a file": pre_shared_file_name(_MATERIAL, LINK),
            "proof key": resume_proof_key(_MATERIAL).hex(),
        }
    )


def hmac_checkpoint() -> str:
    """Tag the example's transcript as Bob, at position 0, under the example's checkpoint key."""
    transcript, _ = example_transcript()
    scheme = HmacSha256(session_key(Label.CHECKPOINT_TAGS, _MATERIAL, SESSION))
    return values(
        {
            "key": scheme.key.hex(),
            "SHA-256 of the transcript": transcript.sha256().hex(),
            "tag of Bob at position 0": _tags_of_bob(scheme, 1)[0],
        }
    )


def gmac_checkpoint() -> str:
    """The same under the example's GMAC key."""
    scheme = Gmac(session_key(Label.CHECKPOINT_GMAC, _MATERIAL, SESSION))
    return values({"key": scheme.key.hex(), "tag of Bob at position 0": _tags_of_bob(scheme, 1)[0]})


def wegman_carter_checkpoints() -> str:
    """The same with two units of generated key, at the first three positions of Bob's."""
    pads = _ExamplePads()
    tags = _tags_of_bob(WegmanCarter(pads), 3)
    units = {f"unit {each.name}": each.material.hex() for each in pads.units}
    return values(units | {f"tag of Bob at position {position}": tag for position, tag in enumerate(tags)})


def signed_checkpoint() -> str:
    """What is signed with pinned keys, and the signature where it is a function of key and statement."""
    shown = PinnedSignature(SchemeName.ED25519, lambda statement: statement, lambda *_: False)
    scheme = ed25519(_MATERIAL, ed25519_public_key(_MATERIAL))
    ml_dsa_public_key = ml_dsa_65_public_key(_MATERIAL)
    return values(
        {
            "private key, or its seed": _MATERIAL.hex(),
            "signed by Bob at position 0": _tags_of_bob(shown, 1)[0],
            "Ed25519 public key": ed25519_public_key(_MATERIAL).hex(),
            "Ed25519 signature": _tags_of_bob(scheme, 1)[0],
            "ML-DSA-65 public key's length": str(len(ml_dsa_public_key)),
            "ML-DSA-65 public key's SHA-256": hashlib.sha256(ml_dsa_public_key).hexdigest(),
        }
    )


class _ExamplePads:
    """The two units of Bob's tags in the example's block: 00 01 ... 1f and 20 21 ... 3f."""

    def __init__(self) -> None:
        self.units: list[Unit] = []

    async def take(self, block: int) -> Unit:
        del block
        index = len(self.units)
        material = bytes(range(index * UNIT_BYTES, (index + 1) * UNIT_BYTES))
        self.units.append(Unit(str(UnitName(_BLOCK, Purpose.TAGS_BOB_TO_ALICE, index)), material))
        return self.units[-1]

    async def look_up(self, name: str) -> bytes | None:
        return next((unit.material for unit in self.units if unit.name == name), None)

    async def used(self, name: str, block: int) -> bool:
        del name, block
        return True


def _tags_of_bob(scheme: Authentication, count: int) -> list[str]:
    """Tag the example's transcript as Bob, at the first positions of the example's block."""
    transcript, _ = example_transcript()
    block = scheme.of_block(EXAMPLE_BLOCK)

    async def tags() -> list[str]:
        return [(await block.tag(Role.BOB, position, transcript)).value.hex() for position in range(count)]

    return asyncio.run(tags())


def pending_claim() -> str:
    """Claim the example's block as Alice, in the example's session, and answer as Bob that he has it."""
    key = resume_proof_key(_MATERIAL)
    encoded = prove(Statement.CLAIM, _BLOCK, key, SESSION, Role.ALICE).encode()
    session, number, proof = struct.unpack(">16s8s32s", encoded)
    return values(
        {
            "session of the block": session.hex(),
            "number of the block": number.hex(),
            "proof of Alice, who claims": proof.hex(),
            "proof of Bob, who has it": prove(Statement.HAVE, _BLOCK, key, SESSION, Role.BOB).proof.hex(),
        }
    )
