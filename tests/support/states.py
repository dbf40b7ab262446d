"""Single states of light, as tests launch them."""

from qkdlink.common.optics.states import POLARISATIONS


def pulse_state(polarisation: int, photons: int) -> int:
    """The byte of a pulse: polarisation index 0..7, photon number 0..31."""
    return polarisation + POLARISATIONS * photons
