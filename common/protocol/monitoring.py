"""Which monitors refuse a block: the honest link's expectation against what was counted, in one order.

Each looks at its own numbers, has its own false alarm (`qkdlink.common.distillation.monitors`), and can be turned off
by name. Alice's watchdog is hers alone; the rest is Bob's, once Alice has announced how many pulses of each class she
emitted.

`qber-per-basis` and `decoy-analysis` are part of the bound, which pays for what it can pay for. They are named where
nothing is left and the counts are not those of an honest link: a block that is too short, or a fibre that is too bad,
has no monitor to blame.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from qkdlink.common.distillation.finite_key import KeyLength
from qkdlink.common.distillation.monitors import (
    Alarm,
    Count,
    Monitor,
    arrival_alarm,
    double_click_alarm,
    gain_alarm,
    photocurrent_alarm,
    qber_alarm,
    random_efficiency_alarm,
    vacuum_gain_alarm,
)
from qkdlink.common.distillation.stages import Counts, Estimate
from qkdlink.common.optics.records import SideCounts
from qkdlink.common.optics.watchful_expectation import WatchfulExpectation, watchful_expectation
from qkdlink.common.protocol.parameters import LinkParameters


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


def refusal(
    parameters: LinkParameters, watched: Watched, estimate: Estimate, length: KeyLength
) -> Alarm | None:
    """Return the alarm by which Bob refuses a block; `length` is the best that could become of it."""
    hopeless = length.secret_bits == 0
    return (
        (alarm_of_errors(parameters, estimate) if hopeless else None)
        or next(alarms_of_light(parameters, watched), None)
        or (alarm_of_decoys(parameters, watched, length) if hopeless else None)
    )


def alarms_of_light(
    parameters: LinkParameters, watched: Watched, turned_off: Collection[Monitor] = ()
) -> Iterator[Alarm]:
    """Return the alarms of a block's light, the most telling first; none with probability 1 - 1e-6 each if honest."""
    expected = _expected(parameters, watched.switched_off_probability)
    looking = parameters.variant.monitors.difference(turned_off, parameters.monitors_off)
    for alarm in _looks(parameters, watched, expected):
        if alarm and alarm.monitor in looking:
            yield alarm


def alarm_of_errors(
    parameters: LinkParameters, estimate: Estimate, key_errors: Counts | None = None
) -> Alarm | None:
    """Return the alarm of a basis with more errors than an honest link has; `key_errors` once they are known."""
    if Monitor.QBER in parameters.monitors_off:
        return None
    expected = _expected(parameters, parameters.switched_off_probability)
    key = (0, 0) if key_errors is None else (sum(key_errors), sum(estimate.key_detections))
    test = sum(estimate.test_errors), sum(estimate.test_detections)
    return qber_alarm(Count(*key, expected.qber), Count(*test, expected.qber), dispersion=expected.dispersion)


def alarm_of_decoys(parameters: LinkParameters, watched: Watched, length: KeyLength) -> Alarm | None:
    """Return the alarm of decoys that leave no single photon certain, and do not look like those of an honest link."""
    if length.single_photon_events > 0 or Monitor.DECOYS not in parameters.variant.monitors:
        return None
    expected = _expected(parameters, watched.switched_off_probability)
    if gain_alarm(_classes(watched, expected), dispersion=expected.dispersion) is None:
        return None
    return Alarm(
        Monitor.DECOYS, "by the decoys' gains not one detection comes from a single photon for certain"
    )


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


def _looks(
    parameters: LinkParameters, watched: Watched, expected: WatchfulExpectation
) -> Iterator[Alarm | None]:
    side, spread = watched.side, expected.dispersion
    classes = _classes(watched, expected)
    yield photocurrent_alarm(side.bright_gates)
    yield random_efficiency_alarm(
        Count(side.switched_off_clicks, side.switched_off_gates, expected.switched_off_gain),
        dispersion=spread,
    )
    yield arrival_alarm(side.early, side.late, sum(watched.detected))
    if parameters.source.intensities[-1] == 0:
        yield vacuum_gain_alarm(classes[-1], dispersion=spread)
    yield double_click_alarm(
        Count(watched.double_clicks, sum(watched.emitted), expected.double_clicks), dispersion=spread
    )
    yield gain_alarm(classes, dispersion=spread)
