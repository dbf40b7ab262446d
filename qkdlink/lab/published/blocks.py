"""What published decoy simulations share: expected counts at a fixed number of sifted bits, and the leak."""

from collections.abc import Sequence
from dataclasses import dataclass

from qkdlink.common.distillation.decoy import Tally
from qkdlink.common.distillation.entropy import entropy_of_bound
from qkdlink.common.distillation.finite_key import Statistics

ERROR_CORRECTION_EFFICIENCY = 1.16
"""Leak over n h(QBER) that both decoy papers assume."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the papers optimise; `key_basis_probability` is Alice's and Bob's."""

    intensities: tuple[float, ...]
    probabilities: tuple[float, ...]
    key_basis_probability: float

    @property
    def are_possible(self) -> bool:
        """Whether they can be sent, within what the bounds can be asked for."""
        stronger, *weaker = self.intensities
        return (
            1.0 >= stronger > sum(weaker)
            and all(high > low for high, low in zip(self.intensities, weaker, strict=False))
            and (len(weaker) == 2 or weaker[-1] > 0.001)
            and min(self.probabilities) > 0.001
            and 0.001 < self.key_basis_probability < 0.999
        )


@dataclass(frozen=True, slots=True)
class ExpectedBlock:
    """A block of `pulses`, its expected counts and the bits that its error correction is expected to leak."""

    pulses: float
    statistics: Statistics
    leaked_bits: float


def expected_block(
    settings: Settings, rates: Sequence[float], error_rates: Sequence[float], key_bits: float
) -> ExpectedBlock:
    """Return the block whose key basis is expected to hold `key_bits`.

    `rates` are clicks, `error_rates` errors, per pulse of each class when the bases agree.
    """
    per_pulse = sum(p * rate for p, rate in zip(settings.probabilities, rates, strict=True))
    pulses = key_bits / (settings.key_basis_probability**2 * per_pulse)
    in_key, in_test = settings.key_basis_probability**2, (1 - settings.key_basis_probability) ** 2

    def counts(share: float, per_class: Sequence[float]) -> Tally:
        return tuple(
            pulses * share * p * rate for p, rate in zip(settings.probabilities, per_class, strict=True)
        )

    statistics = Statistics(
        settings.intensities,
        settings.probabilities,
        counts(in_key, rates),
        key_errors := counts(in_key, error_rates),
        counts(in_test, rates),
        counts(in_test, error_rates),
    )
    leaked_bits = ERROR_CORRECTION_EFFICIENCY * key_bits * entropy_of_bound(sum(key_errors) / key_bits)
    return ExpectedBlock(pulses, statistics, leaked_bits)
