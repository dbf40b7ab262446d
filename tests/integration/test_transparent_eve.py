"""A transparent Eve changes nothing: a seeded link makes the very same counts, rates and keys through her."""

from maintenance.evidence.transparent import compare
from qkdlink.common.optics.presets import DEFAULT_PRESET, preset
from qkdlink.common.protocol.variants.one_decoy import ONE_DECOY
from qkdlink.deployment.planning.planner import plan, task_for

PULSES = 1_000_000


def test_through_a_transparent_eve_every_count_and_every_key_is_the_same() -> None:
    parameters = plan(task_for(preset(DEFAULT_PRESET), PULSES, ONE_DECOY.name)).link_parameters(
        reproducible=True
    )
    found = compare(parameters, blocks=2, seed=20260)
    assert found["differing"] == []
    assert min(found["secret_bits"]) >= 256
