import json

import pytest
from pydantic import ValidationError

from qkdlink.common.errors import ConfigurationError, RemoteProtocolError
from qkdlink.common.optics.fibre import Fibre
from qkdlink.common.optics.source import PhotonStatistics
from qkdlink.common.protocol.parameters import LinkParameters, ProtocolName, differences
from qkdlink.common.protocol.variants.catalogue import VARIANTS
from qkdlink.common.protocol.variants.one_decoy import ONE_DECOY
from qkdlink.common.protocol.variants.single_photon import SINGLE_PHOTON
from qkdlink.common.protocol.variants.two_decoy import TWO_DECOY
from tests.support.pair import small_block


@pytest.mark.parametrize("protocol", VARIANTS)
def test_parameters_read_back_from_their_text_are_the_same(protocol: ProtocolName):
    parameters = small_block(protocol)
    assert LinkParameters.model_validate_json(parameters.canonical()) == parameters
    assert differences(parameters, parameters.canonical()) == []


def test_every_difference_is_named_with_both_values():
    ours = small_block(ONE_DECOY.name)
    theirs = ours.model_copy(
        update={"block_pulses": 7, "fibre": Fibre(3.0, 0.2, 0.01), "reproducible": False, "eps_cor": 1e-9}
    )
    assert differences(ours, theirs.canonical()) == [
        f"block_pulses is {ours.block_pulses} here and 7 there",
        "eps_cor is 1e-15 here and 1e-09 there",
        "fibre.length_km is 0.0 here and 3.0 there",
        "reproducible is True here and False there",
    ]


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"protocol":"one-decoy"}', "[" * 2000])
def test_something_else_than_parameters_is_refused(text: str):
    with pytest.raises(RemoteProtocolError, match="not those of a link of this version"):
        differences(small_block(), text)


@pytest.mark.parametrize(
    "changes",
    [
        {"unknown": 1},
        {"key_basis_probability": 0.123456},
        {"fibre": {"length_km": -1.0, "attenuation_db_per_km": 0.2, "misalignment": 0.01}},
        {"block_pulses": 0},
        {"tolerated_qber": None},
    ],
    ids=str,
)
def test_impossible_parameters_of_the_peer_are_refused(changes: dict[str, object]):
    theirs = json.loads(small_block().canonical()) | changes
    with pytest.raises(RemoteProtocolError):
        differences(small_block(), json.dumps(theirs))


@pytest.mark.parametrize(
    ("protocol", "changes"),
    [
        (ONE_DECOY.name, {"intensities": (0.5,)}),
        (ONE_DECOY.name, {"probabilities": (1.0,)}),
        (ONE_DECOY.name, {"tolerated_qber": 0.01}),
        (SINGLE_PHOTON.name, {"tolerated_qber": None}),
        (ONE_DECOY.name, {"intensities": (0.2, 0.5)}),
        (TWO_DECOY.name, {"eps_sec": 0.0}),
        (TWO_DECOY.name, {"eps_cor": 1.0}),
    ],
    ids=str,
)
def test_parameters_that_contradict_each_other_are_refused(
    protocol: ProtocolName, changes: dict[str, object]
):
    with pytest.raises((ValidationError, ConfigurationError)):
        LinkParameters.model_validate(small_block(protocol).model_dump() | changes)


def test_each_protocol_has_its_own_source():
    statistics = {protocol: small_block(protocol).source.statistics for protocol in VARIANTS}
    assert statistics.pop(SINGLE_PHOTON.name) is PhotonStatistics.SINGLE_PHOTON
    assert set(statistics.values()) == {PhotonStatistics.POISSON}
    assert [small_block(protocol).class_count for protocol in VARIANTS] == [2, 3, 1]
