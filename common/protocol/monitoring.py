"""Which monitors refuse a block: the honest link's expectation against what was counted, in one order.

Each looks at its own numbers, has its own false alarm (`qkdlink.common.distillation.monitors`), and can be turned off
by name. Alice's watchdog is hers alone; the rest is Bob's, once Alice has announced how many pulses of each class she
emitted.

`qber-per-basis` and `decoy-analysis` are part of the bound, which pays for what it can pay for. They are named where
nothing is left and the counts are not those of an honest link: a block that is too short, or a fibre that is too bad,
has no monitor to blame.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from qkdlink.common.distillation.finite_key import KeyLength
from qkdlink.common.distillation.monitors import (
    Alarm,
    Count,
    Look,
    Monitor,
    Reading,
    look_at_arrivals,
    look_at_double_clicks,
    look_at_gains,
    look_at_photocurrent,
    look_at_qber,
    look_at_random_efficiency,
    look_at_vacuum_gain,
)
from qkdlink.common.distillation.stages import Counts, Estimate
from qkdlink.common.optics.records import SideCounts
from qkdlink.common.optics.watchful_expectation import WatchfulExpectation, watchful_expectation
from qkdlink.common.protocol.parameters import LinkParameters

_PARTS_OF_THE_BOUND = (Monitor.QBER, Monitor.DECOYS)


@dataclass(frozen=True, slots=True)
class Watched:
    """What was counted of one block."""

    emitted: Counts
    """Pulses per class."""
    detected: Counts
    """Clicks per class, all basis pairs."""
    double_clicks: int
    side: SideCounts
    switched_off_probability: float = 0.0


def look_at_all(
    parameters: LinkParameters, watched: Watched, estimate: Estimate, length: KeyLength
) -> tuple[Look, ...]:
    """Return what all of Bob's monitors see of a block; `length` is the best that could become of it."""
    return (
        look_at_errors(parameters, estimate),
        *_looks_at_light(parameters, watched),
        look_at_decoys(parameters, watched, length),
    )


def refusal(parameters: LinkParameters, looks: Iterable[Look], *, hopeless: bool) -> Alarm | None:
    """Return the alarm by which Bob refuses a block, the most telling first.

    Errors and decoys are blamed only where the block is `hopeless`, that is, where the bound leaves nothing.
    """
    if not hopeless:
        looks = (look for look in looks if look.monitor not in _PARTS_OF_THE_BOUND)
    return next(_heeded(parameters, looks), None)


def alarms_of_light(
    parameters: LinkParameters, watched: Watched, turned_off: Collection[Monitor] = ()
) -> Iterator[Alarm]:
    """Return the alarms of a block's light, the most telling first; none with probability 1 - 1e-6 each if honest."""
    alarms = _heeded(parameters, _looks_at_light(parameters, watched))
    return (alarm for alarm in alarms if alarm.monitor not in turned_off)


def look_at_errors(parameters: LinkParameters, estimate: Estimate, key_errors: Counts | None = None) -> Look:
    """Look for a basis with more errors than an honest link has; `key_errors` once they are known."""
    expected = _expected(parameters, parameters.switched_off_probability)
    key = (0, 0) if key_errors is None else (sum(key_errors), sum(estimate.key_detections))
    test = sum(estimate.test_errors), sum(estimate.test_detections)
    return look_at_qber(
        Count(*key, expected.qber), Count(*test, expected.qber), dispersion=expected.dispersion
    )


def look_at_decoys(parameters: LinkParameters, watched: Watched, length: KeyLength) -> Look:
    """Look for decoys that leave no single photon certain, and do not look like those of an honest link."""
    reading = Reading("", length.single_photon_events, limit=0, unit="events")
    alarm = None
    if length.single_photon_events <= 0 and Monitor.DECOYS in parameters.variant.monitors:
        expected = _expected(parameters, watched.switched_off_probability)
        if look_at_gains(_classes(watched, expected), dispersion=expected.dispersion).alarm:
            alarm = Alarm(
                Monitor.DECOYS,
                "by the decoys' gains not one detection comes from a single photon for certain",
            )
    return Look(Monitor.DECOYS, (reading,), alarm)


def alarm_of_decoys(parameters: LinkParameters, watched: Watched, length: KeyLength) -> Alarm | None:
    """Return the alarm of decoys that leave no single photon certain, whether or not anybody looks."""
    return look_at_decoys(parameters, watched, length).alarm


def _heeded(parameters: LinkParameters, looks: Iterable[Look]) -> Iterator[Alarm]:
    """Yield the alarms of the monitors that this protocol has and nobody has turned off."""
    looking = parameters.variant.monitors.difference(parameters.monitors_off)
    for look in looks:
        if look.alarm and look.monitor in looking:
            yield look.alarm


def _expected(parameters: LinkParameters, switched_off_probability: float) -> WatchfulExpectation:
    return watchful_expectation(
        parameters.source,
        parameters.fibre,
        parameters.detector,
        parameters.key_basis_probability,
        switched_off_probability,
    )


def _classes(watched: Watched, expected: WatchfulExpectation) -> list[Count]:
    return [
        Count(clicks, pulses, gain)
        for clicks, pulses, gain in zip(watched.detected, watched.emitted, expected.gains, strict=True)
    ]


def _looks_at_light(parameters: LinkParameters, watched: Watched) -> Iterator[Look]:
    expected = _expected(parameters, watched.switched_off_probability)
    side, spread = watched.side, expected.dispersion
    classes = _classes(watched, expected)
    yield look_at_photocurrent(side.bright_gates)
    yield look_at_random_efficiency(
        Count(side.switched_off_clicks, side.switched_off_gates, expected.switched_off_gain),
        dispersion=spread,
    )
    yield look_at_arrivals(side.early, side.late, sum(watched.detected))
    if parameters.source.intensities[-1] == 0:
        yield look_at_vacuum_gain(classes[-1], dispersion=spread)
    yield look_at_double_clicks(
        Count(watched.double_clicks, sum(watched.emitted), expected.double_clicks), dispersion=spread
    )
    yield look_at_gains(classes, dispersion=spread)
