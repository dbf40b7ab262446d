"""The table of scenarios, made of their files and of the report of the run that tried them all."""

import json
from pathlib import Path

from qkdlink.lab.scenarios.scenario import scenarios

_REPORT = Path(__file__).resolve().parents[2] / "docs" / "evidence" / "scenarios.json"


def scenario_table() -> str:
    """Return one row per scenario: the question, what came of it in the last whole run, and how long it took."""
    report = json.loads(_REPORT.read_text("utf-8"))
    ran = {each["scenario"]: each for each in report["scenarios"]}
    rows = [
        f"| `{each.name}` | {each.question} | {_told(ran.get(each.name), each.expected)} |"
        for each in scenarios()
    ]
    passed = sum(each["passed"] for each in ran.values())
    return "\n".join(
        [
            "| scenario | question | verdict |",
            "| --- | --- | --- |",
            *rows,
            "",
            f"{passed} of {len(rows)} scenarios came out as expected, in {report['seconds']:.0f} s.",
        ]
    )


def _told(ran: dict[str, object] | None, expected: str) -> str:
    if ran is None:
        return "not run"
    return f"{ran['verdict']}" if ran["passed"] else f"{ran['verdict']}, **expected {expected}**"
