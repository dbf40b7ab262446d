"""The outcome matrix of the full man in the middle, every cell, with thefts of the authority and an imposture."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from qkdlink.lab.middle.man_in_the_middle import run_cell
from qkdlink.lab.middle.matrix import ALL_CELLS

PARTS = len(ALL_CELLS)


def run_part(seed: int, part: int) -> dict[str, Any]:
    """Play one cell."""
    del seed
    cell = ALL_CELLS[part]
    with tempfile.TemporaryDirectory() as folder:
        told = asyncio.run(run_cell(cell, Path(folder) / "link")).as_json()
    kept = ("stolen", "scheme", "she_won", "traffic_read", "common_keys", "failures")
    return {"expected": cell.expected_to_win, **{name: told[name] for name in kept}}


def conclude(findings: list[dict[str, Any]]) -> dict[str, Any]:
    """Say in which cells it came otherwise than she wins if and only if she holds everything that authenticates."""
    otherwise = [
        f"{each['stolen']}; scheme {each['scheme']}"
        for each in findings
        if each["she_won"] != each["expected"] or (not each["expected"] and not each["failures"])
    ]
    return {"passed": not otherwise, "cells": findings, "otherwise": otherwise}
