"""What theory expects of a point of a sweep: the curve beside the measured points.

Error rates are those of the emulated model (`qkdlink.common.optics.expectation`), changed by the attack as its paper
has it; None where there is no closed form. The key length is the bound of the protocol at the expected counts, with so
much disclosed as the plan of the link assumes: measured points scatter about it as counts do, and lie a little off
where reconciliation does better or worse. An abort threshold is a step.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from qkdlink.common.distillation.entropy import entropy_of_bound
from qkdlink.common.distillation.finite_key import Statistics
from qkdlink.common.optics.expectation import Expectation, expected_statistics
from qkdlink.common.optics.source import PhotonStatistics
from qkdlink.common.protocol.parameters import LinkParameters
from qkdlink.common.protocol.variants.variant import Terms
from qkdlink.eve.quantum_attacks.base import QuantumAttack
from qkdlink.eve.quantum_attacks.beam_splitting import BeamSplitting
from qkdlink.eve.quantum_attacks.breidbart import Breidbart
from qkdlink.eve.quantum_attacks.intercept_resend import Bases, InterceptResend
from qkdlink.eve.quantum_attacks.transparent import Transparent
from qkdlink.eve.quantum_attacks.trojan_horse import TrojanHorse

EFFICIENCY = 1.16
"""Disclosed bits over n h(e), as links are planned with."""


@dataclass(frozen=True, slots=True)
class Expected:
    """Fractions; None where theory has no closed form for these attacks."""

    qber_key: float | None
    qber_test: float | None
    secret_fraction: float | None
    """Secret bits per pulse."""


NOTHING = Expected(None, None, 0.0)
"""Where no settings give a key: no rates, and no secret bits."""


def expected_of(parameters: LinkParameters, attacks: Sequence[QuantumAttack]) -> Expected:
    """Expect a block under at most one attack that changes error rates."""
    honest = expected_statistics(
        parameters.source, parameters.fibre, parameters.detector, parameters.key_basis_probability
    )
    added = _added_errors(parameters, attacks)
    if added is None:
        return Expected(None, None, None)
    key, test = (
        qber + more * (1 - 2 * qber)
        for qber, more in zip((honest.qber_key, honest.qber_test), added, strict=True)
    )
    return Expected(key, test, _secret_bits(parameters, honest, key, test) / parameters.block_pulses)


def _added_errors(parameters: LinkParameters, attacks: Sequence[QuantumAttack]) -> tuple[float, float] | None:
    """Return the share of bits, 0..1, that an attack turns into coins' wrong halves: in the key basis, the test basis.

    Source: Bennett, Bessette, Brassard, Salvail, Smolin, J. Cryptology 5, 3 (1992); `docs/attacks.md`, section 3.
    """
    single = parameters.source.statistics is PhotonStatistics.SINGLE_PHOTON
    match [attack for attack in attacks if not isinstance(attack, Transparent | BeamSplitting | TrojanHorse)]:
        case []:
            return 0.0, 0.0
        case [Breidbart(fraction=fraction)] if single:
            return fraction / 4, fraction / 4
        case [InterceptResend(fraction=fraction, bases=Bases.RANDOM)] if single:
            return fraction / 4, fraction / 4
        case [InterceptResend(fraction=fraction, bases=Bases.KEY)] if single:
            return 0.0, fraction / 2
        case _:
            return None


def _secret_bits(parameters: LinkParameters, honest: Expectation, qber_key: float, qber_test: float) -> float:
    pulses = parameters.block_pulses
    key = tuple(pulses * rate for rate in honest.sifted_key)
    test = tuple(pulses * rate for rate in honest.sifted_test)
    leaked = EFFICIENCY * sum(key) * entropy_of_bound(qber_key)
    if parameters.tolerated_qber is not None and qber_test > parameters.tolerated_qber:
        return 0
    statistics = Statistics(
        parameters.intensities,
        parameters.probabilities,
        key,
        tuple(count * qber for count, qber in zip(key, honest.qber_key_by_class, strict=True)),
        test,
        tuple(count * qber for count, qber in zip(test, honest.qber_test_by_class, strict=True)),
    )
    terms = Terms(leaked, parameters.eps_sec, parameters.eps_cor, parameters.tolerated_qber)
    return parameters.variant.length(statistics, terms).secret_bits
