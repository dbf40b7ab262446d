"""Decoy-state bounds: how many detections vacuum and single photons made, and how many of those erred.

Eve cannot tell the intensity of a pulse, only its photon number; so the counts of all intensities are
mixtures of the same yields, and two or three of them bound what the vacuum and the single photons
contributed. Finite counts are moved to their unfavourable side by Hoeffding's inequality, over the total
of their basis.

The formulas are evaluated as printed; only what they bound (events, errors) is kept between zero and the
number of detections, not the moved counts in between. Where a lower limit lies above the upper limit that
follows from the same moved counts, no such source gives these counts (but for the failure probability): they
are refused.
"""

from dataclasses import dataclass
from math import exp, factorial, log, sqrt

type Tally = tuple[float, ...]
"""One count per intensity class, strongest first, >= 0; expected counts need not be whole."""


class ContradictoryCountsError(ValueError):
    """Counts that no source with these intensities gives: a lower limit lies above its upper limit."""


@dataclass(frozen=True, slots=True)
class IntensityClasses:
    """The intensities of a phase-randomised source, strongest first, and how often each is sent.

    `intensities` are mean photon numbers >= 0, strictly descending; `probabilities` are > 0 and sum to 1.
    """

    intensities: tuple[float, ...]
    probabilities: tuple[float, ...]

    def photon_number_probability(self, photons: int) -> float:
        """tau_n: the probability that a pulse of unknown class carries `photons` photons."""
        return sum(
            probability * exp(-intensity) * intensity**photons / factorial(photons)
            for intensity, probability in zip(self.intensities, self.probabilities, strict=True)
        )

    def moved(self, counts: Tally, deviation: float) -> tuple[float, ...]:
        """n_k^+ or n_k^-: each class' count, moved by `deviation` events (+ up, - down), times e^k / p_k."""
        return tuple(
            exp(intensity) / probability * (count + deviation)
            for intensity, probability, count in zip(
                self.intensities, self.probabilities, counts, strict=True
            )
        )


@dataclass(frozen=True, slots=True)
class PhotonEvents:
    """Lower bounds on the detections of one basis that came from `vacuum` and from `single` photons; >= 0."""

    vacuum: float
    single: float

    @classmethod
    def within(cls, vacuum: float, single: float, detections: Tally) -> "PhotonEvents":
        """Keep both limits from going below zero, and their sum from exceeding the detections.

        The vacuum gives way: what is left of it is worth more bits than what is left of the single photons.
        """
        single = min(max(0.0, single), sum(detections))
        return cls(min(max(0.0, vacuum), sum(detections) - single), single)


def hoeffding_deviation(counts: Tally, failure: float) -> float:
    """delta = sqrt(N/2 ln(1/failure)): how far each class may lie off, N being the total over all classes."""
    return sqrt(-sum(counts) / 2 * log(failure))


def two_decoy_events(classes: IntensityClasses, detections: Tally, failure: float) -> PhotonEvents:
    """Bound the vacuum and single-photon detections of one basis from three intensities.

    `failure` is the probability allowed to each use of Hoeffding's inequality. Needs mu1 > mu2 + mu3 and
    mu2 > mu3 >= 0; ContradictoryCountsError where no source gives these counts.
    Source: Lim et al., PRA 89, 022307 (2014), Eqs. (2) and (3).
    """
    mu1, mu2, mu3 = classes.intensities
    deviation = hoeffding_deviation(detections, failure)
    upper, lower = classes.moved(detections, deviation), classes.moved(detections, -deviation)
    tau_0, tau_1 = classes.photon_number_probability(0), classes.photon_number_probability(1)

    vacuum = max(0.0, tau_0 * (mu2 * lower[2] - mu3 * upper[1]) / (mu2 - mu3))
    more_than_one_photon = (mu2**2 - mu3**2) / mu1**2 * (upper[0] - vacuum / tau_0)
    # Printed mu1 (mu2 - mu3) - mu2^2 + mu3^2; factored, legal intensities cannot cancel it to zero.
    denominator = (mu2 - mu3) * (mu1 - (mu2 + mu3))
    single = tau_1 * mu1 * (lower[1] - upper[2] - more_than_one_photon) / denominator
    _refuse_contradiction(classes, upper, vacuum, single)
    return PhotonEvents.within(vacuum, single, detections)


def one_decoy_events(
    classes: IntensityClasses, detections: Tally, errors: Tally | None, failure: float
) -> PhotonEvents:
    """Bound the vacuum and single-photon detections of one basis from two intensities and their errors.

    Without a vacuum class the vacuum is bounded from above by its errors: half of what it makes is wrong. Errors that
    are not known yet (None) are taken for as few as the counts allow. Needs mu1 > mu2 > 0; ContradictoryCountsError
    where no source gives these counts. Source: Rusca et al., APL 112, 171104 (2018), Eqs. (A16) with the weaker
    intensity, (A17), (A19); (A18) is printed without its factor e^k / p_k.
    """
    mu1, mu2 = classes.intensities
    deviation = hoeffding_deviation(detections, failure)
    upper, lower = classes.moved(detections, deviation), classes.moved(detections, -deviation)
    tau_0, tau_1 = classes.photon_number_probability(0), classes.photon_number_probability(1)

    vacuum = max(0.0, tau_0 / (mu1 - mu2) * (mu1 * lower[1] - mu2 * upper[0]))
    if errors is None:
        vacuum_at_most = vacuum
    else:
        upper_errors = classes.moved(errors, hoeffding_deviation(errors, failure))
        vacuum_at_most = 2 * (tau_0 * upper_errors[1] + deviation)
        _refuse_above("vacuum detections", vacuum, vacuum_at_most)
    noise = (mu1**2 - mu2**2) / mu1**2 * vacuum_at_most / tau_0
    single = tau_1 * mu1 / (mu2 * (mu1 - mu2)) * (lower[1] - (mu2 / mu1) ** 2 * upper[0] - noise)
    _refuse_contradiction(classes, upper, vacuum, single)
    return PhotonEvents.within(vacuum, single, detections)


def single_photon_errors(classes: IntensityClasses, errors: Tally, failure: float) -> float:
    """Bound from above the errors that single photons made, from the two weakest intensities; >= 0.

    ContradictoryCountsError where the bound lies below zero.
    Source: Lim et al. (2014), Eq. (4), with three classes; Rusca et al. (2018), Eq. (A22), with two.
    """
    stronger, weaker = classes.intensities[-2:]
    deviation = hoeffding_deviation(errors, failure)
    upper, lower = classes.moved(errors, deviation), classes.moved(errors, -deviation)
    tau_1 = classes.photon_number_probability(1)
    most = tau_1 * (upper[-2] - lower[-1]) / (stronger - weaker)
    _refuse_above("errors of single photons", 0.0, most)
    return most


def _refuse_contradiction(
    classes: IntensityClasses, upper: tuple[float, ...], vacuum: float, single: float
) -> None:
    """Hold the lower limits against what each class has room for.

    e^k n_k / p_k is the sum of s_n k^n / (n! tau_n) over the photon numbers n, with no term below zero.
    """
    tau_0, tau_1 = classes.photon_number_probability(0), classes.photon_number_probability(1)
    _refuse_above("vacuum detections", vacuum, tau_0 * min(upper))
    rooms = [
        tau_1 / intensity * (moved - vacuum / tau_0)
        for intensity, moved in zip(classes.intensities, upper, strict=True)
        if intensity > 0.0
    ]
    _refuse_above("single-photon detections", single, min(rooms))


def _refuse_above(what: str, at_least: float, at_most: float) -> None:
    if at_least > at_most:
        raise ContradictoryCountsError(
            f"no source with these intensities gives these counts, which ask for at least {at_least:.6g} {what}"
            f" and leave room for at most {at_most:.6g}: look at the order of the classes"
        )
