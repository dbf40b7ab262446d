"""Published figures: reproduced to their rounding, and the page that says so is what the code computes."""

import re
from pathlib import Path

import pytest

from maintenance.documents.reproductions import (
    TOMAMICHEL_TABLE,
    Claim,
    Verdict,
    document,
    lim_claims,
    lim_row,
    ma_claims,
    rusca_claims,
    rusca_row,
    tomamichel_row,
)
from qkdlink.lab.published import lim2014, ma2005, rusca2018, tomamichel2012

PAGE = Path(__file__).parents[3] / "docs" / "reproductions.md"
NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")


def rows_of_the_page() -> dict[str, list[str]]:
    """Every table row of the page under its section's title and its first cell (second, for claims)."""
    rows, section = {}, ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            section = line.lstrip("# ")
        elif line.startswith("| "):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            name = cells[1] if section == "Published figures beside ours" else cells[0]
            rows[f"{section}: {name}"] = cells
    return rows


def same(printed: list[str], computed: list[str]) -> bool:
    """Equal words, and numbers equal to 1 per cent: other machines round the last digit otherwise."""
    ours, theirs = " | ".join(computed), " | ".join(printed)
    if NUMBER.sub("#", ours) != NUMBER.sub("#", theirs):
        return False
    numbers = zip(NUMBER.findall(ours), NUMBER.findall(theirs), strict=True)
    return all(float(a) == pytest.approx(float(b), rel=0.01) for a, b in numbers)


def test_the_page_shows_what_the_code_computes():
    rows = rows_of_the_page()
    for claim in [*lim_claims(), *rusca_claims(), *ma_claims()]:
        assert same(rows[f"Published figures beside ours: {claim.statement}"], claim.cells()), claim
    assert same(rows["Lim et al. 2014, Fig. 1: 1e+07"], lim_row(1e7))
    assert same(rows["Rusca et al. 2018: 1e+07"], rusca_row(1e7))
    assert same(rows["Tomamichel et al. 2012, Table II: 1e+05, 1 %"], tomamichel_row(10**5, 0.01))


@pytest.mark.evidence
def test_the_whole_page_shows_what_the_code_computes():
    for printed, computed in zip(
        PAGE.read_text(encoding="utf-8").splitlines(), document().splitlines(), strict=True
    ):
        assert same([printed], [computed])


def test_the_comparison_of_pages_sees_a_changed_number_and_a_changed_word():
    assert same(["1e+04", "2.08e-04 (0.91)"], ["1e+04", "2.07e-04 (0.91)"])
    assert not same(["1e+04", "2.08e-04"], ["1e+04", "2.18e-04"])
    assert not same(["1e+04", "reproduced"], ["1e+04", "differs"])


def test_a_claim_is_reproduced_bracketed_or_differs():
    def verdict(*ours: float) -> Verdict:
        return Claim("paper", "what", 10.0, ours, 0.01, 1).verdict

    assert verdict(10.05) is Verdict.REPRODUCED
    assert verdict(9.95, 10.05) is Verdict.REPRODUCED
    assert verdict(9.0, 10.05) is Verdict.BRACKETED
    assert verdict(9.0, 9.5) is Verdict.DIFFERS
    assert verdict(10.2) is Verdict.DIFFERS


def test_lim_2014_rates_at_100_km_stand_in_the_published_ratio():
    """Published as "about 1.75"."""
    ratio = lim2014.optimal_point(100, 1e9).rate / lim2014.optimal_point(100, 1e7).rate
    assert ratio == pytest.approx(1.75, abs=0.05)


def test_lim_2014_smallest_block_reaches_135_km_between_two_readings_of_the_security_rate():
    assert lim2014.optimal_point(129, 1e4).rate > 0
    assert lim2014.optimal_point(135, 1e4).rate == 0
    assert lim2014.optimal_point(135, 1e4, eps_sec=1e-9).rate > 0
    assert lim2014.optimal_point(138, 1e4, eps_sec=1e-9).rate == 0


def test_lim_2014_larger_blocks_give_more_key_at_every_distance():
    for distance_km in (0, 100):
        rates = [lim2014.optimal_point(distance_km, 10.0**exponent).rate for exponent in (4, 6, 8)]
        assert rates == sorted(rates)


def test_rusca_2018_worked_example_has_its_verified_length():
    assert rusca2018.worked_example_bits() == 1464719


@pytest.mark.parametrize("distance_km", [50, 150])
@pytest.mark.parametrize("key_bits", [1e5, 1e8])
def test_rusca_2018_one_decoy_beats_two(distance_km: float, key_bits: float):
    one = rusca2018.one_decoy_rate(distance_km, key_bits)
    assert one > rusca2018.two_decoy_rate(distance_km, key_bits) > 0


def test_ma_2005_figures_for_gys():
    assert ma2005.optimal_signal() == pytest.approx(0.479, abs=5e-4)
    assert ma2005.asymptotic_reach_km() == pytest.approx(142.05, abs=0.1)
    assert ma2005.asymptotic_reach_km(None) == pytest.approx(142.21, abs=0.01)
    assert ma2005.vacuum_and_weak_reach_km() == pytest.approx(140.55, abs=0.1)
    assert ma2005.quarter_error_km() == pytest.approx(208, abs=0.5)


def test_the_bb84_threshold_is_eleven_per_cent():
    assert ma2005.bb84_threshold() == pytest.approx(0.110028, abs=1e-6)
    assert ma2005.bb84_threshold(1.16) == pytest.approx(0.0981, abs=5e-5)
    assert ma2005.bb84_threshold(1.22) == pytest.approx(0.0942, abs=5e-5)


@pytest.mark.parametrize("entry", [(10**4, 0.01), (10**6, 0.025)])
def test_tomamichel_2012_table_lies_between_two_ways_of_counting_honest_aborts(entry: tuple[int, float]):
    pessimistic = tomamichel2012.optimal_rate(*entry, tomamichel2012.hoeffding_robustness)
    exact = tomamichel2012.optimal_rate(*entry, tomamichel2012.exact_robustness)
    assert 100 * pessimistic < TOMAMICHEL_TABLE[entry] < 100 * exact
