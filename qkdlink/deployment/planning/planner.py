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
from qkdlink.common.protocol.variants.catalogue import variant_named
from qkdlink.common.protocol.variants.variant import Climb, EveryBias
from qkdlink.deployment.planning.optimiser import cheapest
from qkdlink.deployment.planning.prospect import (
    Prospect,
    Settings,
    Task,
    dependable_bits,
    expectation,
    prospect_of,
)

_IMPOSSIBLE = 2e18
"""Cost, in bits, of settings that cannot be sent."""

_STARTS = 3
"""How many of the starts are climbed from, for a plan; one is enough to ask whether there is a key."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send, on the grid of choices, and what to expect of it; Alice and Bob share the basis bias."""

    task: Task
    intensities: tuple[float, ...]
    """Mean photon number per class, strongest first; empty for a source that has none."""
    probabilities: tuple[float, ...]
    key_basis_probability: float
    tolerated_qber: float | None
    """Where the protocol agrees on one before light: the test error rate above which the block is given up."""
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
    chosen = preset.protocol if protocol is None else protocol
    return Task(
        protocol=chosen,
        fibre=preset.fibre(distance_km),
        detector=preset.detector,
        block_pulses=block_pulses,
        fixed_intensities=(
            preset.intensities if chosen == preset.protocol else variant_named(chosen).search.intensities
        ),
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


def tolerated_qber(expected_qber: float, expected_test_bits: float, honest_abort: float) -> float | None:
    """Return the test error rate that an honest link exceeds less often than `honest_abort`, to four digits.

    Half of that probability is spent on a test that is five standard deviations short. None where so few
    bits are tested that nothing could be tolerated.
    """
    test_bits = floor(expected_test_bits - 5 * sqrt(expected_test_bits))
    if test_bits < 1:
        return None
    most_errors = most_hits(test_bits, expected_qber, honest_abort / 2)
    return min(1.0, ceil(most_errors / test_bits * 1e4) / 1e4)


@lru_cache(maxsize=256)
def best_plan(task: Task, starts: int = _STARTS) -> Plan | None:
    """Return what `plan` returns, or None where no settings give a key; remembered while the process runs."""
    match task.variant.search:
        case Climb() as search:
            return _planned(task, _climb(task, _optimum(task, search, starts).on_grid()))
        case EveryBias():
            return _best_bias(task)


def _optimum(task: Task, search: Climb, start_count: int) -> Settings:
    """Return the best settings off the grid."""

    def cost(free: Sequence[float]) -> float:
        settings = _settings(task, free)
        possible = settings.are_possible(task.variant)
        return -_balance(task, settings) if possible else _IMPOSSIBLE

    return _settings(task, cheapest(cost, _starts(task, search), climb_from=start_count, tolerance=0.5))


def _starts(task: Task, search: Climb) -> Iterator[list[float]]:
    choices = [
        grid
        for grid, fixed in zip(search.start_intensities, task.fixed_intensities, strict=True)
        if fixed is None
    ]
    for free, probabilities, bias in product(
        product(*choices), search.start_probabilities, search.start_biases
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
    balance = _balance(task, settings)
    while True:
        candidates = [
            candidate for candidate in settings.neighbours() if candidate.are_possible(task.variant)
        ]
        balances = [_balance(task, candidate) for candidate in candidates]
        if max(balances) <= balance:
            return settings
        balance = max(balances)
        settings = candidates[balances.index(balance)]


def _best_bias(task: Task) -> Plan | None:
    """Try every bias on the grid."""
    plans = [
        candidate for settings in _every_bias(task) if (candidate := _planned(task, settings)) is not None
    ]
    return max(plans, key=lambda candidate: candidate.expected_secret_bits, default=None)


def _every_bias(task: Task) -> Iterator[Settings]:
    intensities = tuple(mean for mean in task.fixed_intensities if mean is not None)
    for step in range(1, BASIS_CHOICES):
        yield Settings(intensities, (1.0,), step / BASIS_CHOICES)


def _foreseen(task: Task, settings: Settings) -> tuple[Prospect, float | None] | None:
    """Return the prospect and the tolerated error rate, if any; None where so few bits are tested that none can be."""
    expected, honest_abort = expectation(task, settings), task.variant.honest_abort
    tolerated = None
    if honest_abort is not None:
        test_bits = task.block_pulses * sum(expected.sifted_test)
        tolerated = tolerated_qber(expected.qber_test, test_bits, honest_abort)
        if tolerated is None:
            return None
    return prospect_of(task, settings, expected, tolerated), tolerated


def _balance(task: Task, settings: Settings) -> float:
    foreseen = _foreseen(task, settings)
    return -_IMPOSSIBLE if foreseen is None else foreseen[0].balance_bits


def _planned(task: Task, settings: Settings) -> Plan | None:
    """Return the plan with these settings; None where they give no key."""
    foreseen = _foreseen(task, settings)
    if foreseen is None or foreseen[0].length.secret_bits == 0:
        return None
    prospect, tolerated = foreseen
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
    """Tell whether a block is expected to give this much; settings that do spare the search for the best ones."""
    match task.variant.search:
        case Climb() as search:
            starts = (_settings(task, start).on_grid() for start in _starts(task, search))
            if any(_settings_give(task, start, secret_bits) for start in starts):
                return True
            found = best_plan(task, starts=1)
            return found is not None and found.expected_secret_bits >= secret_bits
        case EveryBias():
            return any(
                _sifted_key_bits(task, settings) >= secret_bits
                and _settings_give(task, settings, secret_bits)
                for settings in _every_bias(task)
            )


def _sifted_key_bits(task: Task, settings: Settings) -> float:
    """Return how many bits a key is cut from, which is soon computed: no key is longer."""
    return task.block_pulses * sum(expectation(task, settings).sifted_key)


def _settings_give(task: Task, settings: Settings, secret_bits: int) -> bool:
    found = _planned(task, settings)
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
