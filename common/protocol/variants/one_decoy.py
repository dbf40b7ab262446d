"""BB84 with weak pulses of two intensities: the decoy tells how many clicks were single photons.

Source: Rusca, Boaron, Grünenfelder, Martin, Zbinden, APL 112, 171104 (2018).
"""

from qkdlink.common.distillation.finite_key import KeyLength, Statistics, one_decoy_outlook, require_one_decoy
from qkdlink.common.distillation.monitors import Monitor
from qkdlink.common.distillation.sampling import Sampling
from qkdlink.common.optics.source import PhotonStatistics
from qkdlink.common.protocol.variants.variant import MONITORS_OF_ANY_LIGHT, Bound, Climb, Terms, Variant


def _length(statistics: Statistics, terms: Terms, sampling: Sampling) -> KeyLength:
    return one_decoy_outlook(statistics, terms.leaked_bits, terms.eps_sec, terms.eps_cor, sampling)


ONE_DECOY = Variant(
    name="one-decoy",
    summary="BB84 with one decoy intensity; Rusca et al., APL 112, 171104 (2018).",
    class_names=("signal", "decoy"),
    statistics=PhotonStatistics.POISSON,
    check_intensities=require_one_decoy,
    bound=Bound("rusca2018", _length),
    search=Climb(
        intensities=(None, None),
        start_intensities=((0.4, 0.65), (0.05, 0.12, 0.22)),
        start_probabilities=((0.08, 0.92), (0.25, 0.75), (0.5, 0.5), (0.8, 0.2)),
    ),
    monitors=MONITORS_OF_ANY_LIGHT | {Monitor.DECOYS},
    weakest_intensity=1e-3,
)
