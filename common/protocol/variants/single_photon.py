"""BB84 with exactly one photon in each pulse, and a test error rate that is agreed before light.

Source: Tomamichel, Lim, Gisin, Renner, Nat. Commun. 3, 634 (2012).
"""

from qkdlink.common.distillation.finite_key import KeyLength, Statistics, single_photon_length
from qkdlink.common.distillation.sampling import Sampling
from qkdlink.common.optics.source import PhotonStatistics
from qkdlink.common.protocol.variants.variant import MONITORS_OF_ANY_LIGHT, Bound, EveryBias, Terms, Variant


def require_no_intensities(intensities: tuple[float, ...]) -> None:
    """Raise ValueError if there is a mean photon number: an ideal source has none to choose."""
    if intensities:
        raise ValueError("a single-photon source has no intensities: leave the list empty")


def _length(statistics: Statistics, terms: Terms, sampling: Sampling) -> KeyLength:
    if terms.tolerated_qber is None:
        raise ValueError("the single-photon bound needs the error rate that was agreed before light")
    return single_photon_length(
        sum(statistics.key_detections),
        sum(statistics.test_detections),
        terms.tolerated_qber,
        terms.leaked_bits,
        terms.eps_sec,
        terms.eps_cor,
        sampling,
    )


SINGLE_PHOTON = Variant(
    name="single-photon",
    summary="BB84 with an ideal single-photon source; Tomamichel et al., Nat. Commun. 3, 634 (2012).",
    class_names=("signal",),
    statistics=PhotonStatistics.SINGLE_PHOTON,
    check_intensities=require_no_intensities,
    bound=Bound("tomamichel2012", _length),
    search=EveryBias(),
    monitors=MONITORS_OF_ANY_LIGHT,
    honest_abort=1e-6,
)
