"""The table of attacks below their thresholds, made of the report of the run that looked at a hundred keys of each."""

import json
from pathlib import Path
from typing import Any

_REPORT = Path(__file__).resolve().parents[2] / "docs" / "evidence" / "secrecy.json"


def secrecy_table() -> str:
    """Return one row per case: what she did, what she knew of the keys that were made, and what was found."""
    report = json.loads(_REPORT.read_text("utf-8"))
    return "\n".join(
        [
            "| attack | blocks of | refused, by | knows for sure | knows at all | keys, unsafe | too long is caught |",
            "| --- | --- | --- | --- | --- | --- | --- |",
            *(_row(case) for case in report["cases"]),
        ]
    )


def _row(case: dict[str, Any]) -> str:
    refused, reasons = case["blocks"] - case["keys"], ", ".join(case["refused_by"])
    without = "".join(f", without `{monitor}`" for monitor in case["turned_off"])
    tolerated = "" if case["tolerated_qber"] is None else f", tolerated {case['tolerated_qber']:.0%}"
    return " | ".join(
        [
            f"| `{case['attack']}`{without}",
            f"{case['pulses']:,} pulses, {case['protocol']}{tolerated}",
            f"{refused}: {reasons}" if refused else "0",
            f"{case['least_known_fraction']:.1%} to {case['largest_known_fraction']:.1%}",
            f"{case['mean_known_share']:.1%}",
            f"{case['keys']}, {case['unsafe']}",
            f"{'yes' if case['shortened_are_caught'] else '**no**'} |",
        ]
    )
