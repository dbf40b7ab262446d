"""Every protocol of this version, written out: a new one is its file and one line here."""

from qkdlink.common.errors import ConfigurationError
from qkdlink.common.protocol.variants.one_decoy import ONE_DECOY
from qkdlink.common.protocol.variants.single_photon import SINGLE_PHOTON
from qkdlink.common.protocol.variants.two_decoy import TWO_DECOY
from qkdlink.common.protocol.variants.variant import Variant

VARIANTS: dict[str, Variant] = {
    variant.name: variant
    for variant in (
        ONE_DECOY,
        TWO_DECOY,
        SINGLE_PHOTON,
    )
}
"""By name, in the order in which they are listed."""


def variant_named(name: str) -> Variant:
    """Return the protocol of this name. Raises ConfigurationError that lists the known ones."""
    try:
        return VARIANTS[name]
    except KeyError:
        known = ", ".join(VARIANTS)
        raise ConfigurationError(f"There is no protocol '{name}'; there are {known}.") from None


def known_name(name: str) -> str:
    """Return the name of a protocol as it is. Raises ValueError, as a model's validator does, if there is none."""
    if name not in VARIANTS:
        *others, last = (f"'{known}'" for known in VARIANTS)
        raise ValueError(f"it must be {', '.join(others)} or {last}")
    return name
