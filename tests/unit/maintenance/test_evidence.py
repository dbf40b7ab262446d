"""The long runs: a report names the program that ran, whatever is committed meanwhile."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from maintenance.evidence import __main__ as evidence


def test_a_report_names_the_commit_at_which_its_run_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = ["the first"]

    def run(_seed: int, part: int) -> evidence.Report:
        head[0] = "a later one"
        return {"part": part}

    experiment = replace(
        evidence.EXPERIMENTS[0],
        name="short",
        parts=2,
        processes=1,
        run=run,
        conclude=lambda findings: {"passed": len(findings) == 2},
    )
    monkeypatch.setattr(evidence, "EXPERIMENTS", (experiment,))
    monkeypatch.setattr(evidence, "_PARTS_FOLDER", tmp_path / "parts")
    monkeypatch.setattr(evidence, "_REPORTS_FOLDER", tmp_path / "reports")
    monkeypatch.setattr(evidence, "_git", lambda *_: head[0])
    monkeypatch.setattr(sys, "argv", ["evidence"])
    assert evidence.main() == 0
    report = json.loads((tmp_path / "reports" / "short.json").read_text())
    assert (report["commit"], report["passed"]) == ("the first", True)
