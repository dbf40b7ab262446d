"""The asymptotic decoy rates of Ma et al. 2005 for the experiment of Gobby, Yuan and Shields (GYS).

Source: Ma, Qi, Zhao, Lo, PRA 72, 012326 (2005): no finite counts, efficient error correction assumed at f
= 1.22, half of the detections sifted. The gain is the paper's sum form.
"""

from collections.abc import Callable
from math import exp

from scipy.optimize import brentq, minimize_scalar

from qkdlink.common.distillation.entropy import binary_entropy, entropy_of_bound

ATTENUATION_DB_PER_KM = 0.21
RECEIVER_EFFICIENCY = 0.045
BACKGROUND = 1.7e-6
"""Y_0, probability of a click without light."""
MISALIGNMENT = 0.033
ERROR_CORRECTION_EFFICIENCY = 1.22
SIGNAL = 0.48
"""mu."""
DECOY = 0.05
"""nu."""

_SIFTED = 0.5
_VACUUM_ERROR = 0.5


def optimal_signal(efficiency: float = ERROR_CORRECTION_EFFICIENCY) -> float:
    """Return the mu that solves (1 - mu) e^-mu = f h(e_det) / (1 - h(e_det))."""
    entropy = binary_entropy(MISALIGNMENT)
    target = efficiency * entropy / (1 - entropy)
    return _root(lambda mu: (1 - mu) * exp(-mu) - target, 0.0, 1.0)


def asymptotic_reach_km(signal: float | None = SIGNAL) -> float:
    """Return the reach with infinitely many decoys; `signal` None means mu optimised at each distance."""
    return _reach(lambda km: _rate(km, signal) if signal else _best(lambda mu: _rate(km, mu)))


def vacuum_and_weak_reach_km() -> float:
    """Return the reach with the vacuum and one weak decoy, mu = 0.48 and nu = 0.05."""
    return _reach(_vacuum_and_weak_rate)


def without_decoys_reach_km() -> float:
    """Return the reach without decoys, mu optimised: every multi-photon click is Eve's."""
    return _reach(lambda km: _best(lambda mu: _without_decoys_rate(km, mu)))


def quarter_error_km() -> float:
    """Return the distance at which single photons err with probability 1/4, as under intercept and resend."""
    return _root(lambda km: _single_photon_error(km) - 0.25, 100.0, 300.0)


def bb84_threshold(efficiency: float = 1.0) -> float:
    """Return the error rate at which 1 - h(Q) - f h(Q) vanishes, for single photons and infinite keys."""
    return _root(lambda q: 1 - (1 + efficiency) * binary_entropy(q), 1e-6, 0.49)


def _eta(distance_km: float) -> float:
    return 10 ** (-ATTENUATION_DB_PER_KM * distance_km / 10) * RECEIVER_EFFICIENCY


def _gain(distance_km: float, mu: float) -> float:
    return BACKGROUND + 1 - exp(-_eta(distance_km) * mu)


def _errors(distance_km: float, mu: float) -> float:
    """Return E_mu Q_mu."""
    return _VACUUM_ERROR * BACKGROUND + MISALIGNMENT * (1 - exp(-_eta(distance_km) * mu))


def _single_photon_yield(distance_km: float) -> float:
    return BACKGROUND + _eta(distance_km) * (1 - BACKGROUND)


def _single_photon_error(distance_km: float) -> float:
    errors = _VACUUM_ERROR * BACKGROUND + MISALIGNMENT * _eta(distance_km)
    return errors / _single_photon_yield(distance_km)


def _key_rate(distance_km: float, mu: float, single_photon_yield: float, single_photon_error: float) -> float:
    gain = _gain(distance_km, mu)
    leak = gain * ERROR_CORRECTION_EFFICIENCY * binary_entropy(_errors(distance_km, mu) / gain)
    single = single_photon_yield * mu * exp(-mu)
    return _SIFTED * (single * (1 - entropy_of_bound(single_photon_error)) - leak)


def _rate(distance_km: float, mu: float) -> float:
    return _key_rate(distance_km, mu, _single_photon_yield(distance_km), _single_photon_error(distance_km))


def _vacuum_and_weak_rate(distance_km: float) -> float:
    return _key_rate(distance_km, SIGNAL, *_vacuum_and_weak_bounds(distance_km))


def _vacuum_and_weak_bounds(distance_km: float) -> tuple[float, float]:
    mu, nu = SIGNAL, DECOY
    weak = _gain(distance_km, nu) * exp(nu)
    strong = _gain(distance_km, mu) * exp(mu) * nu**2 / mu**2
    vacuum = (mu**2 - nu**2) / mu**2 * BACKGROUND
    yield_at_least = mu / (mu * nu - nu**2) * (weak - strong - vacuum)
    errors = _errors(distance_km, nu) * exp(nu) - _VACUUM_ERROR * BACKGROUND
    return yield_at_least, errors / (yield_at_least * nu)


def _without_decoys_rate(distance_km: float, mu: float) -> float:
    gain = _gain(distance_km, mu)
    error = _errors(distance_km, mu) / gain
    single = 1 - (1 - (1 + mu) * exp(-mu)) / gain
    if single <= 0:
        return -gain
    leak = ERROR_CORRECTION_EFFICIENCY * binary_entropy(error)
    return _SIFTED * gain * (single * (1 - entropy_of_bound(error / single)) - leak)


def _best(rate: Callable[[float], float]) -> float:
    """Return the largest rate over mu, found on a logarithmic scale: without decoys mu follows the loss."""
    grid = [10 ** (-4 + 0.05 * step) for step in range(80)]
    near = max(grid, key=rate)
    found = minimize_scalar(lambda mu: -rate(mu), bounds=(near / 1.2, near * 1.2), method="bounded")
    return -float(found.fun)


def _reach(rate: Callable[[float], float]) -> float:
    return _root(rate, 1.0, 200.0)


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    return float(brentq(function, low, high))
