"""Every named kill point, each node alone and both together, early in the life of a link and later."""

import asyncio
from dataclasses import asdict
from typing import Any

from qkdlink.deployment.homes.names import ALICE, BOB
from qkdlink.lab.faults.kill_points import POINTS
from qkdlink.lab.faults.kill_trials import Trial, run_trial
from qkdlink.lab.faults.mortal import Death

_DISCARDING = ("before-discard", "after-discard")


def trials() -> list[Trial]:
    """Return the whole matrix, in an order in which neighbours differ."""
    made = []
    for point in POINTS:
        for node in point.nodes:
            if point.name in _DISCARDING:
                # Bob has something to forget only if Alice died before she had it
                first = (ALICE, Death("before-hold", 3))
                made.append(Trial((first, (node, Death(point.name, 1)))))
                continue
            made += [Trial(((node, Death(point.name, on)),)) for on in sorted({1, point.later})]
            made.append(Trial(((node, Death(point.name, point.later)),), together=True))
    # last confirmation lost, then either side killed
    lost = (ALICE, Death("after-release", 3))
    made += [
        Trial((lost, (BOB, Death("after-hearing-hello", 3)))),
        Trial((lost, (BOB, Death("before-release", 3)))),
    ]
    return [made[start] for offset in range(_STRIDE) for start in range(offset, len(made), _STRIDE)]


_STRIDE = 13
_TRIALS_PER_PART = 12
PARTS = -(-len(trials()) // _TRIALS_PER_PART)


def run_part(seed: int, part: int) -> dict[str, Any]:
    """Run some trials; who dies when is fixed, everything else is the operating system's."""
    del seed
    chosen = trials()[part * _TRIALS_PER_PART : (part + 1) * _TRIALS_PER_PART]
    return {"trials": [asdict(asyncio.run(run_trial(trial))) for trial in chosen]}


def conclude(findings: list[dict[str, Any]]) -> dict[str, Any]:
    """Count trials, deaths and keys, and name every fault."""
    done = [trial for finding in findings for trial in finding["trials"]]
    faulty = [trial for trial in done if trial["faults"]]
    return {
        "passed": not faulty,
        "kill_points": len({point.name for point in POINTS}),
        "trials": len(done),
        "deaths": sum(trial["deaths"] for trial in done),
        "keys": sum(trial["keys"] for trial in done),
        "faults": {trial["trial"]: trial["faults"] for trial in faulty},
    }
