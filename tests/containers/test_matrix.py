"""The outcome matrix in containers: Eve takes both places where she holds all that authenticates, and only there.

The twelve cells of `qkdlink.lab.middle.matrix`, one after the other on one link, whose homes are brought back to where
each begins: seven of them each time, the others with `pytest -m evidence tests/containers`.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

import pytest

from qkdlink.common.authentication.scheme import SchemeName
from qkdlink.lab.middle.matrix import MATRIX, Cell, Stolen
from tests.containers.compose import NODES, ROOT, Project, project

STRANGERS = ROOT / "tests" / "containers" / "strangers"
HOMES = ("site-a:/link/sites/site-a", "site-b:/link/sites/site-b", "eve:/link/eve")
NEVER_RUN, LATCHED = "never-run", "latched"
KEYS_ENOUGH = 2
"""With each victim: one may be of the bootstrap, the next one rests on what was made with her."""
NO_SUCH_KEY = "there is none, or another, of this name"
WRONG_TAG = "The tag of checkpoint 0 is wrong"
FAILS_AT: Mapping[Stolen, Mapping[str, str]] = {
    Stolen.CERTIFICATES_AFTER: {"alice": NO_SUCH_KEY, "eve": "bob lets nobody in by the bootstrap"},
    Stolen.TAG_KEYS: {"alice": NO_SUCH_KEY, "bob": "another key under this name"},
    Stolen.LINK_PSK: {"alice": WRONG_TAG, "bob": "The peer closed the connection"},
}
"""Who says where she fails, and what; the link PSK is enough where blocks are not tagged."""
CELLS = [
    pytest.param(
        cell,
        id=str(cell),
        marks=[pytest.mark.evidence]
        * (cell.scheme is SchemeName.NONE and cell.stolen is not Stolen.LINK_PSK),
    )
    for cell in sorted(MATRIX, key=lambda cell: not cell.is_from_the_start)
]
"""Where tags change nothing, the cell without them takes its time for evidence alone: either she has all that there is
to have, and needs less of it, or she fails before there is a block to be tagged."""
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def link() -> Iterator[Project]:
    """The credentials of a link that has never run, and a broker."""
    with project("matrix") as made:
        made.compose("up", "--build", "credentials")
        stage(made, keep=NEVER_RUN)
        made.compose("up", "--detach", "--wait", "broker")
        yield made


@pytest.fixture(scope="module")
def latched(link: Project) -> str:
    """The name of a state in which it has made its first keys, without Eve."""
    stage(link, restore=NEVER_RUN)
    come(link, *NODES)
    link.wait("the first keys", lambda: len(link.common_keys()) >= 3)
    link.wait("a key that authenticates", partial(is_latched, link))
    link.compose("kill", *NODES)
    stage(link, keep=LATCHED)
    return LATCHED


def is_latched(link: Project) -> bool:
    return all(link.events(node, "bootstrap-closed") for node in NODES)


def stage(link: Project, **told: object) -> None:
    """Bring homes and loot to where a trial begins; see `strangers/stager.py`."""
    link.stranger(STRANGERS / "stager.py", json.dumps(told), network="light", volumes=HOMES)


def audit(link: Project, before: set[str]) -> dict[str, Any]:
    """Say whose keys are whose, of the blocks since she came."""
    auditor = STRANGERS / "auditor.py"
    return link.stranger(auditor, json.dumps(sorted(before)), network="light", volumes=HOMES)


def come(link: Project, *services: str) -> None:
    """Start programs, and wait until they are up; Eve has taken both places then, if she can."""
    lives = {service: len(link.events(service, "node-started")) for service in services}
    link.compose("--profile", "eve", "up", "--detach", "--no-deps", *services)
    for service, before in lives.items():
        link.wait(
            f"{service} to come",
            lambda service=service, before=before: len(link.events(service, "node-started")) > before,
        )


def said(link: Project, who: str, since: int) -> str:
    """Return all reasons that somebody has given after so many entries, for whatever came to nothing."""
    events = (entry["event"] for entry in link.journal(who)[since:])
    return "\n".join(event.get("reason") or event.get("detail") or "" for event in events)


def tried(link: Project, decided: Callable[[], bool], what: str) -> dict[str, Any]:
    """Let her try it until that is decided; returns what the stores say then."""
    before = {block for node in NODES for block in link.keys(node)}
    come(link, "bob", "eve")
    come(link, "alice")
    try:
        link.wait(what, decided)
    finally:
        link.compose("kill", "eve", *NODES)
    return audit(link, before)


def owns_every_key(link: Project) -> dict[str, Any]:
    """She makes keys with both: every one is in her stores."""
    enough = {node: len(link.keys(node)) + KEYS_ENOUGH for node in NODES}
    found = tried(link, lambda: all(len(link.keys(node)) >= enough[node] for node in NODES), "keys of both")
    assert found["hers"] == found["keys"]
    assert min(found["keys"].values()) >= KEYS_ENOUGH
    return found


def is_stopped(link: Project, stolen: Stolen) -> dict[str, Any]:
    """Nobody makes a key with her, and it is said at what she fails."""
    sentences, before = FAILS_AT[stolen], {node: link.keys(node) for node in NODES}
    told = {who: len(link.journal(who)) for who in sentences}
    found = tried(
        link,
        lambda: all(sentence in said(link, who, told[who]) for who, sentence in sentences.items()),
        f"the sentences {sentences}",
    )
    assert {node: link.keys(node) for node in NODES} == before
    assert found["keys"] == dict.fromkeys(NODES, 0)
    hears_it = any(WRONG_TAG in reason for reason in found["reasons"]["bob"])
    assert hears_it == (stolen is Stolen.LINK_PSK), "her own Alice is let in, and hears of a wrong tag first"
    return found


@pytest.mark.parametrize("cell", CELLS)
def test_she_owns_every_key_where_she_holds_all_that_authenticates_and_is_stopped_elsewhere(
    link: Project, cell: Cell, request: pytest.FixtureRequest
) -> None:
    begins = NEVER_RUN if cell.is_from_the_start else request.getfixturevalue("latched")
    loot = [name for name, taken in asdict(cell.loot).items() if taken]
    stage(link, restore=begins, secure=cell.security.settings(), loot=loot)
    found = owns_every_key(link) if cell.expected_to_win else is_stopped(link, cell.stolen)
    assert found["common"] == 0, "with her in between they have no key without her"


def test_after_all_that_they_are_what_they_were_without_her(link: Project, latched: str) -> None:
    stage(link, restore=latched)
    with link.new_keys_after("everything"):
        come(link, *NODES)
