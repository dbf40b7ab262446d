"""The numbers of `docs/attacks.md` that no other test here holds: of whole blocks, of monitors and their limits."""

import json
import re
from math import exp, log
from pathlib import Path
from typing import Any

import pytest

from qkdlink.common.distillation.monitors import FALSE_ALARM, Count, look_at_vacuum_gain
from qkdlink.common.optics.outlet import Outlet
from qkdlink.common.optics.presets import DEFAULT_PRESET, preset
from qkdlink.lab.light.undetermined import TAG_MARGIN_BITS

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "docs/attacks.md").read_text("utf-8")
IN_ONE_LINE = " ".join(TEXT.split())


type Told = dict[str, Any]


def evidence(scenario: str) -> Told:
    told = json.loads((ROOT / "docs/evidence/scenarios.json").read_text("utf-8"))
    (found,) = [each["evidence"] for each in dicts_in(told) if each.get("scenario") == scenario]
    return found


def dicts_in(told: object) -> list[Told]:
    if isinstance(told, dict):
        return [told, *(each for value in told.values() for each in dicts_in(value))]
    return [each for value in told for each in dicts_in(value)] if isinstance(told, list) else []


def spaced(number: int) -> str:
    return f"{number:,}".replace(",", " ") if number >= 10_000 else str(number)


def numbers(text: str) -> list[float]:
    """Those below 1."""
    return [float(word) for word in re.findall(r"0\.\d+|[\d.]+e-\d+", text)]


def row(beginning: str) -> list[str]:
    (line,) = [line for line in TEXT.splitlines() if line.startswith(f"| {beginning}")]
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


@pytest.mark.parametrize(("scenario", "column"), [("near", 0), ("far", 1)])
def test_the_table_of_photon_number_splitting_on_whole_blocks_is_its_evidence(scenario: str, column: int):
    told = evidence(f"photon-number-splitting-gys-{scenario}")
    without, attacked = told["without_eve"], told["with_eve"]
    assert without["acted"] == []
    assert row("without her")[column] == f"no alarm, {spaced(without['secret_bits'])} secret bits"
    rates = [
        f"{100 * block[f'qber_{basis}']:.1f} %" for block in (attacked, without) for basis in ("key", "test")
    ]
    assert row("error rates")[column] == "{}, {} (without her {}, {})".format(*rates)
    assert (
        row("she knows, of the sifted bits")[column] == f"{100 * attacked['known_fraction_of_sifted']:.1f} %"
    )
    doubles, _, expected = attacked["said"][0].partition(" gates clicked twice, ")
    seen, honest = row("first: `double-clicks`")[column].split(", where ")
    assert seen == doubles
    assert float(honest.split()[0]) == pytest.approx(float(expected.split()[0]), rel=0.012)
    assert numbers(row("then: `gain`")[column]) == numbers(attacked["said"][1])


def test_at_10_km_the_decoy_analysis_need_not_act_and_at_50_km_it_does():
    near = evidence("photon-number-splitting-gys-near")["with_eve"]
    assert near["acted"] == ["double-clicks", "gain"]
    assert f"at least {spaced(near['single_photon_bound'])} single-photon" in row("then: `decoy-analysis`")[0]
    assert f"{spaced(near['secret_bits'])} bits" in row("key by the bound alone")[0]
    unknown, disclosed = spaced(round(near["min_entropy_bits"])), spaced(near["leaked_bits"])
    assert f"{unknown} bits are unknown to her, {disclosed} were disclosed" in IN_ONE_LINE
    far = evidence("photon-number-splitting-gys-far")["with_eve"]
    assert far["acted"] == ["double-clicks", "gain", "decoy-analysis"]
    assert far["secret_bits"] == 0


@pytest.mark.parametrize(
    ("scenario", "nearest"), [("photon-number-splitting-off", 100), ("intercept-resend-one-basis-off", 1000)]
)
def test_the_lengths_of_the_keys_that_are_hers_are_the_evidence(scenario: str, nearest: int):
    keys = [block["secret_bits"] for block in evidence(scenario)["blocks"]]
    mean = round(sum(keys) / len(keys) / nearest) * nearest
    assert f"keys of some {spaced(mean)} bits" in IN_ONE_LINE


def test_where_the_vacuum_gain_sees_blinding():
    dark = preset(DEFAULT_PRESET).detector.dark_count_probability
    assert dark == 1e-8
    assert 0.0 not in preset(DEFAULT_PRESET).intensities
    per_gate = 1 - (1 - dark) ** 2
    assert look_at_vacuum_gain(Count(0, 730_000_000, per_gate)).alarm
    assert not look_at_vacuum_gain(Count(0, 720_000_000, per_gate)).alarm
    assert f"{log(2 / FALSE_ALARM):.1f} clicks are expected" in IN_ONE_LINE  # both tails: 2 exp(-clicks)
    assert "7.3e8 vacuum pulses" in IN_ONE_LINE


def test_what_a_probe_below_the_watchdog_brings_back():
    reflected = Outlet(isolation_db=60.0, watchdog_photons=1e4).reflected(1e4)
    assert reflected == pytest.approx(0.01)
    assert f"up to {100 * (1 - exp(-reflected)):.1f} % of the bits are hers" in IN_ONE_LINE


def test_what_the_check_asks_for_beyond_the_tag():
    distance = 2.0 ** -(TAG_MARGIN_BITS / 2 + 1)
    assert f"spare >= t + {TAG_MARGIN_BITS}, that is {distance:.1e}" in IN_ONE_LINE
