"""BB84 with weak pulses of three intensities, the weakest nearly a vacuum.

Source: Lim, Curty, Walenta, Xu, Zbinden, PRA 89, 022307 (2014).
"""

from qkdlink.common.distillation.finite_key import KeyLength, Statistics, require_two_decoys, two_decoy_length
from qkdlink.common.distillation.monitors import Monitor
from qkdlink.common.distillation.sampling import Sampling
from qkdlink.common.optics.source import PhotonStatistics
from qkdlink.common.protocol.variants.variant import MONITORS_OF_ANY_LIGHT, Bound, Climb, Terms, Variant

WEAKEST_INTENSITY = 2e-4
"""What a shut modulator lets through. Source: Lim et al. (2014)."""


def _length(statistics: Statistics, terms: Terms, sampling: Sampling) -> KeyLength:
    return two_decoy_length(statistics, terms.leaked_bits, terms.eps_sec, terms.eps_cor, sampling)


TWO_DECOY = Variant(
    name="two-decoy",
    summary="BB84 with two decoy intensities; Lim et al., PRA 89, 022307 (2014).",
    class_names=("signal", "decoy", "vacuum"),
    statistics=PhotonStatistics.POISSON,
    check_intensities=require_two_decoys,
    bound=Bound("lim2014", _length),
    search=Climb(
        intensities=(None, None, WEAKEST_INTENSITY),
        start_intensities=((0.4, 0.65), (0.05, 0.12, 0.22), (0.001,)),
        start_probabilities=(
            (0.03, 0.47, 0.5),
            (0.1, 0.5, 0.4),
            (0.25, 0.6, 0.15),
            (0.45, 0.35, 0.2),
            (0.75, 0.15, 0.1),
        ),
    ),
    monitors=MONITORS_OF_ANY_LIGHT | {Monitor.DECOYS, Monitor.VACUUM_GAIN},
)
