"""Protocols as data: a new one is one record and one line of the catalogue, and everything works with it."""

import asyncio
import json
from dataclasses import replace
from typing import get_args

import pytest

from qkdlink.commands.keyrate import KeyrateInput
from qkdlink.common.distillation.finite_key import KeyLength, Statistics
from qkdlink.common.distillation.sampling import Sampling
from qkdlink.common.errors import ConfigurationError
from qkdlink.common.optics.presets import PRESETS, preset
from qkdlink.common.optics.source import PhotonStatistics
from qkdlink.common.protocol.parameters import LinkParameters
from qkdlink.common.protocol.variants import catalogue
from qkdlink.common.protocol.variants.catalogue import VARIANTS, variant_named
from qkdlink.common.protocol.variants.single_photon import SINGLE_PHOTON
from qkdlink.common.protocol.variants.two_decoy import TWO_DECOY
from qkdlink.common.protocol.variants.variant import (
    MONITORS_OF_ANY_LIGHT,
    Bound,
    Climb,
    EveryBias,
    Terms,
    Variant,
)
from qkdlink.deployment.planning.planner import plan, task_for
from qkdlink.lab.light.sweeps import Axis, Sweep, measured
from tests.support.pair import Pair


def _cautious(counts: Statistics, terms: Terms, sampling: Sampling) -> KeyLength:
    return SINGLE_PHOTON.bound.length_of(counts, replace(terms, leaked_bits=terms.leaked_bits + 64), sampling)


DIM_DECOYS = Variant(
    name="toy-dim-decoys",
    summary="A toy: three intensities, of which only the strongest may be chosen.",
    class_names=("bright", "dim", "dark"),
    statistics=PhotonStatistics.POISSON,
    check_intensities=TWO_DECOY.check_intensities,
    bound=TWO_DECOY.bound,
    search=Climb(
        intensities=(None, 0.1, 0.0),
        start_intensities=((0.5,), (), ()),
        start_probabilities=((0.25, 0.6, 0.15), (0.1, 0.5, 0.4)),
        start_biases=(0.6, 0.75),
    ),
    monitors=TWO_DECOY.monitors,
)

CAUTIOUS_PHOTONS = Variant(
    name="toy-cautious-photons",
    summary="A toy: single photons, and 64 bits less of every key.",
    class_names=("photon",),
    statistics=PhotonStatistics.SINGLE_PHOTON,
    check_intensities=SINGLE_PHOTON.check_intensities,
    bound=Bound("toy", _cautious),
    search=EveryBias(),
    monitors=MONITORS_OF_ANY_LIGHT,
    honest_abort=1e-9,
)

TOYS = {DIM_DECOYS: 600_000, CAUTIOUS_PHOTONS: 20_000}
"""With pulses that are enough for a key over no distance."""


@pytest.fixture(params=TOYS, ids=lambda toy: toy.name)
def toy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Variant:
    added: Variant = request.param
    monkeypatch.setitem(VARIANTS, added.name, added)
    return added


def planned(toy: Variant) -> LinkParameters:
    return plan(task_for(preset("metropolitan"), TOYS[toy], toy.name, distance_km=0.0)).link_parameters(
        reproducible=True
    )


def test_a_protocol_of_one_record_is_planned_and_makes_a_key_of_its_own_length(toy: Variant):
    parameters = planned(toy)
    assert json.loads(parameters.canonical())["protocol"] == toy.name
    assert LinkParameters.model_validate_json(parameters.canonical()) == parameters
    ending = asyncio.run(Pair(parameters=parameters).play())
    assert ending.alice.key == ending.bob.key
    assert len(ending.alice.key) > 16
    assert tuple(ending.bob.block.account.gains) == toy.class_names


def test_a_protocol_of_one_record_is_swept_beside_theory(toy: Variant):
    sweep = Sweep(Axis.parsed("distance=0:1:1"), protocol=toy.name, block_pulses=3 * TOYS[toy], blocks=1)
    point = measured(sweep, 0)
    assert point.expected.secret_fraction is not None
    assert point.secret_fraction == pytest.approx(point.expected.secret_fraction, rel=0.3)
    assert point.secret_fraction > 0


def test_what_is_not_in_the_catalogue_is_refused_with_what_is():
    with pytest.raises(
        ConfigurationError, match="no protocol 'e91'; there are one-decoy, two-decoy, single-photon"
    ):
        variant_named("e91")
    with pytest.raises(ValueError, match="it must be 'one-decoy', 'two-decoy' or 'single-photon'"):
        catalogue.known_name("e91")


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=lambda variant: variant.name)
def test_a_variant_fits_itself(variant: Variant):
    assert len(variant.search.intensities) in {0, variant.class_count}
    if isinstance(variant.search, Climb):
        assert len(variant.search.start_intensities) == variant.class_count
        assert {len(start) for start in variant.search.start_probabilities} == {variant.class_count}
    methods = get_args(get_args(KeyrateInput.__value__)[0])
    assert any(variant.bound.name in get_args(each.model_fields["method"].annotation) for each in methods)


def test_every_preset_runs_a_protocol_of_the_catalogue():
    for device in PRESETS.values():
        assert len(device.intensities) == variant_named(device.protocol).class_count
