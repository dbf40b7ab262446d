"""What a protocol is: one record that planning, key length, monitors, sweeps, documents and command line ask.

A variant sends the messages of the one conversation of `qkdlink.common.protocol.phases`; it says nothing about who
speaks when. It holds no search and no device: how a search runs is `qkdlink.deployment.planning`'s.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from qkdlink.common.distillation.decoy import ContradictoryCountsError
from qkdlink.common.distillation.finite_key import KeyLength, Statistics
from qkdlink.common.distillation.monitors import Monitor
from qkdlink.common.distillation.sampling import Sampling
from qkdlink.common.optics.source import PhotonStatistics, Source

NO_KEY = KeyLength(0, 0.0, 0.5)
"""The length of a block without a single photon for certain."""

MONITORS_OF_ANY_LIGHT = frozenset(Monitor) - {Monitor.DECOYS, Monitor.VACUUM_GAIN}


@dataclass(frozen=True, slots=True)
class Terms:
    """What a length depends on beside the counts."""

    leaked_bits: float
    """What reconciliation disclosed, or is expected to."""
    eps_sec: float
    eps_cor: float
    tolerated_qber: float | None = None
    """The test error rate that was agreed before light; None where the bound needs none."""


type LengthOf = Callable[[Statistics, Terms, Sampling], KeyLength]


@dataclass(frozen=True, slots=True)
class Bound:
    """The theorem that turns counts into a length, and how its test basis is carried over to the key basis.

    Counts without `key_errors` are those before reconciliation: the length is then the best that can become of them.
    """

    name: str
    """As `qkdlink keyrate` calls this method."""
    length_of: LengthOf
    sampling: Sampling = Sampling.EXACT
    """The printed formulas are no bounds with few test errors (`docs/security.md`, section 3)."""


@dataclass(frozen=True, slots=True)
class Climb:
    """A search for intensities, probabilities and basis bias: from the best of a grid of starts to the optimum."""

    intensities: tuple[float | None, ...]
    """Per class, strongest first: None where it is free, else what is always sent."""
    start_intensities: tuple[tuple[float, ...], ...]
    """Per class, the values to start from where it is free."""
    start_probabilities: tuple[tuple[float, ...], ...]
    """Probabilities of all classes, start by start."""
    start_biases: tuple[float, ...] = (0.55, 0.65, 0.75, 0.9)
    """Small blocks want few strong pulses and many tests: a start too far from that sees no single photons."""


@dataclass(frozen=True, slots=True)
class EveryBias:
    """A search that tries every basis bias on the grid: with one class there is nothing else to choose."""

    intensities: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Variant:
    """One protocol. Adding one is a file with such a record, and a line in `catalogue`."""

    name: str
    """In settings, on the wire and on the command line."""
    summary: str
    """What it is and which paper it is from, in one line."""
    class_names: tuple[str, ...]
    """The intensity classes, strongest first."""
    statistics: PhotonStatistics
    check_intensities: Callable[[tuple[float, ...]], None]
    """Raises ValueError unless the bound holds for these mean photon numbers, strongest first."""
    bound: Bound
    search: Climb | EveryBias
    monitors: frozenset[Monitor]
    """Those that can refuse a block; another has nothing to look at."""
    honest_abort: float | None = None
    """If a test error rate is agreed before light: how often an honest link may exceed it. None without such a test.

    All bits of the test basis are compared in any case.
    """
    weakest_intensity: float = 0.0
    """A last class below it is not planned: a bound that divides by it wants more."""

    @property
    def class_count(self) -> int:
        """Number of intensity classes."""
        return len(self.class_names)

    def source(
        self, intensities: tuple[float, ...], probabilities: tuple[float, ...], key_basis_probability: float
    ) -> Source:
        """Return Alice's source with these settings; an ideal one has no intensities."""
        return Source(intensities or (1.0,), probabilities, key_basis_probability, self.statistics)

    def accepts(self, intensities: tuple[float, ...]) -> bool:
        """Tell whether the bound holds for these intensities."""
        try:
            self.check_intensities(intensities)
        except ValueError:
            return False
        return True

    def length(self, statistics: Statistics, terms: Terms) -> KeyLength:
        """Return the length of a block with these counts, also expected ones; contradictory counts make no key.

        ValueError where the intensities are not those of this protocol.
        """
        try:
            return self.bound.length_of(statistics, terms, self.bound.sampling)
        except ContradictoryCountsError as error:
            return KeyLength(0, 0.0, NO_KEY.phase_error_rate, -inf, str(error))
