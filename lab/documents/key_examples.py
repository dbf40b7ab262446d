"""Worked examples of keys: each derived key, the tag of a keyed checkpoint, and the claim of a pending block.

The material is 00 01 ... 1f; nothing is drawn.
"""

import asyncio
import struct

from common.authentication.hmac_sha256 import HmacSha256
from common.keys.derivation import (
    Label,
    key_id,
    link_psk,
    parse_identity,
    psk_identity,
    resume_proof_key,
    session_key,
)
from common.keys.identifiers import BlockId, session_id
from common.protocol.resumption import claim
from common.protocol.roles import Role
from lab.documents.examples import LINK, SESSION, example_transcript, values
from lab.documents.words import field_notes, table

_MATERIAL = bytes(range(32))
_EARLIER_NONCES = ("11" * 16, "22" * 16)
_BLOCK = BlockId(LINK, session_id(LINK, *_EARLIER_NONCES), 7)
"""A block of an earlier session: its key opens the session of the other examples."""


def key_labels() -> str:
    """Every label under which a key is derived from generated key material, and what for."""
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
            "proof key": resume_proof_key(_MATERIAL).hex(),
        }
    )


def keyed_checkpoint() -> str:
    """Tag the example's transcript as Bob, at position 0, under the example's checkpoint key."""
    transcript, _ = example_transcript()
    scheme = HmacSha256(session_key(Label.CHECKPOINT_TAGS, _MATERIAL, SESSION))
    return values(
        {
            "key": scheme.key.hex(),
            "SHA-256 of the transcript": transcript.sha256().hex(),
            "tag of Bob at position 0": asyncio.run(scheme.tag(Role.BOB, 0, transcript)).value.hex(),
        }
    )


def pending_claim() -> str:
    """Claim the example's block as Alice, in the example's session."""
    encoded = claim(_BLOCK, resume_proof_key(_MATERIAL), SESSION, Role.ALICE).encode()
    session, number, proof = struct.unpack(">16s8s32s", encoded)
    return values(
        {
            "session of the block": session.hex(),
            "number of the block": number.hex(),
            "proof of Alice": proof.hex(),
        }
    )
