"""`python -m maintenance.evidence`: the long runs behind the claims; resumable, at most an hour, each with its count.

An experiment is cut into parts that depend on nothing but the seed and their number. Finished parts are kept under
`build/evidence/`, named after the state of the code they were run with, so that a run that was stopped goes on where
it was and a changed program begins anew. Reports are written to `docs/evidence/` once all parts are done. With
`--slice`, a small fixed number of parts of each is run and nothing is written: that is what CI does.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rich.console import Console

from maintenance.evidence import cascade as evidence_cascade
from maintenance.evidence import crashes as evidence_crashes
from maintenance.evidence import kills as evidence_kills
from maintenance.evidence import light as evidence_light
from maintenance.evidence import link as evidence_link
from maintenance.evidence import matrix as evidence_matrix
from maintenance.evidence import memory as evidence_memory
from maintenance.evidence import rekeying as evidence_rekeying
from maintenance.evidence import scenarios as evidence_scenarios
from maintenance.evidence import secrecy as evidence_secrecy
from maintenance.evidence import transparent as evidence_transparent
from maintenance.evidence import trust as evidence_trust
from qkdlink.deployment.launching.compilation import ensure_compiled
from qkdlink.views.console import console

_ROOT = Path(__file__).parents[2]
_PARTS_FOLDER = _ROOT / "build" / "evidence"
_REPORTS_FOLDER = _ROOT / "docs" / "evidence"
_WHOLE_LINK = ("alice", "bob", "common", "qkdlink/deployment", "qkdlink/lab", "requirements.lock")
_RECONCILIATION = (
    "common/bits.py",
    "common/distillation",
    "common/kernels/compiled.py",
    "common/randomness.py",
    "maintenance/evidence/cascade.py",
    "requirements.lock",
)
_LIGHT = (
    "common/kernels/compiled.py",
    "common/optics",
    "common/randomness.py",
    "maintenance/evidence/light.py",
    "requirements.lock",
)
_SECRECY = (
    "common/bits.py",
    "common/distillation",
    "common/kernels/compiled.py",
    "common/optics",
    "common/protocol",
    "common/randomness.py",
    "eve/notebook.py",
    "eve/quantum_attacks",
    "qkdlink/lab/light/analysis.py",
    "qkdlink/lab/light/block_with_eve.py",
    "maintenance/evidence/secrecy.py",
    "qkdlink/lab/light/undetermined.py",
    "requirements.lock",
)
_LIMIT_S = 3600.0
SEED = 20260

type Report = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Experiment:
    """A claim that takes long to show."""

    name: str
    claim: str
    code: tuple[str, ...]
    """What the findings depend on: files and folders of this repository."""
    parts: int
    in_slice: int
    """Parts that CI runs."""
    processes: int
    run: Callable[[int, int], Report]
    """Run one part: (seed, number of the part) -> its findings. A function of a module, so that it can be sent."""
    conclude: Callable[[list[Report]], Report]
    """All findings -> the report, whose `passed` says whether the claim holds."""


EXPERIMENTS = (
    Experiment(
        "reconciliation",
        "Cascade: no failure in 3,000 keys of 2^20 bits, nor of 2^16, at 1, 2, 3, 5 and 8 % each; efficiency at most"
        " 1.06 up to 5 % and 1.09 at 8 %, for 2^16 bits 1.10, where parities are spared 1.045 up to 3 %, and over a"
        " distance 1.09",
        code=_RECONCILIATION,
        parts=evidence_cascade.PARTS,
        in_slice=1,
        processes=2,
        run=evidence_cascade.run_part,
        conclude=evidence_cascade.conclude,
    ),
    Experiment(
        "light",
        "gains and error rates of every preset and protocol within 5 standard deviations of the emulated model",
        code=_LIGHT,
        parts=evidence_light.PARTS,
        in_slice=2,
        processes=2,
        run=evidence_light.run_part,
        conclude=evidence_light.conclude,
    ),
    Experiment(
        "link",
        "ten runs of the real processes per protocol: equal keys each time",
        code=_WHOLE_LINK,
        parts=evidence_link.PARTS,
        in_slice=3,
        processes=1,
        run=evidence_link.run_part,
        conclude=evidence_link.conclude,
    ),
    Experiment(
        "memory",
        f"over hundreds of blocks neither node grows by more than {evidence_memory.MOST_KIB_PER_BLOCK:g} KiB a block",
        code=_WHOLE_LINK,
        parts=len(evidence_memory.RUNS),
        in_slice=1,
        processes=1,
        run=evidence_memory.run_part,
        conclude=evidence_memory.conclude,
    ),
    Experiment(
        "rekeying",
        "200 re-keyings while blocks flow: no block lost, no identifier mismatched, no key used beyond its epoch",
        code=_WHOLE_LINK,
        parts=evidence_rekeying.PARTS,
        in_slice=1,
        processes=1,
        run=evidence_rekeying.run_part,
        conclude=evidence_rekeying.conclude,
    ),
    Experiment(
        "combinations",
        "every trust anchor with every scheme: equal keys, and later blocks authenticated as asked",
        code=_WHOLE_LINK,
        parts=evidence_trust.PARTS,
        in_slice=1,
        processes=1,
        run=evidence_trust.run_part,
        conclude=evidence_trust.conclude,
    ),
    Experiment(
        "scenarios",
        "every claim as an experiment: each verdict, computed from what was observed, is the expected one",
        code=(*_WHOLE_LINK, "eve"),
        parts=evidence_scenarios.PARTS,
        in_slice=3,
        processes=1,
        run=evidence_scenarios.run_part,
        conclude=evidence_scenarios.conclude,
    ),
    Experiment(
        "secrecy",
        "below every threshold, 100 keys per attack: every one undetermined for Eve, by rank or by min-entropy",
        code=_SECRECY,
        parts=evidence_secrecy.PARTS,
        in_slice=2,
        processes=2,
        run=evidence_secrecy.run_part,
        conclude=evidence_secrecy.conclude,
    ),
    Experiment(
        "crashes",
        "500 kills and more at random instants, lines cut, stalled and slowed, full disks: nothing lost, nothing twice",
        code=_WHOLE_LINK,
        parts=evidence_crashes.PARTS,
        in_slice=1,
        processes=2,
        run=evidence_crashes.run_part,
        conclude=evidence_crashes.conclude,
    ),
    Experiment(
        "kills",
        "killed at every named point, each node and both: the same blocks, nothing twice, no certificate again",
        code=_WHOLE_LINK,
        parts=evidence_kills.PARTS,
        in_slice=1,
        processes=1,
        run=evidence_kills.run_part,
        conclude=evidence_kills.conclude,
    ),
    Experiment(
        "matrix",
        "the full man in the middle wins if and only if she holds everything that authenticates at that moment",
        code=(*_WHOLE_LINK, "eve"),
        parts=evidence_matrix.PARTS,
        in_slice=1,
        processes=1,
        run=evidence_matrix.run_part,
        conclude=evidence_matrix.conclude,
    ),
    Experiment(
        "transparent",
        "through a transparent Eve a seeded link makes the same counts, rates and keys; what she costs is measured",
        code=(*_WHOLE_LINK, "eve"),
        parts=evidence_transparent.PARTS,
        in_slice=1,
        processes=1,
        run=evidence_transparent.run_part,
        conclude=evidence_transparent.conclude,
    ),
)


def main() -> int:
    """Run what is missing and report; returns 0 if every finished experiment passed, 3 if time ran out first."""
    options = _options()
    ensure_compiled()
    commit = _git("rev-parse", "HEAD")  # of the program that runs, whatever is committed meanwhile
    chosen = [each for each in EXPERIMENTS if not options.names or each.name in options.names]
    shown, deadline = console(), time.monotonic() + _LIMIT_S
    passed = True
    for experiment in chosen:
        parts = experiment.in_slice if options.slice else experiment.parts
        findings = _findings(experiment, parts, shown, deadline, keep=not options.slice)
        if len(findings) < parts:
            shown.print(
                f"{experiment.name}: {len(findings)} of {parts} parts within the hour; run again to go on."
            )
            return 3
        report = experiment.conclude(findings)
        passed &= bool(report["passed"])
        shown.print(f"{experiment.name}: {'passed' if report['passed'] else 'FAILED'}. {experiment.claim}.")
        shown.print_json(json.dumps(report))
        if not options.slice:
            _write(experiment, report, commit)
    return 0 if passed else 1


def _findings(
    experiment: Experiment, parts: int, shown: Console, deadline: float, *, keep: bool
) -> list[Report]:
    """Return the findings of parts 0, 1, ...: the kept ones first, then new ones while there is time."""
    file = _PARTS_FOLDER / f"{experiment.name}-{_state_of(experiment.code)}.jsonl"
    found = [json.loads(line) for line in file.read_text().splitlines()] if keep and file.exists() else []
    if keep:
        file.parent.mkdir(parents=True, exist_ok=True)
    for finding in _run(experiment, range(len(found), parts), deadline):
        found.append(finding)
        shown.print(f"{experiment.name}: part {len(found)} of {parts}")
        if keep:
            with file.open("a") as stream:
                stream.write(json.dumps(finding) + "\n")
    return found


def _run(experiment: Experiment, parts: range, deadline: float) -> Iterator[Report]:
    if experiment.processes == 1:
        for part in parts:
            if time.monotonic() > deadline:
                return
            yield experiment.run(SEED, part)
        return
    with ProcessPoolExecutor(experiment.processes, mp_context=get_context("spawn")) as pool:
        for start in range(parts.start, parts.stop, experiment.processes):
            if time.monotonic() > deadline:
                return
            batch = range(start, min(start + experiment.processes, parts.stop))
            yield from pool.map(experiment.run, [SEED] * len(batch), batch)


def _write(experiment: Experiment, report: Report, commit: str) -> None:
    _REPORTS_FOLDER.mkdir(parents=True, exist_ok=True)
    described = {
        "experiment": experiment.name,
        "claim": experiment.claim,
        "commit": commit,
        "seed": SEED,
        **report,
    }
    (_REPORTS_FOLDER / f"{experiment.name}.json").write_text(json.dumps(described, indent=2) + "\n")


def _state_of(code: tuple[str, ...]) -> str:
    """Name the code as it is, committed or not: parts found by another program do not count."""
    committed = _git("ls-tree", "HEAD", *code)
    changed = _git("diff", "HEAD", "--", *code)
    return hashlib.sha256(f"{committed}\n{changed}".encode()).hexdigest()[:16]


def _git(*arguments: str) -> str:
    git = shutil.which("git") or "git"
    return subprocess.run(
        [git, *arguments], cwd=_ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()


def _options() -> Namespace:
    parser = ArgumentParser(prog="make evidence", description="Run the long experiments.")
    parser.add_argument(
        "names", nargs="*", choices=[each.name for each in EXPERIMENTS] + [[]], metavar="NAME"
    )
    parser.add_argument("--slice", action="store_true", help="a small fixed part of each; writes nothing")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
