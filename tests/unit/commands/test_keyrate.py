"""The calculator: numbers in, numbers out, and one sentence for everything that is not such an input."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from qkdlink.cli import app
from qkdlink.commands.keyrate import keyrate
from qkdlink.common.distillation.finite_key import Statistics, single_photon_length, two_decoy_length
from qkdlink.common.errors import ConfigurationError

RUSCA: dict[str, Any] = {
    "method": "rusca2018",
    "intensities": [0.51, 0.15],
    "probabilities": [0.7, 0.3],
    "key_basis": {"detections": [8875913, 1124087], "errors": [185856, 26055]},
    "test_basis": {"detections": [165048, 20902], "errors": [3456, 484]},
    "leaked_bits": 1776924,
    "eps_sec": 1e-9,
    "eps_cor": 1e-15,
}
LIM: dict[str, Any] = {
    "method": "lim2014",
    "intensities": [0.48, 0.12, 0.0],
    "probabilities": [0.6, 0.25, 0.15],
    "key_basis": {"detections": [2900000, 310000, 900]},
    "test_basis": {"detections": [720000, 78000, 230], "errors": [8600, 1000, 110]},
    "leaked_bits": 300000,
    "eps_sec": 1e-9,
    "eps_cor": 1e-15,
}
TOMAMICHEL: dict[str, Any] = {
    "method": "tomamichel2012",
    "key_bits": 100000,
    "test_bits": 20000,
    "tolerated_qber": 0.02,
    "leaked_bits": 17000,
    "eps_sec": 1e-9,
    "eps_cor": 1e-15,
}


def refusal(text: str) -> str:
    with pytest.raises(ConfigurationError) as refused:
        keyrate(text)
    return str(refused.value)


def changed(block: dict[str, Any], **fields: object) -> str:
    return json.dumps({**block, **fields})


def without(block: dict[str, Any], field: str) -> str:
    return json.dumps({name: value for name, value in block.items() if name != field})


def test_the_worked_example_gives_the_verified_length():
    result = keyrate(json.dumps(RUSCA))
    assert result.secret_bits == 1464719
    assert result.single_photon_events == pytest.approx(5396516.26882, rel=1e-11)
    assert result.phase_error_rate == pytest.approx(0.0791736594, rel=1e-8)


def test_the_output_has_the_documented_fields_and_no_other():
    assert list(json.loads(keyrate(json.dumps(RUSCA)).model_dump_json())) == [
        "secret_bits",
        "single_photon_events",
        "phase_error_rate",
        "sampling",
        "exact_secret_bits",
        "warning",
    ]


@pytest.mark.parametrize(
    ("block", "published", "exact"),
    [(RUSCA, 1464719, 1450860), (LIM, 1211677, 1209690), (TOMAMICHEL, 51581, 62772)],
)
def test_the_answer_names_the_sampling_and_says_what_the_exact_one_gives(
    block: dict[str, Any], published: int, exact: int
):
    as_printed = keyrate(changed(block, sampling="published"))
    exactly = keyrate(changed(block, sampling="exact"))
    assert as_printed == keyrate(json.dumps(block))
    assert (as_printed.sampling, exactly.sampling) == ("published", "exact")
    assert (as_printed.secret_bits, as_printed.exact_secret_bits) == (published, exact)
    assert (exactly.secret_bits, exactly.exact_secret_bits, exactly.warning) == (exact, exact, None)
    assert (as_printed.warning is not None) == (published > exact)
    if as_printed.warning:
        assert f"{published - exact} bits more than exact sampling" in as_printed.warning


def test_the_command_prints_the_warning_beside_the_answer(tmp_path: Path):
    (tmp_path / "block.json").write_text(json.dumps(RUSCA))
    told = CliRunner().invoke(app, ["keyrate", "--input", str(tmp_path / "block.json")])
    assert "sampling                published (exact sampling: 1450860 bits)" in told.stdout
    assert "13859 bits more than exact sampling" in told.stderr


def test_two_decoy_input_reaches_the_two_decoy_bound():
    statistics = Statistics(
        (0.48, 0.12, 0.0),
        (0.6, 0.25, 0.15),
        (2900000, 310000, 900),
        None,
        (720000, 78000, 230),
        (8600, 1000, 110),
    )
    expected = two_decoy_length(statistics, 300000, 1e-9, 1e-15)
    result = keyrate(json.dumps(LIM))
    assert (result.secret_bits, result.single_photon_events, result.phase_error_rate) == (
        expected.secret_bits,
        expected.single_photon_events,
        expected.phase_error_rate,
    )
    assert result.secret_bits > 0


def test_single_photon_input_reaches_the_single_photon_bound():
    expected = single_photon_length(100000, 20000, 0.02, 17000, 1e-9, 1e-15)
    assert keyrate(json.dumps(TOMAMICHEL)).secret_bits == expected.secret_bits > 0


def test_no_key_is_an_answer_and_not_an_error():
    result = keyrate(changed(RUSCA, leaked_bits=10**9))
    assert (result.secret_bits, result.phase_error_rate) == (0, 0.5)


def test_two_decoys_accept_key_basis_errors_without_needing_them():
    given = changed(LIM, key_basis={"detections": [2900000, 310000, 900], "errors": [30000, 3000, 400]})
    assert keyrate(given) == keyrate(json.dumps(LIM))


def test_a_count_may_be_written_in_exponential_notation():
    assert keyrate(json.dumps(RUSCA).replace("1776924", "1.776924e6")) == keyrate(json.dumps(RUSCA))


def test_the_extremes_of_every_number_still_give_an_answer():
    tiny = changed(RUSCA, intensities=[100, 1e-9], probabilities=[1.0, 1e-12], eps_sec=1e-300, eps_cor=1e-300)
    assert keyrate(tiny).secret_bits == 0
    close = changed(LIM, intensities=[0.3 + 1e-16, 0.2, 0.1], eps_sec=0.999999, eps_cor=0.999999)
    assert keyrate(close).secret_bits >= 0
    huge = changed(TOMAMICHEL, key_bits=10**15, test_bits=10**15)
    assert keyrate(huge).secret_bits <= 10**15


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "not a JSON object"),
        ("{", "not a JSON object"),
        ("[]", "not a JSON object"),
        ("3", "not a JSON object"),
        ("[" * 100_000, "not a JSON object"),
        ("9" * 5000, "not a JSON object"),
        ('{"method": "rusca2018", "method": "lim2014"}', "stands twice"),
        (json.dumps({**RUSCA, "eps_sec": float("nan")}), "NaN is not a number"),
        (json.dumps({**RUSCA, "leaked_bits": float("inf")}), "Infinity is not a number"),
        (json.dumps(RUSCA).replace("1776924", "1e999"), "leaked_bits"),
        (json.dumps(RUSCA).replace("0.51", "1e999"), "intensities.0"),
        (without(RUSCA, "method"), 'the field "method" is missing'),
        (changed(RUSCA, method="bb84"), "unknown method bb84 (known: lim2014, rusca2018, tomamichel2012)"),
        (changed(RUSCA, method=None), "unknown method"),
        (without(RUSCA, "eps_cor"), "eps_cor: this field is missing"),
        (without(TOMAMICHEL, "key_bits"), "key_bits: this field is missing"),
        (changed(RUSCA, sampling="serfling"), "sampling: it must be 'published' or 'exact'"),
        (
            changed(RUSCA, key_basis={"detections": [1124087, 8875913], "errors": [26055, 185856]}),
            "3.224e+07 vacuum detections and leave room for at most 1.00691e+06",
        ),
        (
            changed(RUSCA, test_basis={"detections": [165048, 20902], "errors": [484, 3456]}),
            "0 errors of single photons and leave room for at most -",
        ),
        (
            changed(LIM, key_basis={"detections": [900, 310000, 2900000]}),
            "no source with these intensities gives these counts",
        ),
        (changed(RUSCA, colour="red"), "colour: there is no such field"),
        (changed(TOMAMICHEL, intensities=[0.5, 0.1]), "intensities: there is no such field"),
        (
            changed(RUSCA, key_basis={**RUSCA["key_basis"], "total": 1}),
            "key_basis.total: there is no such field",
        ),
        (changed(RUSCA, intensities=[0.15, 0.51]), "descending"),
        (changed(RUSCA, intensities=[0.5, 0.5]), "descending"),
        (changed(RUSCA, intensities=[0.5, 0.0]), "second intensity"),
        (changed(RUSCA, intensities=[0.5, -0.1]), "intensities.1"),
        (changed(RUSCA, intensities=[0.5]), "intensities needs 2 values, one per intensity, not 1"),
        (changed(RUSCA, intensities=[0.5, 0.1, 0.0]), "intensities needs 2 values"),
        (changed(RUSCA, intensities="high"), "intensities: it must be a list, in square brackets"),
        (changed(RUSCA, intensities=["0.5", "0.1"]), "intensities.0"),
        (changed(LIM, intensities=[0.3, 0.2, 0.1]), "exceed the sum"),
        (changed(LIM, intensities=[0.5, 0.1]), "intensities needs 3 values"),
        (changed(RUSCA, probabilities=[0.7, 0.2]), "sum to 0.9"),
        (changed(RUSCA, probabilities=[1.0, 0.0]), "probabilities.1"),
        (changed(RUSCA, probabilities=[1.5, -0.5]), "probabilities.0"),
        (changed(RUSCA, probabilities=[1.0]), "probabilities needs 2 values"),
        (changed(RUSCA, leaked_bits=-1), "leaked_bits"),
        (changed(RUSCA, leaked_bits=1.5), "leaked_bits"),
        (changed(RUSCA, leaked_bits="1"), "leaked_bits"),
        (changed(RUSCA, leaked_bits=True), "leaked_bits"),
        (changed(RUSCA, leaked_bits=10**16), "leaked_bits"),
        (changed(RUSCA, eps_sec=0), "between 0 and 1"),
        (changed(RUSCA, eps_sec=1), "between 0 and 1"),
        (changed(RUSCA, eps_cor=-1e-9), "between 0 and 1"),
        (changed(RUSCA, eps_cor=1e-310), "cannot be computed with"),
        (changed(RUSCA, eps_cor=True), "eps_cor"),
        (changed(RUSCA, key_basis=[1, 2]), "key_basis: this has to be an object"),
        (changed(RUSCA, key_basis={"detections": [8875913, 1124087]}), "needs key_basis.errors"),
        (
            changed(RUSCA, test_basis={"detections": [165048, 20902]}),
            "test_basis.errors: this field is missing",
        ),
        (
            changed(RUSCA, test_basis={"detections": [5, 5], "errors": [6, 0]}),
            "test_basis: errors exceed detections",
        ),
        (
            changed(RUSCA, key_basis={"detections": [5, 5], "errors": [0, 6]}),
            "key_basis: errors exceed detections",
        ),
        (changed(RUSCA, test_basis={"detections": [5, -5], "errors": [0, 0]}), "test_basis.detections.1"),
        (changed(RUSCA, test_basis={"detections": [5], "errors": [0, 0]}), "test_basis.detections needs 2"),
        (changed(RUSCA, test_basis={"detections": [5, 5], "errors": [0]}), "test_basis.errors needs 2"),
        (changed(RUSCA, key_basis={"detections": [5, 5], "errors": [0, 0, 0]}), "key_basis.errors needs 2"),
        (changed(LIM, key_basis={"detections": [5, 5]}), "key_basis.detections needs 3"),
        (changed(TOMAMICHEL, tolerated_qber=1.1), "tolerated_qber"),
        (changed(TOMAMICHEL, tolerated_qber=-0.1), "tolerated_qber"),
        (changed(TOMAMICHEL, key_bits=-1), "key_bits"),
        (changed(RUSCA, **{"two\nlines" * 100: 1}), "there is no such field"),
    ],
)
def test_what_is_not_an_input_is_refused_with_one_sentence(text: str, complaint: str):
    sentence = refusal(text)
    assert complaint in sentence
    assert sentence.startswith("keyrate input")
    assert "\n" not in sentence
    assert len(sentence) <= 200
