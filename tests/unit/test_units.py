"""A number that was written with its unit is explained wherever numbers are read: options, attacks, files."""

from pathlib import Path

import pytest

from qkdlink import cli
from qkdlink.alice.settings import AliceSettings
from qkdlink.common.errors import ConfigurationError
from qkdlink.common.node.settings import load_settings
from qkdlink.common.units import unit_beside, unit_in_toml, unit_of
from qkdlink.eve.classical_attacks.catalogue import treatment_from
from qkdlink.eve.quantum_attacks.catalogue import attack_from
from qkdlink.lab.scenarios.experiments.catalogue import experiment_of

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("distance", "km"),
        ("fibre.length_km", "km"),
        ("fibre.attenuation_db_per_km", "dB/km"),
        ("detector.dead_time_ns", "ns"),
        ("detector.clock_hz", "Hz"),
        ("block-pulses", "pulses"),
        ("rekey_seconds", "seconds"),
        ("classical.patience_s", "seconds"),
        ("detector.efficiency", ""),
        ("attack.fraction", ""),
        ("eps-sec", ""),
        ("seed", None),
    ],
)
def test_a_name_tells_the_unit(name: str, unit: str | None):
    assert unit_of(name) == unit


@pytest.mark.parametrize(
    "text", ["10km", "10 km", " 10km ", "50%", "50 %", "1e8pulses", "1.5e-3 s", "10,5km", "-3dB", "90°"]
)
def test_a_number_with_a_unit_is_recognised(text: str):
    told = unit_beside(text, "distance")
    assert told is not None
    assert told.startswith("it takes a number of km, and the number stands alone, without ")


@pytest.mark.parametrize("text", ["10", "1e8", "1.5", "ten", "", "km", "inf", "3-decoy", 10, None])
def test_other_text_is_left_to_its_own_reason(text: object):
    assert unit_beside(text, "distance") is None


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["demo", "--distance", "10km"], "'--distance 10km' is not valid: it takes a number of km,"),
        (["up", "--block-pulses", "1e8pulses"], "it takes a number of pulses,"),
        (["demo", "--random-efficiency", "50 %"], "it takes a fraction (0.5 is 50 %),"),
        (["demo", "--blocks", "3blocks"], "it takes a number of blocks,"),
        (["demo", "--seed", "7th"], "it takes a number, and the number stands alone, without 'th'"),
        (["init", "--rekey-seconds", "10s"], "it takes a number of seconds,"),
        (["ca", "init", "--days", "30d"], "it takes a number of days,"),
        (["psk", "new", "--bits", "256bit"], "it takes a number of bits,"),
        (["lab", "sweep", "--over", "distance=0:1:2", "--distance", "5km"], "it takes a number of km,"),
    ],
)
def test_every_numeric_option_explains_its_unit(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert sentence in said
    assert said.count("\n") == 1


def test_attacks_and_experiments_explain_it_too():
    with pytest.raises(
        ConfigurationError, match=r"cannot have fraction: it takes a fraction \(0.5 is 50 %\)"
    ):
        attack_from("intercept-resend:fraction=50%")
    with pytest.raises(ConfigurationError, match="it takes a number of seconds"):
        treatment_from("delay:seconds=1s")
    with pytest.raises(ConfigurationError, match="cannot have pulses: it takes a number of pulses"):
        experiment_of("light", {"attack": "blinding", "pulses": "1e5 pulses"})


@pytest.mark.parametrize("value", ["10km", "'10km'", '"10 km"'])
def test_a_settings_file_explains_it_with_quotation_marks_and_without(value: str, tmp_path: Path):
    example = README.partition("link-1/node.toml` is")[2].partition("```toml\n")[2].partition("```")[0]
    (tmp_path / "node.toml").write_text(example.replace("length_km = 10.0", f"length_km = {value}"))
    with pytest.raises(ConfigurationError) as refused:
        load_settings(AliceSettings, tmp_path / "node.toml")
    assert "length_km" in str(refused.value)
    assert "it takes a number of km, and the number stands alone, without 'km'" in str(refused.value)


def test_toml_without_a_unit_in_it_keeps_its_own_reason():
    assert unit_in_toml("a = 0x10\nc = 1e-09\nb = [\n") is None
    assert unit_in_toml("x = 1\nlength_km = 5km # far\n") == (
        "length_km = 5km: it takes a number of km, and the number stands alone, without 'km'"
    )
