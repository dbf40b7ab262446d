"""Which monitors refuse a block: the honest link's expectation against what was counted, in one order.

Each looks at its own numbers, has its own false alarm (`common.distillation.monitors`), and can be turned off by name.
Alice's watchdog is hers alone; the rest is Bob's, once Alice has announced how many pulses of each class she emitted.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from common.distillation.monitors import (
    Alarm,
    Count,
    Monitor,
    arrival_alarm,
    double_click_alarm,
    gain_alarm,
    photocurrent_alarm,
    random_efficiency_alarm,
    vacuum_gain_alarm,
)
from common.distillation.stages import Counts
from common.optics.records import SideCounts
from common.optics.watchful_expectation import WatchfulExpectation, watchful_expectation
from common.protocol.parameters import LinkParameters


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


def alarms_of_light(
    parameters: LinkParameters, watched: Watched, turned_off: Collection[Monitor] = ()
) -> Iterator[Alarm]:
    """Return the alarms of a block's light, the most telling first; none with probability 1 - 1e-6 each if honest."""
    expected = watchful_expectation(
        parameters.source,
        parameters.fibre,
        parameters.detector,
        parameters.key_basis_probability,
        watched.switched_off_probability,
    )
    for alarm in _looks(parameters, watched, expected):
        if alarm and alarm.monitor not in turned_off:
            yield alarm


def _looks(
    parameters: LinkParameters, watched: Watched, expected: WatchfulExpectation
) -> Iterator[Alarm | None]:
    side, spread = watched.side, expected.dispersion
    classes = [
        Count(clicks, pulses, gain)
        for clicks, pulses, gain in zip(watched.detected, watched.emitted, expected.gains, strict=True)
    ]
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
