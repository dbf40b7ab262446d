"""`qkdlink lab list` and `qkdlink lab run`: the claims as experiments, and what came of them."""

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from qkdlink.commands.options import Verbose
from qkdlink.common.errors import ConfigurationError
from qkdlink.views.console import console, table

if TYPE_CHECKING:
    from qkdlink.lab.scenarios.scenario import Scenario
    from qkdlink.lab.scenarios.verdicts import Outcome


def list_scenarios(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
    verbose: Verbose = False,
) -> None:
    """Show every scenario: the claim, the question that tests it, and what should come of it."""
    del verbose
    from qkdlink.lab.scenarios.scenario import scenarios

    found = scenarios()
    if as_json:
        for each in found:
            typer.echo(json.dumps({name: value for name, value in each if name != "parameters"}))
        return
    shown = table("scenario", "question", "expected", whole={"scenario"}, title=f"{len(found)} scenarios")
    for each in found:
        shown.add_row(each.name, each.question, each.expected)
    console().print(shown)


def run(
    name: Annotated[
        str | None, typer.Argument(metavar="SCENARIO", help="A scenario; `qkdlink lab list` shows them.")
    ] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="Run all of them.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per scenario and line.")] = False,
    verbose: Verbose = False,
) -> None:
    """Run scenarios; exit status 0 only if every verdict is the expected one."""
    del verbose
    from qkdlink.deployment.launching.compilation import ensure_compiled
    from qkdlink.lab.scenarios.scenario import scenario, scenarios

    if every == (name is not None):
        raise ConfigurationError("Name one scenario, or ask for --all.")
    chosen = scenarios() if name is None else (scenario(name),)
    ensure_compiled()
    outcomes = []
    for outcome in _outcomes(chosen):
        outcomes.append(outcome)
        typer.echo(json.dumps(outcome.as_json()) if as_json else _line(outcome))
    if not as_json and len(chosen) == 1:
        typer.echo(json.dumps(outcomes[0].evidence, indent=2))
    passed = sum(outcome.passed for outcome in outcomes)
    if not as_json and every:
        seconds = sum(outcome.seconds for outcome in outcomes)
        typer.echo(f"{passed} of {len(outcomes)} scenarios passed in {seconds:.0f} s.")
    raise typer.Exit(0 if passed == len(outcomes) else 1)


def _outcomes(chosen: "tuple[Scenario, ...]") -> "Iterator[Outcome]":
    """Run one after the other; on a terminal, say which one is being run."""
    aside = console(stderr=True, quiet=not sys.stderr.isatty())
    for number, each in enumerate(chosen, 1):
        with aside.status(f"{number} of {len(chosen)}: {each.name}"):
            outcome = each.run()
        yield outcome


def _line(outcome: "Outcome") -> str:
    told = "passed" if outcome.passed else f"FAILED, expected {outcome.expected}"
    return f"{outcome.scenario}: {outcome.verdict} ({told}; {outcome.seconds:.1f} s)"
