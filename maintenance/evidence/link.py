"""Whole links, as a user runs them: processes, broker and TLS are real; the keys have to be equal each time."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from qkdlink.common.optics.presets import DEFAULT_PRESET, preset
from qkdlink.common.protocol.variants.catalogue import VARIANTS
from qkdlink.deployment.homes.home import open_home
from qkdlink.deployment.launching.link_result import run_to_the_end
from qkdlink.deployment.launching.link_run import LinkRun
from qkdlink.deployment.planning.planner import plan, smallest_block, task_for

_RUNS_PER_PROTOCOL = 10
_BLOCKS = 2
_SECRET_BITS = 5_000
PARTS = _RUNS_PER_PROTOCOL * len(VARIANTS)


def run_part(seed: int, part: int) -> dict[str, Any]:
    """Run one link; its choices come from the operating system, so the seed has no say here."""
    del seed
    protocol = list(VARIANTS)[part % len(VARIANTS)]
    task = task_for(preset(DEFAULT_PRESET), 1, protocol)
    task = task_for(preset(DEFAULT_PRESET), smallest_block(task, _SECRET_BITS) or 1, protocol)
    parameters = plan(task).link_parameters()
    with tempfile.TemporaryDirectory() as folder:
        result = asyncio.run(run_to_the_end(open_home(Path(folder)), LinkRun(parameters, blocks=_BLOCKS)))
    return {"protocol": protocol, "keys_equal": result.keys_equal, "secret_bits": result.secret_bits}


def conclude(findings: list[dict[str, Any]]) -> dict[str, Any]:
    """Count runs and equal keys per protocol."""
    runs = {protocol: [each for each in findings if each["protocol"] == protocol] for protocol in VARIANTS}
    return {
        "passed": all(each["keys_equal"] for each in findings),
        "protocols": {
            protocol: {
                "runs": len(found),
                "keys_equal": sum(each["keys_equal"] for each in found),
                "secret_bits": sum(each["secret_bits"] for each in found),
            }
            for protocol, found in runs.items()
        },
    }
