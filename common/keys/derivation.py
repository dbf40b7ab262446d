"""Every key that is derived from other key material, in one file: for what, by which label, from what.

All of it is HKDF-SHA-256 (RFC 5869), 32 bytes of uniformly random material in and 32 bytes out, without salt because
the material is uniform. The info string is the label and the fields that tell two keys of one purpose apart:

    link PSK         qkdlink v1 link psk|<link>|alice->bob|<key id>|sha256
    checkpoint key   qkdlink v1 checkpoint tags|<session>|sha256
    GMAC key         qkdlink v1 checkpoint gmac|<session>|sha256
    bootstrap PSK    qkdlink v1 bootstrap psk|<link>|alice->bob|<bits>|sha256
    bootstrap tags   qkdlink v1 bootstrap tags|<session>|sha256
    name of a file   qkdlink v1 pre-shared file|<link>|sha256
    resume proof     qkdlink v1 resume proof|sha256

This is what RFC 9258 asks of an importer of external PSKs (context, protocol and hash bound into the key); Python's
callbacks cannot do it inside TLS. No field can hold a bar, so no two lists of fields give one info string.
Wegman-Carter keys are never derived here: they are cut from generated bits.
"""

import re
from enum import StrEnum

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from qkdlink.common.keys.identifiers import SESSION_PATTERN, BlockId, is_name

KEY_BYTES = 32
"""Length of the material and of every derived key."""

LONGEST_IDENTITY_BYTES = 255
"""A longer identity is dropped by OpenSSL without a word, and the handshake goes on without the PSK."""

_KEY_ID = r"[0-9a-f]{32}/[1-9][0-9]{0,18}"
_IDENTITY = re.compile(rf"qkd1:(?P<link>[^:]+):(?P<dialler>[^:]+):(?P<key_id>{_KEY_ID})")


class Label(StrEnum):
    """What a derived key is for; a purpose has one label and a label one purpose."""

    LINK_PSK = "qkdlink v1 link psk"
    """The external PSK of one epoch's TLS line."""
    CHECKPOINT_TAGS = "qkdlink v1 checkpoint tags"
    """The HMAC key of one session's checkpoint tags (both directions; who speaks stands under the tag)."""
    CHECKPOINT_GMAC = "qkdlink v1 checkpoint gmac"
    """The AES-256 key of one session's GMAC tags."""
    BOOTSTRAP_PSK = "qkdlink v1 bootstrap psk"
    """The external PSK of the bootstrap's TLS line, from a secret delivered out of band."""
    BOOTSTRAP_TAGS = "qkdlink v1 bootstrap tags"
    """The HMAC key of one bootstrap session's checkpoint tags, from the same secret."""
    PRE_SHARED_FILE = "qkdlink v1 pre-shared file"
    """The name by which a node's own store, and the mark beside the file, remember a secret delivered out of band."""
    RESUME_PROOF = "qkdlink v1 resume proof"
    """The HMAC key by which a side proves that it holds a pending block; block, session, speaker and statement stand
    under the MAC, so that a proof sent back, or kept for another session, proves nothing."""


BOOTSTRAP_KEY_ID = "bootstrap"
"""Stands in an identity where that of a link PSK has a key id, whose form it does not have: the port of each takes its
own, and never the other."""

DIALLER, LISTENER = "alice", "bob"
"""Alice dials and Bob listens, always: a PSK whose two ends could change places can be reflected (RFC 9257, 4.1)."""


def key_id(block: BlockId) -> str:
    """Name the key that a block has yielded, within its link: `<session, 32 hexadecimal digits>/<number>`."""
    return _checked_key_id(f"{block.session}/{block.number}")


def link_psk(material: bytes, link: str, key_id: str) -> bytes:
    """Derive the PSK (32 bytes) with which Alice dials Bob, from 32 secret bytes of the block `key_id`.

    Raises ValueError if the material has another length, or `link` or `key_id` is none.
    """
    fields = (_checked_link(link), f"{DIALLER}->{LISTENER}", _checked_key_id(key_id))
    return _derive(Label.LINK_PSK, material, *fields)


def psk_identity(link: str, key_id: str) -> str:
    """Name a PSK on the wire, where everybody can read it: `qkd1:<link>:alice:<key id>`, at most 255 bytes.

    Raises ValueError if `link` or `key_id` is none.
    """
    return f"qkd1:{_checked_link(link)}:{DIALLER}:{_checked_key_id(key_id)}"


def parse_identity(identity: str, link: str) -> str | None:
    """Return the key id of an identity that the listener of `link` may look up, None of any other.

    Refused are another link, another version, another form, and a dialler that is not Alice: the listener's own role
    among them, so that nobody's own bytes open a line to him.
    """
    found = _IDENTITY.fullmatch(identity)
    if found is None or (found["link"], found["dialler"]) != (link, DIALLER):
        return None
    return found["key_id"]


def bootstrap_identity(link: str) -> str:
    """Name the bootstrap's PSK on the wire: `qkd1:<link>:alice:bootstrap`. ValueError if `link` is none."""
    return f"qkd1:{_checked_link(link)}:{DIALLER}:{BOOTSTRAP_KEY_ID}"


def parse_bootstrap_identity(identity: str, link: str) -> str | None:
    """Return BOOTSTRAP_KEY_ID for the one identity that the bootstrap of `link` takes, None for any other."""
    return BOOTSTRAP_KEY_ID if identity == bootstrap_identity(link) else None


def bootstrap_psk(material: bytes, link: str, bits: int) -> bytes:
    """Derive the PSK (32 bytes) with which Alice dials Bob before there is generated key, from 32 secret bytes.

    `bits` is the length of the whole file that begins with them: whose file was cut short has another PSK, and is told
    so at the first contact. What lies behind them does not go in: pads are for tags alone. Raises ValueError if the
    material has another length, or `link` is none.
    """
    return _derive(Label.BOOTSTRAP_PSK, material, _checked_link(link), f"{DIALLER}->{LISTENER}", str(bits))


def pre_shared_file_name(material: bytes, link: str) -> str:
    """Derive a name (64 hexadecimal digits), for its own node alone, of the file that begins with 32 secret bytes.

    Raises ValueError if the material has another length, or `link` is none.
    """
    return _derive(Label.PRE_SHARED_FILE, material, _checked_link(link)).hex()


def session_key(label: Label, material: bytes, session: str) -> bytes:
    """Derive the key (32 bytes) of the checkpoint tags of `session` under one of the labels, from 32 secret bytes.

    It is fresh if either side's nonce is, because the session's name is a function of both. Raises ValueError if the
    material has another length or `session` is no session's name.
    """
    if re.fullmatch(SESSION_PATTERN, session) is None:
        raise ValueError(f"{session!r} does not name a session")
    return _derive(label, material, session)


def resume_proof_key(material: bytes) -> bytes:
    """Derive the HMAC key (32 bytes) of proofs that a pending block is held, from 32 secret bytes of that block.

    Raises ValueError if the material has another length.
    """
    return _derive(Label.RESUME_PROOF, material)


def _derive(label: Label, material: bytes, *fields: str) -> bytes:
    if len(material) != KEY_BYTES:
        raise ValueError(f"a key is derived from {KEY_BYTES} bytes, not from {len(material)}")
    info = "|".join((label, *fields, "sha256")).encode()
    return HKDF(hashes.SHA256(), KEY_BYTES, salt=None, info=info).derive(material)


def _checked_link(link: str) -> str:
    if not is_name(link):
        raise ValueError(f"{link!r} does not name a link")
    return link


def _checked_key_id(key_id: str) -> str:
    if re.fullmatch(_KEY_ID, key_id) is None:
        raise ValueError(f"{key_id!r} does not name a block's key")
    return key_id
