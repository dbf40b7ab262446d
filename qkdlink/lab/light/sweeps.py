"""Sweeps: the same blocks at many values of one parameter, each beside what theory expects of it.

A point is blocks of light with Eve's attacks and every monitor turned off, so that error rates and gains can be seen
where a monitor would refuse; the key length is that of the bound. Where no settings give a key, nothing is sent: the
point says 0 secret bits and 0 blocks. Points depend on nothing but the sweep and their number, so they can be computed
anywhere: by the processor's cores, or by the workers of a Dask cluster.
"""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from importlib import import_module
from multiprocessing import get_context
from typing import Any, cast

import numpy as np

from qkdlink.common.distillation.monitors import Monitor
from qkdlink.common.errors import ConfigurationError
from qkdlink.common.optics.detector import DetectorSettings
from qkdlink.common.optics.fibre import Fibre
from qkdlink.common.optics.presets import DEFAULT_PRESET, preset
from qkdlink.common.protocol.parameters import LARGEST_BLOCK, SMALLEST_EPSILON, LinkParameters, ProtocolName
from qkdlink.common.protocol.variants.single_photon import SINGLE_PHOTON
from qkdlink.common.units import unit_beside
from qkdlink.deployment.planning.planner import Plan, best_plan, task_for
from qkdlink.deployment.planning.prospect import Task
from qkdlink.eve.quantum_attacks.base import QuantumAttack
from qkdlink.eve.quantum_attacks.catalogue import attack_from, attack_named, split_text
from qkdlink.lab.light.block_with_eve import live_block
from qkdlink.lab.light.sweep_theory import NOTHING, Expected, expected_of

MOST_POINTS = 1000
SEED = 20260
_CLUSTER_TIMEOUT = "10s"
_CURVE_VALUES = 81
_ALL = tuple(Monitor)


@dataclass(frozen=True, slots=True)
class Axis:
    """What is swept: `distance`, `block-pulses`, `eps-sec`, `attack.KEY`, `detector.KEY` or `fibre.KEY`."""

    name: str
    values: tuple[float, ...]

    @classmethod
    def parsed(cls, text: str) -> "Axis":
        """Read `NAME=START:STOP:COUNT`. Raises ConfigurationError, in one sentence, if it is not that."""
        name, _, span = text.partition("=")
        try:
            start, stop, count = span.split(":")
            ends, points = (float(start), float(stop)), int(count)
        except ValueError:
            explained = next(filter(None, (unit_beside(number, name) for number in span.split(":"))), None)
            raise ConfigurationError(
                f"'{text}' is no sweep: {explained or 'write NAME=START:STOP:COUNT, such as distance=0:50:11'}."
            ) from None
        if not 1 <= points <= MOST_POINTS or not np.isfinite(ends).all():
            raise ConfigurationError(
                f"A sweep has 1 to {MOST_POINTS} points between two numbers, not {span}."
            )
        return cls(name, tuple(float(value) for value in np.linspace(*ends, points)))


@dataclass(frozen=True, slots=True)
class Sweep:
    """One parameter, at so many values; everything else stays."""

    axis: Axis
    attacks: tuple[str, ...] = ()
    preset: str = DEFAULT_PRESET
    protocol: ProtocolName = SINGLE_PHOTON.name
    block_pulses: int = 100_000
    distance_km: float | None = None
    blocks: int = 5
    seed: int = SEED

    def at(self, value: float) -> tuple[LinkParameters | None, list[QuantumAttack]]:
        """Set the link and the attacks up at one value; without parameters where no settings give a key.

        Raises ConfigurationError if the value is impossible.
        """
        found = _best_plan(self.task(value))
        parameters = None if found is None else found.link_parameters(reproducible=True)
        return parameters, self.chain(value)

    def expected_at(self, value: float) -> Expected:
        """Return what theory expects at one value. Raises ConfigurationError if the value is impossible."""
        parameters, attacks = self.at(value)
        return NOTHING if parameters is None else expected_of(parameters, attacks)

    def check(self, value: float) -> None:
        """Raise ConfigurationError if a value is impossible, without looking for a plan."""
        task = self.task(value)
        if not 1 <= task.block_pulses <= LARGEST_BLOCK:
            raise ConfigurationError(
                f"A block has 1 to {LARGEST_BLOCK} pulses, not {task.block_pulses}: sweep other values."
            )
        if not SMALLEST_EPSILON <= task.eps_sec < 1:
            raise ConfigurationError(
                f"eps-sec is a probability from {SMALLEST_EPSILON} up to 1, not {task.eps_sec:g}: sweep other values."
            )
        self.chain(value)

    def task(self, value: float) -> Task:
        """Return what planning is asked for at one value."""
        name, pulses, distance = self.axis.name, self.block_pulses, self.distance_km
        if name == "block-pulses":
            pulses = round(value)
        elif name == "distance":
            distance = value
        task = task_for(preset(self.preset), pulses, self.protocol, distance)
        part, _, key = name.partition(".")
        if part == "detector" and key in _keys(task.detector):
            return replace(task, detector=replace(task.detector, **{key: value}))
        if part == "fibre" and key in _keys(task.fibre):
            return replace(task, fibre=replace(task.fibre, **{key: value}))
        if name == "eps-sec":
            return replace(task, eps_sec=value)
        if name not in {"block-pulses", "distance"} and part != "attack":
            raise ConfigurationError(
                f"There is no parameter '{name}' to sweep; there are distance, block-pulses, eps-sec, attack.KEY,"
                f" {_listed('detector', task.detector)}, {_listed('fibre', task.fibre)}."
            )
        return task

    def chain(self, value: float) -> list[QuantumAttack]:
        """Return the attacks at one value; `attack.KEY` is a setting of the first of them."""
        part, _, key = self.axis.name.partition(".")
        if part != "attack":
            return [attack_from(text) for text in self.attacks]
        if not self.attacks:
            raise ConfigurationError(f"A sweep over {self.axis.name} needs an --attack.")
        name, settings = split_text(self.attacks[0])
        first = attack_named(name, {**settings, key: value})
        return [first, *(attack_from(text) for text in self.attacks[1:])]


@dataclass(frozen=True, slots=True)
class Point:
    """Means over the blocks of one value, and what theory expects; rates are fractions."""

    value: float
    blocks: int
    """Blocks measured; 0 where no settings give a key, and then no rate is known."""
    keys: int
    """Blocks that made a key."""
    qber_key: float | None
    qber_test: float | None
    secret_fraction: float
    """Secret bits per pulse; blocks without a key count."""
    known_fraction: float | None
    """Of the sifted bits, for sure, by Eve."""
    leaked_fraction: float | None
    """Of the pulses."""
    expected: Expected
    qber_key_error: float | None = None
    """Standard error of the mean, from the spread of the blocks; None with fewer than two. So the next two."""
    qber_test_error: float | None = None
    secret_fraction_error: float | None = None

    def as_row(self) -> dict[str, float | None]:
        """Return the row of the table."""
        told = {name: value for name, value in asdict(self).items() if name != "expected"}
        return told | {f"expected_{name}": value for name, value in asdict(self.expected).items()}


def measured(sweep: Sweep, number: int) -> Point:
    """Compute point `number`, 0 or more, of a sweep."""
    value = sweep.axis.values[number]
    parameters, attacks = sweep.at(value)
    if parameters is None:
        return Point(value, 0, 0, None, None, 0.0, None, None, NOTHING)
    blocks = [
        live_block(
            parameters, attacks, sweep.seed, 1 + number * sweep.blocks + each, turned_off=_ALL, checked=False
        )
        for each in range(sweep.blocks)
    ]

    def mean(name: str) -> float:
        return float(np.mean([getattr(block, name) for block in blocks]))

    def error(name: str) -> float | None:
        values = [getattr(block, name) for block in blocks]
        return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None

    secret_error = error("secret_bits")
    return Point(
        value=value,
        blocks=sweep.blocks,
        keys=sum(block.secret_bits > 0 for block in blocks),
        qber_key=mean("qber_key"),
        qber_test=mean("qber_test"),
        secret_fraction=mean("secret_bits") / parameters.block_pulses,
        known_fraction=mean("known_fraction"),
        leaked_fraction=mean("leaked_bits") / parameters.block_pulses,
        expected=expected_of(parameters, attacks),
        qber_key_error=error("qber_key"),
        qber_test_error=error("qber_test"),
        secret_fraction_error=secret_error and secret_error / parameters.block_pulses,
    )


@lru_cache(maxsize=64)
def _best_plan(task: Task) -> Plan | None:
    return best_plan(task)


def _keys(part: DetectorSettings | Fibre) -> list[str]:
    return [field.name for field in fields(part)]


def _listed(name: str, part: DetectorSettings | Fibre) -> str:
    return ", ".join(f"{name}.{key}" for key in _keys(part))


def swept(sweep: Sweep, scheduler: str | None = None) -> Iterator[tuple[int, Point]]:
    """Yield every point with its number as it is done: from this machine's cores, or from a Dask cluster.

    `scheduler` is the address of one that exists, such as tcp://host:8786. Raises ConfigurationError if a value is
    impossible, before anything is computed, or if `dask` is not installed or its scheduler does not answer.
    """
    for value in sweep.axis.values:
        sweep.check(value)
    numbers = range(len(sweep.axis.values))
    if scheduler is not None:
        yield from _by_dask(sweep, scheduler)
        return
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        under_way = {pool.submit(measured, sweep, number): number for number in numbers}
        for done in as_completed(under_way):
            yield under_way[done], done.result()


def curve(sweep: Sweep) -> list[tuple[float, Expected]]:
    """Return what theory expects along the axis, at the points and so densely between them that a line looks smooth."""
    values = sweep.axis.values
    dense = np.linspace(values[0], values[-1], _CURVE_VALUES) if len(values) > 1 else ()
    wanted = sorted({*values, *map(float, dense)}, reverse=values[-1] < values[0])
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        return list(zip(wanted, pool.map(sweep.expected_at, wanted, chunksize=4), strict=True))


def _by_dask(sweep: Sweep, scheduler: str) -> Iterator[tuple[int, Point]]:
    try:
        distributed: Any = import_module("dask.distributed")  # it has no types
    except ImportError as error:
        raise ConfigurationError(
            "A --scheduler needs Dask: install qkdlink with its extra `dask`."
        ) from error
    try:
        client = distributed.Client(scheduler, timeout=_CLUSTER_TIMEOUT)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"No Dask scheduler answers at {scheduler}.") from error
    try:
        numbers = {
            client.submit(measured, sweep, number, pure=False): number
            for number in range(len(sweep.axis.values))
        }
        for done in distributed.as_completed(list(numbers)):
            yield numbers[done], cast("Point", done.result())
    finally:
        client.close()
