"""Which monitor refuses a block, and that a monitor which is turned off refuses none."""

from dataclasses import replace

import pytest

from qkdlink.common.distillation.monitors import Monitor
from qkdlink.common.optics.presets import preset
from qkdlink.common.optics.records import SideCounts
from qkdlink.common.optics.watchful_expectation import watchful_expectation
from qkdlink.common.protocol.monitoring import Watched, alarms_of_light
from qkdlink.common.protocol.parameters import LinkParameters
from qkdlink.common.protocol.variants.two_decoy import TWO_DECOY
from qkdlink.deployment.planning.planner import plan, task_for

PARAMETERS = plan(task_for(preset("lim-2014"), 10**7, TWO_DECOY.name, distance_km=0.0)).link_parameters(
    reproducible=False
)
WITH_VACUUM = LinkParameters.model_validate(
    PARAMETERS.model_dump() | {"intensities": (*PARAMETERS.intensities[:2], 0.0)}
)


def honest(parameters: LinkParameters = WITH_VACUUM, switched_off: float = 0.25) -> Watched:
    expected = watchful_expectation(
        parameters.source,
        parameters.fibre,
        parameters.detector,
        parameters.key_basis_probability,
        switched_off,
    )
    emitted = tuple(round(10**8 * probability) for probability in parameters.probabilities)
    off = round(sum(emitted) * switched_off)
    return Watched(
        emitted,
        tuple(round(n * gain) for n, gain in zip(emitted, expected.gains, strict=True)),
        round(sum(emitted) * expected.double_clicks),
        SideCounts(switched_off_gates=off, switched_off_clicks=round(off * expected.switched_off_gain)),
        switched_off,
    )


def refusals(
    watched: Watched, parameters: LinkParameters = WITH_VACUUM, **options: list[Monitor]
) -> list[str]:
    return [alarm.monitor for alarm in alarms_of_light(parameters, watched, **options)]


@pytest.mark.parametrize("switched_off", [0.0, 0.25])
@pytest.mark.parametrize("parameters", [PARAMETERS, WITH_VACUUM])
def test_what_is_expected_alarms_nobody(parameters: LinkParameters, switched_off: float):
    assert refusals(honest(parameters, switched_off), parameters) == []


STRANGE = {
    Monitor.PHOTOCURRENT: replace(honest(), side=replace(honest().side, bright_gates=1)),
    Monitor.RANDOM_EFFICIENCY: replace(honest(), side=replace(honest().side, switched_off_clicks=10**7)),
    Monitor.ARRIVAL_TIMES: replace(honest(), side=replace(honest().side, early=(5, 5))),
    Monitor.VACUUM_GAIN: replace(honest(), detected=(*honest().detected[:2], 0)),
    Monitor.DOUBLE_CLICKS: replace(honest(), double_clicks=0),
    Monitor.GAIN: replace(honest(), detected=(honest().detected[0] * 11 // 10, *honest().detected[1:])),
}


@pytest.mark.parametrize("monitor", STRANGE)
def test_each_monitor_refuses_what_it_is_there_for_and_nothing_when_it_is_turned_off(monitor: Monitor):
    told = refusals(STRANGE[monitor])
    assert told[0] == monitor
    assert set(told) <= {monitor, Monitor.GAIN}  # a missing vacuum gain is a strange gain, too
    assert monitor not in refusals(STRANGE[monitor], turned_off=[monitor])


def test_without_a_vacuum_class_there_is_no_vacuum_gain():
    watched = replace(honest(PARAMETERS), detected=(*honest(PARAMETERS).detected[:2], 0))
    assert Monitor.VACUUM_GAIN not in refusals(watched, PARAMETERS)
