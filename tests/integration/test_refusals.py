"""A node that cannot live says so in one line and with status 2, and has written nothing, or whole lines only."""

import asyncio
import re
import shutil
import socket
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from qkdlink.common.journal.events import NodeStarted
from qkdlink.common.store.key_store import KeyStore
from qkdlink.common.store.owner import StoreOwner
from qkdlink.common.trust import pki
from qkdlink.deployment.brokers.ports import LOOPBACK, free_port
from qkdlink.deployment.homes.home import LinkHome
from qkdlink.deployment.homes.names import ALICE, BOB
from qkdlink.deployment.homes.sites import DEFAULT_LINK, ends_in
from qkdlink.lab.faults.mortal import Mortal
from tests.support.processes import Bench, Journal, bench, small_parameters, until

NOW = datetime.now(UTC)
EXPIRED = pki.Validity(NOW - timedelta(days=20), NOW - timedelta(days=10))


@dataclass(frozen=True)
class Case:
    """What is wrong with a node, and what it has to say of it."""

    node: str
    spoil: Callable[[Bench], object]
    sentence: str
    options: tuple[str, ...] = ()
    file_limit: int | None = None
    """Largest file, in bytes: a disk that is full beyond it."""


def _credentials(authority: str, name: str, validity: pki.Validity | None = None) -> Callable[[Bench], None]:
    """Give Alice credentials of this authority and name instead of her own; she goes on believing the link's."""

    def spoil(link: Bench) -> None:
        made = link.home.folder / "made"
        pki.issue(link.home.folder / authority, name, made, validity=validity or pki.Validity.days(1))
        for file in ("certificate.pem", "private-key.pem"):
            shutil.move(made / file, link.home.node(ALICE) / file)
        shutil.rmtree(made)

    return spoil


def _text(file: str, text: str) -> Callable[[Bench], None]:
    return lambda link: _overwrite(link.home.node(ALICE) / file, text)


def _overwrite(path: Path, text: str) -> None:
    path.write_text(text)


def _settings(**changes: object) -> Callable[[Bench], None]:
    return lambda link: link.change(ALICE, changes)


def _take_port(link: Bench) -> None:
    taken = socket.create_server((LOOPBACK, 0))
    TAKEN.append(taken)
    link.change(BOB, {"classical": {"address": f"{LOOPBACK}:{taken.getsockname()[1]}"}})


NEEDS_ACCESS_LIST = "wrong broker password"
TAKEN: list[socket.socket] = []
CASES = {
    "no broker": Case(
        ALICE,
        lambda link: link.change(ALICE, {"broker": {"address": f"{LOOPBACK}:{free_port()}"}}),
        r"There is no MQTT broker at .* \(connection refused\): start one, or name another in \[broker\]\.",
    ),
    "port taken": Case(
        BOB, _take_port, r"Cannot listen at 127\.0\.0\.1:\d+: another program has taken this port\."
    ),
    "unreadable certificate": Case(ALICE, _text("certificate.pem", "nonsense"), r".*certificate\.pem.*"),
    "missing certificate": Case(
        ALICE, lambda link: (link.home.node(ALICE) / "certificate.pem").unlink(), r".*certificate\.pem.*"
    ),
    "expired certificate": Case(ALICE, _credentials("ca", ALICE, EXPIRED), r".*certificate\.pem.*expired.*"),
    "foreign certificate": Case(ALICE, _credentials("stranger-ca", ALICE), r".*certificate\.pem.*author.*"),
    "certificate of another name": Case(
        ALICE, _credentials("ca", "eve"), r'.*certificate\.pem.*"eve".*alice.*'
    ),
    "open private key": Case(
        ALICE,
        lambda link: (link.home.node(ALICE) / "private-key.pem").chmod(0o644),
        r".*private-key\.pem.*chmod 600.*",
    ),
    "unknown key": Case(
        ALICE,
        _settings(classical={"colour": "blue"}),
        r"The configuration file .* says 'classical\.colour', which is not a key here\.",
    ),
    "nonsense in a key": Case(
        ALICE, _settings(blocks=-1), r"The configuration file .* says 'blocks' = -1: .*"
    ),
    "not TOML": Case(ALICE, _text("node.toml", "= ="), r"The configuration file .* is not TOML: .*"),
    "no configuration": Case(
        ALICE,
        lambda link: link.home.configuration(ALICE).unlink(),
        r"There is no configuration file .*node\.toml\.",
    ),
    "short seal": Case(
        ALICE, _text("light-seal.key", "abcd\n"), r"The light seal .* does not hold 32 bytes .*"
    ),
    "open seal": Case(
        BOB,
        lambda link: (link.home.node(BOB) / "light-seal.key").chmod(0o640),
        r"The light seal .* is open to others: run 'chmod 600 .*'\.",
    ),
    "missing seal": Case(
        BOB,
        lambda link: (link.home.node(BOB) / "light-seal.key").unlink(),
        r"The light seal .* cannot be read; .*",
    ),
    NEEDS_ACCESS_LIST: Case(
        ALICE,
        _text("broker-password", "a guess\n"),
        r"The broker at .* turns this node away: .*correct \[broker\].*",
    ),
    "seed without a launcher": Case(
        ALICE,
        lambda _: None,
        r"A seed is for reproducible runs started by a launcher, never for a node\.",
        ("--seed", "1"),
    ),
    "reproducible without a seed": Case(
        ALICE, _settings(parameters={"reproducible": True}), r"These parameters are of a reproducible run; .*"
    ),
    "journal in no folder": Case(
        ALICE,
        _settings(journal="nowhere/journal.jsonl"),
        r"The journal .* cannot be written: No such file or directory\.",
    ),
    "disk full at the first line": Case(
        ALICE,
        lambda _: None,
        r"Cannot write .*store\.key: File too large; nothing was written\.",
        file_limit=60,
    ),
    "disk full at the second line": Case(
        BOB, lambda link: link.spawn(ALICE), r"The key store of bob cannot be written: .*", file_limit=300
    ),
}


AS_PROGRAMS = {"no broker", "port taken"} | {name for name, case in CASES.items() if case.file_limit}
"""Started as a user would, and where no file may grow: the words of the others are written to one.

These others are forked from a process that has imported everything already, which costs a tenth.
"""


@dataclass(frozen=True)
class Outcome:
    """What came of a case."""

    status: int
    words: list[str]
    files_before: dict[str, bytes]
    files_after: dict[str, bytes]
    journal: Journal


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.iterdir() if path.name != "journal.jsonl"}


async def _outcome(base: Bench, folder: Path, name: str) -> Outcome:
    case = CASES[name]
    shutil.copytree(base.home.folder, folder)
    link = Bench(LinkHome(folder), base.broker)
    own = {"classical": {"address": f"{LOOPBACK}:{free_port()}"}}
    for node in (ALICE, BOB):
        link.change(node, own)
    try:
        case.spoil(link)
        folder_of_node = link.home.node(case.node)  # another one, if it runs, may be writing just now
        before = _files(folder_of_node)
        status, words = await (_as_a_program if name in AS_PROGRAMS else _forked)(link, case)
        return Outcome(status, words, before, _files(folder_of_node), link.journal(case.node))
    finally:
        await link.close()


async def _as_a_program(link: Bench, case: Case) -> tuple[int, list[str]]:
    node = link.spawn(case.node, *case.options, file_limit=case.file_limit)
    return await node.ended(), node.words


async def _forked(link: Bench, case: Case) -> tuple[int, list[str]]:
    node = Mortal(link.home, case.node, largest_file=case.file_limit, options=case.options)
    try:
        await until(lambda: not node.is_alive, "the end of the node")
    finally:
        node.stop()
    assert node.status is not None
    return node.status, node.words.splitlines()


async def _outcomes(folder: Path) -> dict[str, Outcome]:
    few_at_a_time = asyncio.Semaphore(3)

    async def settled(base: Bench, name: str) -> Outcome:
        async with few_at_a_time:
            return await _outcome(base, folder / name.replace(" ", "-").lower(), name)

    async with bench(folder / "base", small_parameters()) as base:
        pki.create_authority(base.home.folder / "stranger-ca")
        possible = [name for name in CASES if base.broker.has_access_list or name != NEEDS_ACCESS_LIST]
        outcomes = await asyncio.gather(*(settled(base, name) for name in possible))
    return dict(zip(possible, outcomes, strict=True))


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """Every case, each in a process of its own."""
    try:
        return asyncio.run(_outcomes(tmp_path_factory.mktemp("refusals")))
    finally:
        for taken in TAKEN:
            taken.close()


def _one_of(outcomes: dict[str, Outcome], name: str) -> Outcome:
    if name not in outcomes:
        pytest.skip("mosquitto is not installed, and amqtt knows no passwords")
    return outcomes[name]


@pytest.mark.parametrize("name", CASES)
def test_a_node_that_cannot_live_says_why_in_one_line_and_ends_with_status_2(
    outcomes: dict[str, Outcome], name: str
) -> None:
    outcome = _one_of(outcomes, name)
    assert len(outcome.words) == 1, outcome.words
    program, _, sentence = outcome.words[0].partition(": ")
    assert program == CASES[name].node
    assert re.fullmatch(CASES[name].sentence, sentence), sentence
    assert outcome.status == 2


@pytest.mark.parametrize("name", CASES)
def test_a_node_that_cannot_live_leaves_nothing_half_written(outcomes: dict[str, Outcome], name: str) -> None:
    outcome = _one_of(outcomes, name)
    files = {path: data for path, data in outcome.files_after.items() if "/store." not in path}
    assert files == outcome.files_before
    for folder in {Path(path).parent for path in outcome.files_after if path.endswith("store.db")}:
        [node] = [end.role.word for end in ends_in(folder.parents[3]) if end.folder == folder]
        with closing(KeyStore.open(folder, StoreOwner(DEFAULT_LINK, node, reproducible=False))) as store:
            assert store.balance().produced_bits == 0, (
                "whatever stopped the node, its store opens the next time"
            )
    if outcome.journal.path.exists():
        text = outcome.journal.path.read_text()
        assert text == "" or text.endswith("\n")
        assert [type(event) for event in outcome.journal.events][:1] in ([], [NodeStarted])
