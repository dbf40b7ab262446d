"""How blocks are authenticated once a key from generated bits authenticates the line: the configured scheme, built."""

from typing import assert_never

from qkdlink.common.authentication import ed25519, ml_dsa_65
from qkdlink.common.authentication.gmac import Gmac
from qkdlink.common.authentication.hmac_sha256 import HmacSha256
from qkdlink.common.authentication.none import NoAuthentication
from qkdlink.common.authentication.scheme import Authentication, SchemeName
from qkdlink.common.authentication.wegman_carter import Pads, WegmanCarter
from qkdlink.common.errors import ConfigurationError
from qkdlink.common.keys.derivation import Label, session_key
from qkdlink.common.node.vault import Vault
from qkdlink.common.protocol.pinning import Pinning


def keyed_authentication(
    scheme: SchemeName, vault: Vault, material: bytes, session: str, pads: Pads
) -> Authentication:
    """Build the scheme of a session that rests on a link PSK, whose block's `material` (32 bytes) is given.

    Where generated key pays for tags, they are made with `pads`.

    ConfigurationError if the scheme signs and no bootstrap has pinned the peer's key, or pinned it for another scheme.
    """
    match scheme:
        case SchemeName.WEGMAN_CARTER:
            return WegmanCarter(pads)
        case SchemeName.HMAC_SHA256:
            return HmacSha256(session_key(Label.CHECKPOINT_TAGS, material, session))
        case SchemeName.GMAC:
            return Gmac(session_key(Label.CHECKPOINT_GMAC, material, session))
        case SchemeName.ED25519:
            pinned = _pinned(vault)
            return ed25519.ed25519(vault.store.own_key(scheme, ed25519.new_private_key), pinned)
        case SchemeName.ML_DSA_65:
            pinned = _pinned(vault)
            return ml_dsa_65.ml_dsa_65(vault.store.own_key(scheme, ml_dsa_65.new_private_key), pinned)
        case SchemeName.NONE:
            return NoAuthentication()
        case _ as never:
            assert_never(never)


def pinning(scheme: SchemeName, vault: Vault) -> Pinning:
    """Say what a bootstrap's block shows, and what it has to be shown: public keys if the scheme signs."""
    match scheme:
        case SchemeName.ED25519:
            private_key = vault.store.own_key(scheme, ed25519.new_private_key)
            return Pinning(ed25519.public_key(private_key), ed25519.PUBLIC_KEY_BYTES, vault.store.peer_key())
        case SchemeName.ML_DSA_65:
            private_key = vault.store.own_key(scheme, ml_dsa_65.new_private_key)
            return Pinning(
                ml_dsa_65.public_key(private_key), ml_dsa_65.PUBLIC_KEY_BYTES, vault.store.peer_key()
            )
        case _:
            return Pinning()


def _pinned(vault: Vault) -> bytes:
    key = vault.store.peer_key()
    if not key:
        raise ConfigurationError(
            "No bootstrap has pinned the peer's verification key: choose the scheme that the link began with, or have"
            " an operator run `qkdlink bootstrap --again` at both ends."
        )
    return key
