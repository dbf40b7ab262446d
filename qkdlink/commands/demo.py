"""`qkdlink demo` and `qkdlink up`: plan a link, launch it, and show what happens on it."""

import asyncio
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from qkdlink.common.distillation.monitors import Monitor
from qkdlink.common.errors import ConfigurationError
from qkdlink.common.keys.allotment import upkeep_bits
from qkdlink.common.optics.presets import preset as preset_named
from qkdlink.common.optics.watchful_receiver import check_switched_off_probability
from qkdlink.common.protocol.parameters import LinkParameters, ProtocolName
from qkdlink.common.protocol.variants.catalogue import variant_named
from qkdlink.common.store.home_lock import locked_home
from qkdlink.deployment.homes.home import LinkHome, check_home, open_home
from qkdlink.deployment.homes.link_options import LinkOptions, record, settled
from qkdlink.deployment.homes.security import DEFAULT_SECURITY, Security
from qkdlink.deployment.launching.compilation import ensure_compiled
from qkdlink.deployment.launching.link_result import run_to_the_end
from qkdlink.deployment.launching.link_run import LinkRun, Observer
from qkdlink.deployment.launching.running_link import run_link
from qkdlink.deployment.planning.planner import plan, smallest_block, task_for
from qkdlink.deployment.stolen.leaks import Loot
from qkdlink.deployment.stolen.theft import check_there
from qkdlink.eve.named_attacks import NamedAttacks
from qkdlink.views.console import console
from qkdlink.views.live_view import LiveView, told_of_eves_end

NO_ATTACKS = NamedAttacks()
_COMFORTABLE_SECRET_BITS = 20_000
_LARGEST_DEFAULT_BLOCK = 500_000_000
"""A block that takes longer than a minute or so is made only for those who ask for it by its size."""


def planned(
    preset: str,
    distance_km: float | None,
    protocol: str | None,
    block_pulses: int | None,
    *,
    reproducible: bool,
    security: Security = DEFAULT_SECURITY,
) -> LinkParameters:
    """Choose intensities and bias; ConfigurationError, saying what would do, if no key is possible.

    What a block has to give depends on whether tags cost generated key.
    """
    task = replace(
        task_for(preset_named(preset), block_pulses or 1, _protocol(protocol), distance_km),
        least_secret_bits=upkeep_bits(tags=security.scheme.cuts_tags),
    )
    if block_pulses is None:
        block_pulses = smallest_block(task, _COMFORTABLE_SECRET_BITS)
        if block_pulses is not None and block_pulses > _LARGEST_DEFAULT_BLOCK:
            raise ConfigurationError(
                f"{task.fibre.length_km:g} km need blocks of {block_pulses:.1e} pulses: ask for them with"
                f" --block-pulses {block_pulses}, or for a shorter distance."
            )
        task = replace(task, block_pulses=block_pulses or _LARGEST_DEFAULT_BLOCK)
    return plan(task).link_parameters(reproducible=reproducible)


def link_options(folder: Path | None, asked: LinkOptions) -> LinkOptions:
    """Return what a start runs with: what the home was made with, where it was; ConfigurationError if that differs."""
    return settled(None if folder is None else folder.absolute(), asked)


def parameters_of(options: LinkOptions, security: Security, *, reproducible: bool) -> LinkParameters:
    """Plan the link of these options; ConfigurationError as `planned` and `watched` raise it."""
    plain = planned(
        options.preset or "",
        options.distance,
        options.protocol,
        options.block_pulses,
        reproducible=reproducible,
        security=security,
    )
    return watched(plain, options.without or (), options.random_efficiency or 0.0)


def watched(parameters: LinkParameters, without: Sequence[str], random_efficiency: float) -> LinkParameters:
    """Choose who watches; ConfigurationError for a monitor or a share of gates that there is not."""
    off = set(Monitor) if "all" in without else {_monitor(name) for name in without if name != "all"}
    check_switched_off_probability(random_efficiency)
    return parameters.model_copy(
        update={"monitors_off": tuple(sorted(off)), "switched_off_probability": random_efficiency}
    )


def _monitor(name: str) -> Monitor:
    try:
        return Monitor(name)
    except ValueError:
        known = ", ".join(sorted(Monitor))
        raise ConfigurationError(f"There is no monitor '{name}'; there are {known}, or all.") from None


def demo(
    parameters: LinkParameters,
    *,
    blocks: int,
    seed: int | None,
    alice: Mapping[str, Any],
    security: Security,
    attacks: NamedAttacks = NO_ATTACKS,
    stolen: Loot | None = None,
    folder: Path | None,
    options: LinkOptions,
    as_json: bool,
) -> int:
    """Run some blocks and show them; return the exit status (`Outcome`).

    With `attacks` Eve is between them from the first frame on.
    """
    # stdout belongs to the JSON, and stderr to the one line of an error, unless somebody is watching
    shown = console(stderr=as_json, quiet=as_json and not sys.stderr.isatty())
    with _home(Start(folder, options, security, stolen, must_be_new=seed is not None)) as home:
        with LiveView(shown, parameters, blocks) as view:
            result = asyncio.run(
                run_to_the_end(
                    home,
                    LinkRun(
                        parameters,
                        blocks=blocks,
                        seed=seed,
                        alice=alice,
                        security=security,
                        eve=attacks.settings() if attacks or stolen is not None else None,
                        stolen=stolen,
                    ),
                    Observer(
                        watch=view.watch,
                        on_broker=view.broker,
                        on_eve_end=_on_stderr if shown.quiet else view.eve_ended,
                    ),
                )
            )
        view.summary(result)
    if as_json:
        sys.stdout.write(json.dumps(result.as_json()) + "\n")
    return int(result.outcome)


def _on_stderr(words: str) -> None:
    sys.stderr.write(f"qkdlink: {told_of_eves_end(words)}\n")


def up(
    parameters: LinkParameters,
    *,
    alice: Mapping[str, Any],
    security: Security,
    attacks: NamedAttacks = NO_ATTACKS,
    stolen: Loot | None = None,
    folder: Path | None,
    options: LinkOptions,
) -> None:
    """Run a link until Ctrl-C; with `attacks` Eve is between them, and may be played."""
    with (
        _home(Start(folder, options, security, stolen)) as home,
        LiveView(console(), parameters, blocks=None) as view,
    ):
        asyncio.run(_up(home, parameters, alice, security, attacks, stolen, view))


async def _up(
    home: LinkHome,
    parameters: LinkParameters,
    alice: Mapping[str, Any],
    security: Security,
    attacks: NamedAttacks,
    stolen: Loot | None,
    view: LiveView,
) -> None:
    told_to_stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told_to_stop.set)
    async with run_link(
        home,
        LinkRun(
            parameters,
            blocks=0,
            alice=alice,
            security=security,
            eve=attacks.settings() if attacks or stolen is not None else None,
            stolen=stolen,
        ),
        Observer(watch=view.watch, on_broker=view.broker, on_eve_end=view.eve_ended),
    ) as link:
        ended = asyncio.create_task(link.until_done())
        stopped = asyncio.create_task(told_to_stop.wait())
        done, _ = await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if ended in done:
            await ended
        ended.cancel()


@dataclass(frozen=True, slots=True)
class Start:
    """In which home a link starts, and what can be refused before anything is made."""

    folder: Path | None
    """None for a temporary one."""
    options: LinkOptions
    security: Security
    stolen: Loot | None
    must_be_new: bool = False

    def check(self) -> None:
        """Raise QkdlinkError for whatever the start would refuse later; nothing is made, and nothing printed."""
        self.security.check()
        folder = Path(tempfile.gettempdir(), "qkdlink-new") if self.folder is None else self.folder
        home = check_home(folder.absolute(), must_be_new=self.must_be_new)
        if self.stolen is not None:
            check_there(home, self.stolen)
        if home.folder.exists():
            with locked_home(home.folder):
                return


@contextmanager
def _home(start: Start) -> Iterator[LinkHome]:
    """Open the home that was named, or a temporary one that leaves nothing behind."""
    start.check()
    ensure_compiled()
    if start.folder is not None:
        home = open_home(start.folder.absolute(), must_be_new=start.must_be_new)
        record(home.folder, start.options)
        yield home
        return
    temporary = Path(tempfile.mkdtemp(prefix="qkdlink-"))
    try:
        yield open_home(temporary)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _protocol(name: str | None) -> ProtocolName | None:
    return None if name is None else variant_named(name).name
