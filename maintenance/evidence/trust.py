"""Every trust anchor with every scheme: a bootstrap, epochs after it, and equal keys on both sides."""

import asyncio
from itertools import product
from typing import Any

from qkdlink.common.authentication.scheme import SchemeName
from qkdlink.common.trust.anchor import AnchorName
from qkdlink.deployment.homes.security import Security
from qkdlink.lab.scenarios.comparison import run_once

_BLOCKS = 5
_COMBINATIONS = tuple(Security(*each) for each in product(AnchorName, SchemeName))
PARTS = len(_COMBINATIONS)


def run_part(seed: int, part: int) -> dict[str, Any]:
    """Run one combination."""
    del seed
    security = _COMBINATIONS[part]
    told = asyncio.run(run_once(security, _BLOCKS)).as_json()
    return {
        "anchor": str(security.anchor),
        "scheme": str(security.scheme),
        "keys_equal": told["keys_equal"],
        "authenticated_by": [block["authenticated_by"] for block in told["blocks"]],
        "bootstrap": told["bootstrap"],
    }


def conclude(findings: list[dict[str, Any]]) -> dict[str, Any]:
    """Say which combinations made equal keys, the last of them under the scheme that was asked for."""
    failed = [
        f"{each['anchor']} with {each['scheme']}"
        for each in findings
        if not each["keys_equal"] or each["authenticated_by"][-1] != each["scheme"]
    ]
    return {"passed": not failed, "combinations": findings, "failed": failed}
