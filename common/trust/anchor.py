"""What a link may trust when its nodes meet for the first time."""

from enum import StrEnum


class AnchorName(StrEnum):
    """The trust anchors; each serves for the bootstrap alone, a few minutes, and breaking it later opens nothing."""

    PKI = "pki"
    """X.509: an authority that both believe vouches for names."""
    PSK = "psk"
    """A secret that was delivered out of band."""
    WEB_OF_TRUST = "web-of-trust"
    """OpenPGP: an introducer whom the keyring trusts has certified the peer's key."""
    NONE = "none"
    """Nothing: whoever answers is believed, so that the man in the middle can be shown to win."""
