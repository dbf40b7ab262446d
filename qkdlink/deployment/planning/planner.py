"""Choosing what to send: the intensities, probabilities and basis bias that make the most of a block.

A plan is made before light, from what the link is expected to show; the optimiser is deterministic, and its
answer lies on the grid that choices can be drawn from.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from math import ceil, floor, log10, sqrt

from qkdlink.common.distillation.binomial import most_hits
from qkdlink.common.errors import ConfigurationError
from qkdlink.common.optics.presets import Preset
from qkdlink.common.optics.source import BASIS_CHOICES
from qkdlink.common.protocol.parameters import LARGEST_BLOCK, LinkParameters, ProtocolName
from qkdlink.deployment.planning.optimiser import cheapest
from qkdlink.deployment.planning.prospect import (
    Prospect,
    Settings,
    Task,
    decoy_prospect,
    dependable_bits,
    expectation,
    single_photon_prospect,
)

WEAKEST_INTENSITY = 2e-4
"""The third of three intensities: what a shut modulator lets through. Source: Lim et al. (2014)."""

HONEST_ABORT = 1e-6
"""How often a link without Eve may exceed its tolerated error rate."""

_IMPOSSIBLE = 2e18
"""Cost, in bits, of settings that cannot be sent."""

_STARTS = 3
"""How many of the starts are climbed from, for a plan; one is enough to ask whether there is a key."""

_FREE_INTENSITIES: dict[ProtocolName, tuple[float | None, ...]] = {
    ProtocolName.ONE_DECOY: (None, None),
    ProtocolName.TWO_DECOY: (None, None, WEAKEST_INTENSITY),
    ProtocolName.SINGLE_PHOTON: (),
}

_START_INTENSITIES = ((0.4, 0.65), (0.05, 0.12, 0.22), (0.001,))
_START_PROBABILITIES = {
    2: ((0.08, 0.92), (0.25, 0.75), (0.5, 0.5), (0.8, 0.2)),
    3: ((0.03, 0.47, 0.5), (0.1, 0.5, 0.4), (0.25, 0.6, 0.15), (0.45, 0.35, 0.2), (0.75, 0.15, 0.1)),
}
_START_BIASES = (0.55, 0.65, 0.75, 0.9)
"""Small blocks want few strong pulses and many tests: a start too far from that sees no single photons."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send, on the grid of choices, and what to expect of it; Alice and Bob share the basis bias."""

    task: Task
    intensities: tuple[float, ...]
    """Mean photon number per class, strongest first; empty for the single-photon source."""
    probabilities: tuple[float, ...]
    key_basis_probability: float
    tolerated_qber: float | None
    """For single photons: the test error rate above which the block is given up; fixed before light."""
    expected_qber: float
    expected_sifted_bits: int
    """Key-basis bits."""
    expected_test_bits: int
    expected_leaked_bits: int
    expected_secret_bits: int

    def link_parameters(self, *, reproducible: bool = False) -> LinkParameters:
        """Return what both nodes have to agree on to follow this plan."""
        return LinkParameters(
            protocol=self.task.protocol,
            block_pulses=self.task.block_pulses,
            intensities=self.intensities,
            probabilities=self.probabilities,
            key_basis_probability=self.key_basis_probability,
            expected_qber=self.expected_qber,
            tolerated_qber=self.tolerated_qber,
            eps_sec=self.task.eps_sec,
            eps_cor=self.task.eps_cor,
            fibre=self.task.fibre,
            detector=self.task.detector,
            reproducible=reproducible,
        )


def task_for(
    preset: Preset, block_pulses: int, protocol: ProtocolName | None = None, distance_km: float | None = None
) -> Task:
    """Return the task of a preset, at its own distance and with its own protocol unless told otherwise.

    The preset's published intensities hold for its own protocol only.
    """
    chosen = ProtocolName(preset.protocol) if protocol is None else protocol
    return Task(
        protocol=chosen,
        fibre=preset.fibre(distance_km),
        detector=preset.detector,
        block_pulses=block_pulses,
        fixed_intensities=preset.intensities if chosen == preset.protocol else _FREE_INTENSITIES[chosen],
        error_correction_efficiency=preset.error_correction_efficiency,
    )


def plan(task: Task) -> Plan:
    """Return the settings with the longest expected key, the same ones for the same task.

    ConfigurationError where no settings are expected to give a key that pays for its block; it says which block or
    which distance would.
    """
    found = best_plan(task)
    if found is None or found.expected_secret_bits < task.least_secret_bits:
        raise ConfigurationError(_why_not(task, found))
    return found


def smallest_block(task: Task, secret_bits: int) -> int | None:
    """Return the number of pulses, to two digits, of the smallest block expected to give `secret_bits`.

    The task's own block size is ignored. None where no block of at most `LARGEST_BLOCK` pulses does.
    """
    return _smallest(task, lambda block: _gives(block, secret_bits))


def smallest_block_with_key(task: Task) -> int | None:
    """Return, to two digits, the smallest block of which 49 in 50 give `least_secret_bits`; None if there is none.

    The task's own block size is ignored. Everything that names a block that would do asks here.
    """
    return _smallest(task, _makes_keys)


def _smallest(task: Task, is_enough: Callable[[Task], bool]) -> int | None:
    low, high = 3.0, log10(LARGEST_BLOCK)
    if not is_enough(replace(task, block_pulses=LARGEST_BLOCK)):
        return None
    while high - low > 0.01:
        middle = (low + high) / 2
        if is_enough(replace(task, block_pulses=round(10**middle))):
            high = middle
        else:
            low = middle
    return min(_two_digits_up(10**high), LARGEST_BLOCK)


def furthest_distance_km(task: Task) -> float | None:
    """Return the distance, in whole km, up to which 49 in 50 of the task's blocks give `least_secret_bits`.

    The task's own distance is ignored. None where not even 1 km gives one.
    """
    if not _makes_keys(_at_distance(task, 1.0)):
        return None
    near, far = 1.0, 500.0
    while far - near > 0.5:
        middle = (near + far) / 2
        if _makes_keys(_at_distance(task, middle)):
            near = middle
        else:
            far = middle
    return float(floor(near))


def tolerated_qber(expected_qber: float, expected_test_bits: float) -> float | None:
    """Return the test error rate that an honest link exceeds less often than `HONEST_ABORT`, to four digits.

    Half of that probability is spent on a test that is five standard deviations short. None where so few
    bits are tested that nothing could be tolerated.
    """
    test_bits = floor(expected_test_bits - 5 * sqrt(expected_test_bits))
    if test_bits < 1:
        return None
    most_errors = most_hits(test_bits, expected_qber, HONEST_ABORT / 2)
    return min(1.0, ceil(most_errors / test_bits * 1e4) / 1e4)


@lru_cache(maxsize=256)
def best_plan(task: Task, starts: int = _STARTS) -> Plan | None:
    """Return what `plan` returns, or None where no settings give a key; remembered while the process runs."""
    if task.protocol is ProtocolName.SINGLE_PHOTON:
        return _best_single_photon_plan(task)
    settings = _climb(task, _optimum(task, starts).on_grid())
    prospect = decoy_prospect(task, settings)
    if prospect.length.secret_bits == 0:
        return None
    return _planned(task, settings, prospect, None)


def _optimum(task: Task, start_count: int) -> Settings:
    """Return the best settings off the grid."""

    def cost(free: Sequence[float]) -> float:
        settings = _settings(task, free)
        return -decoy_prospect(task, settings).balance_bits if settings.are_possible else _IMPOSSIBLE

    return _settings(task, cheapest(cost, _starts(task), climb_from=start_count, tolerance=0.5))


def _starts(task: Task) -> Iterator[list[float]]:
    choices = [
        grid for grid, fixed in zip(_START_INTENSITIES, task.fixed_intensities, strict=False) if fixed is None
    ]
    for free, probabilities, bias in product(
        product(*choices), _START_PROBABILITIES[len(task.fixed_intensities)], _START_BIASES
    ):
        yield [*free, *probabilities[:-1], bias]


def _settings(task: Task, free: Sequence[float]) -> Settings:
    """Read the optimiser's point: the free intensities, all probabilities but the last, the bias."""
    remaining = iter(free)
    intensities = tuple(next(remaining) if fixed is None else fixed for fixed in task.fixed_intensities)
    *shares, bias = remaining
    return Settings(intensities, (*shares, 1.0 - sum(shares)), bias)


def _climb(task: Task, settings: Settings) -> Settings:
    """Walk to the best neighbour on the grid until there is none."""
    balance = decoy_prospect(task, settings).balance_bits
    while True:
        candidates = [candidate for candidate in settings.neighbours() if candidate.are_possible]
        balances = [decoy_prospect(task, candidate).balance_bits for candidate in candidates]
        if max(balances) <= balance:
            return settings
        balance = max(balances)
        settings = candidates[balances.index(balance)]


def _best_single_photon_plan(task: Task) -> Plan | None:
    """Try every bias on the grid: there is nothing else to choose."""
    plans = [
        candidate
        for step in range(1, BASIS_CHOICES)
        if (candidate := _single_photon_plan(task, step / BASIS_CHOICES)) is not None
    ]
    return max(plans, key=lambda candidate: candidate.expected_secret_bits, default=None)


def _single_photon_plan(task: Task, bias: float) -> Plan | None:
    settings = Settings((), (1.0,), bias)
    expected = expectation(task, settings)
    tolerated = tolerated_qber(expected.qber_test, task.block_pulses * sum(expected.sifted_test))
    if tolerated is None:
        return None
    prospect = single_photon_prospect(task, expected, tolerated)
    return _planned(task, settings, prospect, tolerated) if prospect.length.secret_bits else None


def _planned(task: Task, settings: Settings, prospect: Prospect, tolerated: float | None) -> Plan:
    return Plan(
        task=task,
        intensities=settings.intensities,
        probabilities=settings.probabilities,
        key_basis_probability=settings.key_basis_probability,
        tolerated_qber=tolerated,
        expected_qber=prospect.qber,
        expected_sifted_bits=round(prospect.key_bits),
        expected_test_bits=round(prospect.test_bits),
        expected_leaked_bits=ceil(prospect.leaked_bits),
        expected_secret_bits=prospect.length.secret_bits,
    )


def _gives(task: Task, secret_bits: int) -> bool:
    """Tell whether a block is expected to give this much; a start that does spares the search."""
    if task.protocol is not ProtocolName.SINGLE_PHOTON:
        starts = (_settings(task, start).on_grid() for start in _starts(task))
        if any(decoy_prospect(task, start).length.secret_bits >= secret_bits for start in starts):
            return True
    found = best_plan(task, starts=1)
    return found is not None and found.expected_secret_bits >= secret_bits


def _makes_keys(task: Task) -> bool:
    """Tell whether the plan of a block gives a key that pays for the block, but for one block in 50."""
    found = best_plan(task, starts=1)
    if found is None or found.expected_secret_bits < task.least_secret_bits:
        return False
    settings = Settings(found.intensities, found.probabilities, found.key_basis_probability)
    return dependable_bits(task, settings, found.tolerated_qber) >= task.least_secret_bits


def _at_distance(task: Task, distance_km: float) -> Task:
    return replace(task, fibre=replace(task.fibre, length_km=distance_km))


def _two_digits_up(pulses: float) -> int:
    unit = int(10.0 ** (floor(log10(pulses)) - 1))
    return ceil(pulses / unit) * unit


def _why_not(task: Task, found: Plan | None) -> str:
    block, distance_km = smallest_block_with_key(task), furthest_distance_km(task)
    ways = []
    if block is not None:
        ways.append(f"a block of {block} pulses")
    if distance_km is not None:
        ways.append(f"a fibre of at most {distance_km:g} km")
    would = (
        f"{' or '.join(ways)} would do" if ways else "neither a larger block nor a shorter fibre would help"
    )
    if found is None:
        return f"no key is possible with {task.described()}: {would}"
    return (
        f"{found.expected_secret_bits} secret bits are expected of {task.described()}, which has to give"
        f" {task.least_secret_bits} to pay for itself: {would}"
    )
