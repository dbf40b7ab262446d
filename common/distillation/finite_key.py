"""Finite-key length: how many bits of a block remain secret, for the three protocols.

Every length is the smooth min-entropy that the counts guarantee, less what error correction told Eve,
less a constant for the failure probabilities; evaluated in double precision and rounded down once, at the
end. It is computed once, for a block whose size was fixed before its light: asking again and again, and
stopping when the answer is good, would void it. The step from the test basis to the key basis is a choice
(`qkdlink.common.distillation.sampling`): as printed, or exact.
"""

from dataclasses import dataclass, field
from math import floor, inf, log2

from qkdlink.common.distillation.decoy import (
    IntensityClasses,
    PhotonEvents,
    Tally,
    one_decoy_events,
    single_photon_errors,
    two_decoy_events,
)
from qkdlink.common.distillation.entropy import entropy_of_bound
from qkdlink.common.distillation.sampling import Sampling, decoy_phase_error_rate, tolerated_phase_error_rate

TWO_DECOY_TERMS = 21
"""Equal failure probabilities that sum to eps_sec. Source: Lim et al. (2014), appendix B."""

ONE_DECOY_TERMS = 19
"""Equal failure probabilities that sum to eps_sec. Source: Rusca et al. (2018), Eq. (A24)."""

_NO_KEY_PHASE_ERROR_RATE = 0.5


@dataclass(frozen=True, slots=True)
class Statistics:
    """What was sent and counted in one block, per intensity class, strongest first.

    `intensities` are mean photon numbers, strictly descending, `probabilities` > 0 with sum 1. Counts are
    whole, except where a block is planned.
    `key_errors` are the errors that reconciliation corrected: None before it, or where the method needs none.
    """

    intensities: tuple[float, ...]
    probabilities: tuple[float, ...]
    key_detections: Tally
    key_errors: Tally | None
    test_detections: Tally
    test_errors: Tally

    @property
    def classes(self) -> IntensityClasses:
        """The intensities and how often each was sent."""
        return IntensityClasses(self.intensities, self.probabilities)


@dataclass(frozen=True, slots=True)
class LengthTerms:
    """What a length was added up from, unrounded: events that are worth a bit each, and bits that were taken off."""

    failure_terms: int
    """How many equal failure probabilities share eps_sec."""
    vacuum_events: float
    """Key-basis detections that came from no photon, at least."""
    single_photon_events: float
    """Key-basis detections that came from one photon, at least."""
    test_single_photon_events: float
    test_single_photon_errors: float
    """Errors of single photons in the test basis, at most."""
    phase_error_rate: float
    phase_error_bits: float
    """What the phase errors cost: single photons times the entropy of the rate."""
    secrecy_bits: float
    """What the failure probabilities of secrecy cost."""
    correctness_bits: float
    """What is paid for the verification tag."""


@dataclass(frozen=True, slots=True)
class KeyLength:
    """The length of a secret key, the two bounds that it rests on, and how far it was from none."""

    secret_bits: int
    """Bits that may leave privacy amplification; 0 where the block cannot pay for itself."""
    single_photon_events: float
    """Unrounded lower bound on the key-basis detections that came from single photons, >= 0."""
    phase_error_rate: float
    """Upper bound on their phase error rate, 0..0.5; 0.5 where there is no key."""
    balance_bits: float = field(default=-inf, compare=False)
    """The length before rounding: below zero by what the block could not pay, -inf without single photons."""
    contradiction: str = field(default="", compare=False)
    """Why counts that no such source gives make no key, in one sentence; a link's own bound refuses so."""
    terms: LengthTerms | None = field(default=None, compare=False)
    """What it was added up from; None where nothing was."""


def two_decoy_length(
    statistics: Statistics,
    leaked_bits: float,
    eps_sec: float,
    eps_cor: float,
    sampling: Sampling = Sampling.PUBLISHED,
) -> KeyLength:
    """Length of the key of a two-decoy BB84 block: three classes with mu1 > mu2 + mu3, mu2 > mu3 >= 0.

    `leaked_bits` >= 0 is what reconciliation disclosed; a verification tag of log2(2/eps_cor) bits is paid by
    the formula. `eps_sec`, `eps_cor` in (0, 1). ValueError where the intensities do not fit the method, and its
    kind ContradictoryCountsError where no source with these intensities gives these counts.
    Source: Lim, Curty, Walenta, Xu, Zbinden, PRA 89, 022307 (2014), Eq. (1).
    """
    require_two_decoys(statistics.intensities)
    failure = eps_sec / TWO_DECOY_TERMS
    classes = statistics.classes
    return _decoy_length(
        two_decoy_events(classes, statistics.key_detections, failure),
        two_decoy_events(classes, statistics.test_detections, failure),
        single_photon_errors(classes, statistics.test_errors, failure),
        _Price(leaked_bits, TWO_DECOY_TERMS, failure, eps_cor),
        sampling,
    )


def one_decoy_length(
    statistics: Statistics,
    leaked_bits: float,
    eps_sec: float,
    eps_cor: float,
    sampling: Sampling = Sampling.PUBLISHED,
) -> KeyLength:
    """Length of the key of a one-decoy BB84 block: two classes with mu1 > mu2 > 0.

    Arguments as for `two_decoy_length`; here the errors corrected in the key basis are needed as well,
    ValueError without them. The vacuum bound (A16) takes the weaker intensity; gamma carries 19^2, the number
    of failure terms of this proof, where the paper prints the 21^2 of its predecessor.
    Source: Rusca, Boaron, Grünenfelder, Martin, Zbinden, APL 112, 171104 (2018), Eq. (A25).
    """
    if statistics.key_errors is None:
        raise ValueError("the one-decoy bound needs the errors that were corrected in the key basis")
    return one_decoy_outlook(statistics, leaked_bits, eps_sec, eps_cor, sampling)


def one_decoy_outlook(
    statistics: Statistics, leaked_bits: float, eps_sec: float, eps_cor: float, sampling: Sampling
) -> KeyLength:
    """As `one_decoy_length`, also before error correction: without `key_errors`, the best that can become of it."""
    require_one_decoy(statistics.intensities)
    failure = eps_sec / ONE_DECOY_TERMS
    classes = statistics.classes
    return _decoy_length(
        one_decoy_events(classes, statistics.key_detections, statistics.key_errors, failure),
        one_decoy_events(classes, statistics.test_detections, statistics.test_errors, failure),
        single_photon_errors(classes, statistics.test_errors, failure),
        _Price(leaked_bits, ONE_DECOY_TERMS, failure, eps_cor),
        sampling,
    )


def single_photon_length(
    key_bits: float,
    test_bits: float,
    tolerated_qber: float,
    leaked_bits: float,
    eps_sec: float,
    eps_cor: float,
    sampling: Sampling = Sampling.PUBLISHED,
) -> KeyLength:
    """Length of the key of a single-photon BB84 block that passed its test.

    `key_bits` were sifted in one basis and `test_bits` compared in the other; their error rate was at most
    `tolerated_qber` (0..1), which both parties fixed before the light. The rest as for `two_decoy_length`.
    Source: Tomamichel, Lim, Gisin, Renner, Nat. Commun. 3, 634 (2012), with an ideal source and measurement
    (q = 1); the logarithm stands under the root and eps_sec is squared.
    """
    if key_bits == 0 or test_bits == 0:
        return _no_key(float(key_bits))
    phase_error_rate = tolerated_phase_error_rate(sampling, key_bits, test_bits, tolerated_qber, eps_sec)
    entropy = entropy_of_bound(phase_error_rate)
    length = key_bits * (1.0 - entropy) - leaked_bits - (1.0 - 2.0 * log2(eps_sec) - log2(eps_cor))
    terms = LengthTerms(
        failure_terms=1,
        vacuum_events=0.0,
        single_photon_events=float(key_bits),
        test_single_photon_events=float(test_bits),
        test_single_photon_errors=tolerated_qber * test_bits,
        phase_error_rate=phase_error_rate,
        phase_error_bits=key_bits * entropy,
        secrecy_bits=1.0 - 2.0 * log2(eps_sec),
        correctness_bits=-log2(eps_cor),
    )
    return _rounded_down(length, terms)


@dataclass(frozen=True, slots=True)
class _Price:
    """What is taken off the entropy of a block, and the term that its failures share."""

    leaked_bits: float
    failure_terms: int
    failure: float
    eps_cor: float

    @property
    def bits(self) -> float:
        """Leaked bits, 6 log2(terms / eps_sec) and log2(2 / eps_cor)."""
        return self.leaked_bits - 6.0 * log2(self.failure) + 1.0 - log2(self.eps_cor)


def _decoy_length(
    key: PhotonEvents, test: PhotonEvents, test_errors: float, price: _Price, sampling: Sampling
) -> KeyLength:
    """The step that both decoy protocols share: Lim et al. (2014), Eqs. (5) and (1)."""
    if key.single <= 0.0 or test.single <= 0.0:
        return _no_key(key.single)
    phase_error_rate = decoy_phase_error_rate(sampling, key.single, test.single, test_errors, price.failure)
    phase_error_bits = key.single * entropy_of_bound(phase_error_rate)
    length = key.vacuum + key.single - phase_error_bits - price.bits
    terms = LengthTerms(
        failure_terms=price.failure_terms,
        vacuum_events=key.vacuum,
        single_photon_events=key.single,
        test_single_photon_events=test.single,
        test_single_photon_errors=test_errors,
        phase_error_rate=phase_error_rate,
        phase_error_bits=phase_error_bits,
        secrecy_bits=-6.0 * log2(price.failure),
        correctness_bits=1.0 - log2(price.eps_cor),
    )
    return _rounded_down(length, terms)


def _rounded_down(length: float, terms: LengthTerms) -> KeyLength:
    secret_bits = floor(length)
    if secret_bits <= 0:
        return _no_key(terms.single_photon_events, length, terms)
    return KeyLength(secret_bits, terms.single_photon_events, terms.phase_error_rate, length, terms=terms)


def _no_key(single_photon_events: float, length: float = -inf, terms: LengthTerms | None = None) -> KeyLength:
    return KeyLength(0, single_photon_events, _NO_KEY_PHASE_ERROR_RATE, length, terms=terms)


def require_two_decoys(intensities: tuple[float, ...]) -> None:
    """Raise ValueError unless these are the mean photon numbers that the bound of Lim et al. 2014 is for."""
    match intensities:
        case (mu1, mu2, mu3) if mu1 > mu2 + mu3 and mu2 > mu3 >= 0.0:
            return
    raise ValueError("two decoys need three intensities with mu1 > mu2 + mu3 and mu2 > mu3 >= 0")


def require_one_decoy(intensities: tuple[float, ...]) -> None:
    """Raise ValueError unless these are the mean photon numbers that the bound of Rusca et al. 2018 is for."""
    match intensities:
        case (mu1, mu2) if mu1 > mu2 > 0.0:
            return
    raise ValueError("one decoy needs two intensities with mu1 > mu2 > 0")
