"""Published figures beside ours: `python -m maintenance.documents.reproductions` prints `docs/reproductions.md`.

Each claim is computed again from its paper's own model by the very functions that give this project's keys
their length, and a verdict: reproduced, bracketed (two readings of the paper lie on either side) or differs.
"""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from qkdlink.lab.published import lim2014, ma2005, rusca2018, tomamichel2012


class Verdict(StrEnum):
    """How a published figure compares with ours."""

    REPRODUCED = "reproduced"
    BRACKETED = "bracketed"
    DIFFERS = "differs"


@dataclass(frozen=True, slots=True)
class Claim:
    """A readable published figure beside ours; two of ours where a paper can be read in two ways."""

    source: str
    statement: str
    published: float
    ours: tuple[float, ...]
    within: float
    """Largest relative difference that still counts as reproduced: the rounding of the published figure."""
    digits: int
    """Digits after the decimal point to print."""
    why: str = ""

    @property
    def verdict(self) -> Verdict:
        """Reproduced by every reading, bracketed by two of them, or neither."""
        if all(abs(value / self.published - 1) <= self.within for value in self.ours):
            return Verdict.REPRODUCED
        if min(self.ours) <= self.published <= max(self.ours):
            return Verdict.BRACKETED
        return Verdict.DIFFERS

    def cells(self) -> list[str]:
        """Return this claim as a row of the table of claims."""
        ours = " to ".join(f"{value:.{self.digits}f}" for value in self.ours)
        return [self.source, self.statement, f"{self.published:.10g}", ours, self.verdict, self.why]


LIM_BLOCKS = tuple(10.0**exponent for exponent in range(4, 10))
LIM_DISTANCES_KM = (0, 25, 50, 75, 100, 125, 150, 175)
RUSCA_BLOCKS = tuple(10.0**exponent for exponent in range(5, 9))
RUSCA_DISTANCES_KM = (0, 50, 100, 150, 200)
TOMAMICHEL_TABLE = {
    (10**4, 0.01): 11.7,
    (10**4, 0.025): 6.8,
    (10**5, 0.01): 30.4,
    (10**5, 0.025): 21.5,
    (10**6, 0.01): 47.8,
    (10**6, 0.025): 35.7,
}
"""Key rates in per cent, by key bits and error rate. Source: Tomamichel et al. (2012), Table II."""

_OTHER_EPS_SEC = 1e-9


def ma_claims() -> list[Claim]:
    """Return the asymptotic figures of Ma et al. for the GYS experiment, and the BB84 threshold."""
    source = "Ma et al. 2005"
    return [
        Claim(source, "optimal mu", 0.48, (ma2005.optimal_signal(),), 0.01, 4),
        Claim(source, "optimal mu at f = 1", 0.54, (ma2005.optimal_signal(1.0),), 0.01, 4),
        Claim(
            source,
            "reach in km, infinitely many decoys",
            142.05,
            (ma2005.asymptotic_reach_km(),),
            0.001,
            2,
            f"mu = 0.48; {ma2005.asymptotic_reach_km(None):.2f} km with mu optimised",
        ),
        Claim(
            source,
            "reach in km, vacuum and weak decoy",
            140.55,
            (ma2005.vacuum_and_weak_reach_km(),),
            0.001,
            2,
        ),
        Claim(source, "distance in km at which e_1 = 1/4", 208, (ma2005.quarter_error_km(),), 0.0025, 2),
        Claim(
            source,
            "reach in km without decoys",
            30,
            (ma2005.without_decoys_reach_km(),),
            0.05,
            1,
            "their curve rests on assumptions that the paper does not state",
        ),
        Claim(
            "Shor, Preskill 2000",
            "BB84 threshold in per cent",
            11.0,
            (100 * ma2005.bb84_threshold(),),
            0.001,
            4,
            f"{100 * ma2005.bb84_threshold(1.16):.2f} % with f = 1.16",
        ),
    ]


def lim_claims() -> list[Claim]:
    """Return the two figures that the text of Lim et al. draws from its Fig. 1."""
    ratio, other_ratio = (
        lim2014.optimal_point(100, 1e9, eps).rate / lim2014.optimal_point(100, 1e7, eps).rate
        for eps in (None, _OTHER_EPS_SEC)
    )
    return [
        Claim(
            "Lim et al. 2014",
            "rate of n_X = 1e9 over rate of 1e7 at 100 km",
            1.75,
            (other_ratio, ratio),
            0.03,
            2,
            'published as "about"; eps_sec = 1e-9, and kappa = 1e-15',
        ),
        Claim(
            "Lim et al. 2014",
            "reach in km of n_X = 1e4",
            135,
            (lim2014.reach_km(1e4), lim2014.reach_km(1e4, _OTHER_EPS_SEC)),
            0.01,
            0,
            "kappa = 1e-15 solved for itself, and eps_sec = 1e-9",
        ),
    ]


def rusca_claims() -> list[Claim]:
    """Return the worked one-decoy example."""
    return [
        Claim(
            "Rusca et al. 2018",
            "secret bits of the worked example",
            1464719,
            (rusca2018.worked_example_bits(),),
            0.0,
            0,
            "verified elsewhere by interval arithmetic (A. Baliuka, FormalQKD)",
        )
    ]


def lim_row(key_bits: float) -> list[str]:
    """Return one curve of Lim et al., Fig. 1: secret bits per pulse at each distance, and the reach."""
    rates = [lim2014.optimal_point(distance_km, key_bits).rate for distance_km in LIM_DISTANCES_KM]
    return [f"{key_bits:.0e}", *map(_rate, rates), f"{lim2014.reach_km(key_bits):.0f}"]


def rusca_row(key_bits: float) -> list[str]:
    """Return kilobits per second with one decoy, and its ratio to two decoys, at each distance."""
    cells = []
    for distance_km in RUSCA_DISTANCES_KM:
        one = rusca2018.one_decoy_rate(distance_km, key_bits)
        two = rusca2018.two_decoy_rate(distance_km, key_bits)
        cells.append(f"{one / 1000:.3g} ({one / two:.2f})")
    return [f"{key_bits:.0e}", *cells]


def tomamichel_row(key_bits: int, qber: float) -> list[str]:
    """Return one entry of Table II between our two rates, in per cent, with its verdict."""
    low, high = (
        100 * tomamichel2012.optimal_rate(key_bits, qber, robustness)
        for robustness in (tomamichel2012.hoeffding_robustness, tomamichel2012.exact_robustness)
    )
    claim = Claim("", "", TOMAMICHEL_TABLE[key_bits, qber], (low, high), 0.01, 1)
    return [
        f"{key_bits:.0e}, {100 * qber:g} %",
        f"{claim.published}",
        f"{low:.1f}",
        f"{high:.1f}",
        claim.verdict,
    ]


def document() -> str:
    """Return the whole of `docs/reproductions.md`; takes about ten seconds."""
    claims = [*lim_claims(), *rusca_claims(), *ma_claims()]
    return _TEXT.format(
        claims=_table(["source", "what", "published", "ours", "verdict", ""], (c.cells() for c in claims)),
        lim=_table(["n_X", *(f"{km} km" for km in LIM_DISTANCES_KM), "reach, km"], map(lim_row, LIM_BLOCKS)),
        rusca=_table(["n_Z", *(f"{km} km" for km in RUSCA_DISTANCES_KM)], map(rusca_row, RUSCA_BLOCKS)),
        tomamichel=_table(
            ["n, Q", "published, %", "Hoeffding, %", "binomial, %", "verdict"],
            (tomamichel_row(*entry) for entry in TOMAMICHEL_TABLE),
        ),
    )


def _rate(rate: float) -> str:
    return f"{rate:.2e}" if rate > 0 else "-"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


_TEXT = """\
# Published figures beside ours

Printed by `python -m maintenance.documents.reproductions`; `tests/unit/maintenance/test_reproductions.py` keeps it
true. Each paper's own model (`qkdlink/lab/published/`) is put through the functions that give this project's keys their
length (`common/distillation/finite_key.py`). *Reproduced* means within the rounding of the published figure,
*bracketed* that two readings of the paper lie on either side of it, *differs* neither.

{claims}

## Lim et al. 2014, Fig. 1

Secret bits per pulse of two-decoy BB84, over the basis bias, two intensities and two probabilities at each
point. The curves are printed without numbers; what the text quotes from them stands above. Verdict: the
shape and the quoted ratio are reproduced, the reach of the smallest block is bracketed.

{lim}

Read differently than printed: the error probability e_k takes the transmittance of the whole system (with
that of the channel alone, as printed, the quoted ratio would be 2.7), and the leak carries the factor n_X.
With eps_sec proportional to the length that it determines (kappa = 1e-15) the smallest block reaches less
far than quoted; with a fixed eps_sec = 1e-9 a little farther. An afterpulse is charged to the class of the
pulse that caused it, as published; our emulated detectors charge it to the gate in which it happens
(`docs/physics.md`), so their counts are not these.

## Rusca et al. 2018

Kilobits per second of one-decoy BB84, and in parentheses its ratio to two decoys with a perfect vacuum,
both optimised at each point. Published claim: for blocks of up to 1e8 bits one decoy is the better in
almost all settings. Verdict: reproduced; two decoys lead only at 0 km, where the dead time of 100 ns
swallows most clicks anyway.

{rusca}

Read differently than printed: Eq. (A18) carries e^k / p_k, and gamma carries 19^2, the number of failure
terms of this proof (the printed 21^2 would make the worked example 1464306 bits).

## Tomamichel et al. 2012, Table II

Key rate of single-photon BB84 in per cent of the detected signals, at a security rate of 1e-14. The paper
does not say how it computes how often an honest link aborts: Hoeffding's bound is pessimistic, the binomial
tail exact. The table lies between the two throughout, nearer to the exact one for long keys.

{tomamichel}
"""


def main() -> None:
    """Print the document."""
    sys.stdout.write(document())


if __name__ == "__main__":
    main()
