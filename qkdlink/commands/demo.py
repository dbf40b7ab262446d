"""`qkdlink demo` and `qkdlink up`: plan a link, launch it, and show what happens on it."""

import asyncio
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from qkdlink.commands.link_plan import planned, rekeying, security_of
from qkdlink.common.store.home_lock import locked_home
from qkdlink.deployment.homes.home import LinkHome, check_home, open_home
from qkdlink.deployment.homes.link_options import LinkOptions, record, settled
from qkdlink.deployment.launching.compilation import ensure_compiled
from qkdlink.deployment.launching.link_result import run_to_the_end
from qkdlink.deployment.launching.link_run import LinkRun, Observer
from qkdlink.deployment.launching.running_link import run_link
from qkdlink.deployment.stolen.theft import check_there, loot_from
from qkdlink.eve.named_attacks import named_attacks
from qkdlink.views.console import console
from qkdlink.views.live_view import LiveView, told_of_eves_end


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants to run, as it was typed."""

    options: LinkOptions = field(default_factory=LinkOptions)
    folder: Path | None = None
    """The link's home; None for a temporary one."""
    blocks: int = 0
    """After which the link has done; 0 for no end."""
    seed: int | None = None
    attacks: Sequence[str] = ()
    stolen: Sequence[str] = ()
    clock_hz: float | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """In which home a link starts, with which options it was or will be made, and what is run there."""

    folder: Path | None
    """None for a temporary one."""
    options: LinkOptions
    run: LinkRun

    def check(self) -> None:
        """Raise QkdlinkError for whatever the start would refuse later; nothing is made, and nothing printed."""
        self.run.security.check()
        folder = Path(tempfile.gettempdir(), "qkdlink-new") if self.folder is None else self.folder
        home = check_home(folder.absolute(), must_be_new=self.must_be_new)
        if self.run.stolen is not None:
            check_there(home, self.run.stolen)
        if home.folder.exists():
            with locked_home(home.folder):
                return

    @property
    def must_be_new(self) -> bool:
        """Whether nothing may have run in this home: keys of a seed do not stand beside others."""
        return self.run.seed is not None


def prepared(wish: Wish) -> Start:
    """Plan what was asked for; a home runs what it was made with.

    ConfigurationError for what there is not, for what differs from the home, and if no key is possible.
    """
    attacks = named_attacks(wish.attacks)
    options = settled(None if wish.folder is None else wish.folder.absolute(), wish.options)
    security = security_of(options)
    loot = loot_from(wish.stolen)
    run = LinkRun(
        planned(options, security, reproducible=wish.seed is not None),
        blocks=wish.blocks,
        seed=wish.seed,
        alice=rekeying(options) | ({} if wish.clock_hz is None else {"clock_hz": wish.clock_hz}),
        security=security,
        eve=attacks.settings() if attacks or loot is not None else None,
        stolen=loot,
    )
    return Start(wish.folder, options, run)


def demo(start: Start, *, as_json: bool) -> int:
    """Run some blocks and show them; return the exit status (`Outcome`)."""
    # stdout belongs to the JSON, and stderr to the one line of an error, unless somebody is watching
    shown = console(stderr=as_json, quiet=as_json and not sys.stderr.isatty())
    with _home(start) as home:
        with LiveView(shown, start.run.parameters, start.run.blocks) as view:
            observer = Observer(
                watch=view.watch,
                on_broker=view.broker,
                on_eve_end=_tell_eves_end if shown.quiet else view.eve_ended,
            )
            result = asyncio.run(run_to_the_end(home, start.run, observer))
        view.summary(result)
    if as_json:
        sys.stdout.write(json.dumps(result.as_json()) + "\n")
    return int(result.outcome)


def _tell_eves_end(words: str) -> None:
    _on_stderr(told_of_eves_end(words))


def _on_stderr(words: str) -> None:
    sys.stderr.write(f"qkdlink: {words}\n")


def up(start: Start) -> None:
    """Run a link until Ctrl-C; with attacks Eve is between them, and may be played."""
    with _home(start) as home, LiveView(console(), start.run.parameters, blocks=None) as view:
        observer = Observer(watch=view.watch, on_broker=view.broker, on_eve_end=view.eve_ended)
        asyncio.run(_up(home, start.run, observer))


async def _up(home: LinkHome, run: LinkRun, observer: Observer) -> None:
    told_to_stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told_to_stop.set)
    async with run_link(home, run, observer) as link:
        ended = asyncio.create_task(link.until_done())
        stopped = asyncio.create_task(told_to_stop.wait())
        done, _ = await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if ended in done:
            await ended
        ended.cancel()


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
