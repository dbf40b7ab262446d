"""How a process of a link is run from its command line: settings, signals, a launcher's pipe, one-sentence errors."""

import asyncio
import logging
import os
import signal
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from qkdlink.common.errors import ConfigurationError, QkdlinkError
from qkdlink.common.node.pages import keep_pages
from qkdlink.common.node.settings import ProgramSettings, load_settings
from qkdlink.common.sentences import sentence

type Run[S: ProgramSettings] = Callable[[S, Path, int | None, int | None], Coroutine[Any, Any, None]]


def main[S: ProgramSettings](program: str, kind: type[S], run: Run[S]) -> None:
    """Run one node from its command line; exits with 2 and one sentence on an error."""
    options = _options(program)
    keep_pages()
    logging.basicConfig(level=logging.DEBUG if options.verbose else logging.ERROR, stream=sys.stderr)
    if not options.verbose:
        logging.disable(logging.CRITICAL)
    try:
        settings = load_settings(kind, options.config)
        if options.report_fd is None:
            _tell_of_compilation(program)
        _check_seed(settings, options)
        life = run(settings, options.config.parent, options.seed, options.report_fd)
        asyncio.run(_until_told(life, options.report_fd))
    except* QkdlinkError as errors:
        if options.verbose:
            raise
        print(f"{program}: {sentence(errors)}", file=sys.stderr)  # noqa: T201 - the one line a user reads
        os._exit(2)  # threads of an unfinished kernel or connection must not hold the exit up
    except* Exception as errors:
        if options.verbose:
            raise
        reason = sentence(errors)
        print(f"{program}: Something unexpected happened: {reason} --verbose shows where.", file=sys.stderr)  # noqa: T201 - likewise
        os._exit(2)


def _tell_of_compilation(program: str) -> None:
    """Let a node that was started by hand say why its first block takes so long; launchers compile beforehand."""
    # here, since whoever needs this file for its sentences alone should not wait for numba
    from qkdlink.common.kernels.compiled import on_first_compilation

    words = "compiling numeric kernels, once on this machine; it takes about half a minute"
    on_first_compilation(lambda: print(f"{program}: {words}", file=sys.stderr, flush=True))  # noqa: T201 - for people


def _check_seed(settings: ProgramSettings, options: Namespace) -> None:
    if settings.parameters.reproducible and options.seed is None:
        raise ConfigurationError(
            "These parameters are of a reproducible run; only the launcher that made them can start this node."
        )
    if options.seed is not None and (options.report_fd is None or not settings.parameters.reproducible):
        raise ConfigurationError("A seed is for reproducible runs started by a launcher, never for a node.")


async def _until_told(run: Coroutine[Any, Any, None], report_file: int | None) -> None:
    """Run until it ends by itself, a signal asks for an end, or the launcher that it reports to is gone."""
    task = asyncio.ensure_future(run)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    if report_file is not None:
        # a pipe that nobody reads any more is in error, which wakes who waits for input on its write end
        loop.add_reader(report_file, _launcher_gone, report_file, task)
    try:
        await task
    except asyncio.CancelledError:
        if not task.cancelled():
            raise


def _launcher_gone(report_file: int, task: asyncio.Future[None]) -> None:
    asyncio.get_running_loop().remove_reader(report_file)
    task.cancel()


def _options(program: str) -> Namespace:
    parser = ArgumentParser(prog=f"python -m {program}", description=f"Run {program}'s node of a QKD link.")
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="the node's TOML file")
    parser.add_argument("--verbose", action="store_true", help="show every detail of an error")
    parser.add_argument("--report-fd", type=int, help="(for launchers) an inherited pipe to report to")
    parser.add_argument("--seed", type=int, help="(for launchers) the seed of a reproducible run")
    return parser.parse_args()
