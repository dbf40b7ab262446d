"""One process at a time on a home: the second is refused with the first's number, and a killed one keeps nothing."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

import qkdlink.alice.station
import qkdlink.bob.station
import qkdlink.eve.station
from qkdlink.alice.settings import AliceSettings
from qkdlink.bob.settings import BobSettings
from qkdlink.commands.keys import bootstrap, show
from qkdlink.common.errors import ConfigurationError
from qkdlink.common.node.settings import load_settings
from qkdlink.common.store.home_lock import PROCESS_FILE, locked_home
from qkdlink.common.transport.addresses import Address
from qkdlink.deployment.homes.configuration import LinkAddresses, Splice
from qkdlink.deployment.homes.home import LinkHome, open_home
from qkdlink.deployment.homes.installation import Installation, install
from qkdlink.deployment.homes.names import ALICE, BOB
from qkdlink.deployment.launching.link_run import LinkRun
from qkdlink.deployment.launching.running_link import run_link
from qkdlink.eve.settings import EveSettings
from qkdlink.lab.faults.kill_trials import tiny_parameters
from tests.support.stores import open_store

PARAMETERS = tiny_parameters()
NOBODY = Address("127.0.0.1", 1)
HOLDING = """
import subprocess, sys, time
from pathlib import Path
from qkdlink.common.store.home_lock import locked_home
with locked_home(Path(sys.argv[1])):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    print(child.pid, flush=True)
    time.sleep(60)
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> LinkHome:
    home = open_home(tmp_path_factory.mktemp("lock") / "home")
    addresses = LinkAddresses(NOBODY, NOBODY, NOBODY)
    home.configure(PARAMETERS, addresses, {}, log_in=False)
    home.let_eve_in()
    home.configure_eve(PARAMETERS, addresses, Splice(NOBODY, NOBODY), {}, log_in=False)
    for name in (ALICE, BOB):
        open_store(home.node(name)).close()
    return home


async def launch(home: LinkHome) -> None:
    async with run_link(home, LinkRun(PARAMETERS, blocks=1)):
        pass


def run_alice(home: LinkHome) -> None:
    settings = load_settings(AliceSettings, home.configuration(ALICE))
    asyncio.run(qkdlink.alice.station.run(settings, home.node(ALICE), None, None))


def run_bob(home: LinkHome) -> None:
    settings = load_settings(BobSettings, home.configuration(BOB))
    asyncio.run(qkdlink.bob.station.run(settings, home.node(BOB), None, None))


def run_eve(home: LinkHome) -> None:
    settings = load_settings(EveSettings, home.configuration("eve"))
    asyncio.run(qkdlink.eve.station.run(settings, home.node("eve"), None, None))


SECOND: dict[str, tuple[str | None, Callable[[LinkHome], None]]] = {
    "a launcher": (None, lambda home: asyncio.run(launch(home))),
    "Alice": (ALICE, run_alice),
    "Bob": (BOB, run_bob),
    "Eve": ("eve", run_eve),
    "bootstrap --again": (ALICE, lambda home: bootstrap(home.node(ALICE), again=True)),
}


@pytest.mark.parametrize("second", SECOND)
def test_whatever_writes_into_a_home_is_refused_beside_the_first(home: LinkHome, second: str) -> None:
    part, begin = SECOND[second]
    folder = home.folder if part is None else home.node(part)
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    words = re.escape(f"{folder} is in use by process {os.getpid()}: stop that first")
    with locked_home(folder), pytest.raises(ConfigurationError, match=words):
        begin(home)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_two_that_furnish_one_home_do_not_mix(tmp_path: Path) -> None:
    for make in (
        open_home,
        lambda folder: install(folder, {}, Installation(LinkAddresses(*3 * (NOBODY,))), PARAMETERS),
    ):
        with (
            locked_home(tmp_path),
            pytest.raises(ConfigurationError, match=f"in use by process {os.getpid()}"),
        ):
            make(tmp_path)
        assert not list(tmp_path.iterdir())


def test_what_only_reads_goes_on_beside_a_running_link(
    home: LinkHome, capsys: pytest.CaptureFixture[str]
) -> None:
    with locked_home(home.folder), locked_home(home.node(ALICE)):
        show(home.node(ALICE), as_json=True)
        bootstrap(home.node(ALICE), again=False)
    assert "The bootstrap is open" in capsys.readouterr().out


def refused_with(folder: Path, process: str) -> None:
    with pytest.raises(ConfigurationError, match=f"is in use by {process}: "), locked_home(folder):
        pass


def test_a_killed_holder_keeps_nothing_although_a_program_that_it_has_started_lives_on(
    tmp_path: Path,
) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": "."},
    )
    assert holder.stdout is not None
    with closing(holder.stdout):
        child = int(holder.stdout.readline())
        refused_with(tmp_path, f"process {holder.pid}")
        holder.kill()
        holder.wait()
    try:
        with locked_home(tmp_path):
            os.kill(child, 0)
    finally:
        os.kill(child, 9)


@pytest.mark.parametrize(
    ("written", "named"),
    [
        ("4711 elsewhere\n", "process 4711 on elsewhere"),
        ("", "another process"),
        ("x y z", "another process"),
    ],
)
def test_a_holder_of_another_container_is_named_with_its_host(
    tmp_path: Path, written: str, named: str
) -> None:
    with locked_home(tmp_path):
        (tmp_path / PROCESS_FILE).write_text(written)
        with pytest.raises(ConfigurationError, match=f"is in use by {named}: "), locked_home(tmp_path):
            pass
