from pathlib import Path

import pytest

from qkdlink.common.errors import ConfigurationError
from qkdlink.common.optics.presets import DEFAULT_PRESET, PRESETS, Preset, preset
from qkdlink.common.optics.source import Source, choosable_probabilities


def test_the_default_is_a_metropolitan_link_of_ten_kilometres():
    chosen = preset(DEFAULT_PRESET)
    assert chosen.name == "metropolitan"
    assert (chosen.default_distance_km, chosen.attenuation_db_per_km) == (10, 0.2)
    assert (chosen.detector.efficiency, chosen.detector.dark_count_probability) == (0.5, 1e-8)
    assert chosen.misalignment == 0.01
    assert chosen.protocol == "one-decoy"


def test_lim_2014_is_the_published_model():
    chosen = preset("lim-2014")
    assert chosen.detector.efficiency == 0.1
    assert chosen.detector.dark_count_probability == 6e-7
    assert chosen.detector.afterpulse_probability == 0.04
    assert (chosen.misalignment, chosen.intensities) == (0.005, (None, None, 2e-4))


def test_rusca_2018_loses_a_hundred_gates_per_click():
    chosen = preset("rusca-2018")
    assert chosen.detector.dead_gates == 100
    assert chosen.detector.efficiency == 0.5


def test_gys_2004_has_its_background_from_two_detectors():
    chosen = preset("gys-2004")
    assert 1 - (1 - chosen.detector.dark_count_probability) ** 2 == pytest.approx(1.7e-6, rel=1e-6)
    assert (chosen.attenuation_db_per_km, chosen.detector.efficiency) == (0.21, 0.045)
    assert chosen.misalignment == 0.033


def test_a_presets_fibre_takes_another_distance():
    assert preset("lim-2014").fibre().length_km == 10
    assert preset("lim-2014").fibre(77.0).length_km == 77


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_cited_and_fits_its_protocol(name: str):
    chosen = preset(name)
    assert chosen.name == name
    assert chosen.citation
    assert len(chosen.intensities) == {"one-decoy": 2, "two-decoy": 3}[chosen.protocol]
    published = tuple(mean for mean in chosen.intensities if mean is not None)
    if published:
        Source(published, choosable_probabilities([1.0] * len(published)), 0.5)


def test_an_unknown_preset_is_refused_with_the_known_ones():
    known = "metropolitan, gys-2004, lim-2014, rusca-2018"
    with pytest.raises(ConfigurationError, match=f"no preset is called 'moon'; there are {known}"):
        preset("moon")


def row(chosen: Preset) -> str:
    detector = chosen.detector
    means = ", ".join("-" if mean is None else f"{mean:g}" for mean in chosen.intensities)
    cells = (
        f"`{chosen.name}`",
        f"{chosen.default_distance_km:g}",
        f"{chosen.attenuation_db_per_km:g}",
        f"{detector.efficiency:g}",
        f"{detector.dark_count_probability:g}",
        f"{chosen.misalignment:g}",
        f"{detector.dead_time_ns:g}",
        f"{detector.afterpulse_probability:g}",
        f"{detector.clock_hz:g}",
        chosen.protocol,
        means,
        chosen.citation,
    )
    return f"| {' | '.join(cells)} |"


@pytest.mark.parametrize("name", PRESETS)
def test_the_documented_devices_are_the_presets(name: str):
    documented = (Path(__file__).parents[3] / "docs" / "physics.md").read_text("utf-8").splitlines()
    assert row(preset(name)) in documented
