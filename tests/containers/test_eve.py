"""Eve in containers of her own: she comes and goes, is played, and takes both places where she can and nowhere else."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.containers.compose import NODES, ROOT, Project, project

STRANGERS = ROOT / "tests" / "containers" / "strangers"
THROUGH_EVE, DIRECT = ("eve", "eve"), ("direct", "direct")
LINE_TO_BOB = re.compile(r"^ *\d+: \w+:1B5[89] (\w{8}):\w+ 01 ", re.MULTILINE)
"""An established line to port 7000 or 7001, and who called, as the kernel writes both in /proc/net/tcp."""
HOMES = ("alice:/link/alice", "bob:/link/bob", "eve:/link/eve")
WRONG_TAG = "The tag of checkpoint 0 is wrong"
MONITOR = "qber-per-basis"
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def spliced() -> Iterator[Project]:
    """The whole link with Eve in it, as `docker compose --profile eve up` starts it."""
    with project("eve") as running:
        running.compose("--profile", "eve", "up", "--detach", "--build")
        yield running


@pytest.fixture(scope="module")
def untouched() -> Iterator[Project]:
    """The credentials of a link that has never run."""
    with project("thief") as made:
        made.compose("up", "--build", "credentials")
        yield made


def routes(link: Project, node: str) -> tuple[str, str]:
    """Which way light and words go, as a node was told last in this life; it begins with both going directly."""
    way = DIRECT
    for event in (entry["event"] for entry in link.journal(node)):
        if event["type"] == "node-started":
            way = DIRECT
        elif event["type"] == "patch-changed":
            way = (event["light"], event["classical"])
    return way


def callers(link: Project) -> set[str]:
    """Who has lines to Bob's ports at this moment."""
    addresses = {}
    for service in ("alice", "eve"):
        network = link.inspect(service)["NetworkSettings"]["Networks"][f"{link.name}_classical"]
        addresses[network["IPAddress"]] = service
    lines = LINE_TO_BOB.findall(link.compose("exec", "--no-TTY", "bob", "cat", "/proc/net/tcp"))
    return {addresses[".".join(str(part) for part in bytes.fromhex(line)[::-1])] for line in lines}


def keys_flow(link: Project, way: tuple[str, str], after: str) -> None:
    """Wait until the panel says so at both nodes and new keys have come that way."""
    with link.new_keys_after(after):
        link.wait(f"{way} after {after}", lambda: {routes(link, node) for node in NODES} == {way})
    assert callers(link) == {"eve" if way == THROUGH_EVE else "alice"}


def play(link: Project, **command: object) -> None:
    player = STRANGERS / "player.py"
    link.stranger(player, json.dumps(command), network="light", volumes=("eve:/node:ro",))


def refusals(link: Project, node: str) -> set[str]:
    return {block["aborted"] for block in link.events(node, "block-ended") if block["aborted"]}


def steal(link: Project, *what: str) -> None:
    """Let a thief into both nodes' folders, who furnishes Eve; `what` are fields of `lab.leaks.Loot`."""
    link.stranger(STRANGERS / "thief.py", *what, network="light", volumes=HOMES)


def audit(link: Project) -> dict[str, Any]:
    return link.stranger(STRANGERS / "auditor.py", network="light", volumes=HOMES)


def said(link: Project, who: str, since: int) -> str:
    """Return all reasons that somebody has given after so many entries, for whatever came to nothing."""
    events = (entry["event"] for entry in link.journal(who)[since:])
    return "\n".join(event.get("reason") or event.get("detail") or "" for event in events)


def come(link: Project, service: str) -> None:
    """Start one program, and wait until it is up; Eve has taken both places then, if she can."""
    lives = len(link.events(service, "node-started"))
    link.compose("--profile", "eve", "up", "--detach", "--no-deps", service)
    link.wait(f"{service} to come", lambda: len(link.events(service, "node-started")) > lives)


def tried_with(link: Project, *loot: str, failing: dict[str, str]) -> dict[str, Any]:
    """Let Eve try it with this loot until everybody in `failing` has said so; returns what the stores say then."""
    link.compose("kill", "eve", *NODES)
    steal(link, *loot)
    before = {node: link.keys(node) for node in NODES}
    told = {who: len(link.journal(who)) for who in failing}
    for service in ("bob", "eve", "alice"):
        come(link, service)
    link.wait(
        f"the sentences {failing}",
        lambda: all(sentence in said(link, who, told[who]) for who, sentence in failing.items()),
    )
    link.compose("kill", "eve", *NODES)
    assert {node: link.keys(node) for node in NODES} == before, "no key was made while she was in between"
    return audit(link)


def test_compose_with_the_profile_eve_makes_keys_through_her(spliced: Project) -> None:
    keys_flow(spliced, THROUGH_EVE, "her start")
    assert spliced.events("eve", "eve-state")[-1]["attacks"] == []


def test_an_attack_that_she_is_told_to_make_is_refused_in_the_name_of_a_monitor(spliced: Project) -> None:
    assert MONITOR not in refusals(spliced, "alice") | refusals(spliced, "bob")
    play(spliced, command="attack", attacks=["intercept-resend"])
    spliced.wait("both refusals", lambda: all(MONITOR in refusals(spliced, node) for node in NODES))
    play(spliced, command="attack", attacks=[])
    keys_flow(spliced, THROUGH_EVE, "the end of her attack")


def test_an_eve_who_is_paused_loses_the_link_and_has_it_again_when_she_goes_on(spliced: Project) -> None:
    spliced.compose("pause", "eve")
    try:
        keys_flow(spliced, DIRECT, "her pause")
    finally:
        spliced.compose("unpause", "eve")
    keys_flow(spliced, THROUGH_EVE, "the end of her pause")


def test_a_killed_eve_gives_the_link_back(spliced: Project) -> None:
    spliced.compose("kill", "--signal", "SIGKILL", "eve")
    keys_flow(spliced, DIRECT, "her death")
    assert not spliced.inspect("eve")["State"]["Running"]


def test_with_certificates_stolen_after_the_latch_she_takes_nobodys_place(spliced: Project) -> None:
    found = tried_with(
        spliced,
        "certificates",
        failing={
            "alice": "it has none, or another, of this name",
            "eve": "Bob lets nobody in by the bootstrap",
        },
    )
    assert found["hers"] == {"alice": 0, "bob": 0}
    assert found["reasons"] == {"alice": [], "bob": []}, "she never had a line to lose"


def test_with_the_link_psk_she_is_let_in_and_fails_at_the_first_tag(spliced: Project) -> None:
    found = tried_with(
        spliced, "link_psk", failing={"alice": WRONG_TAG, "bob": "The peer closed the connection"}
    )
    assert found["hers"] == {"alice": 0, "bob": 0}
    assert any(WRONG_TAG in reason for reason in found["reasons"]["bob"]), "her own Alice hears it first"


def test_after_all_that_the_link_goes_on_without_her(spliced: Project) -> None:
    spliced.compose("start", *NODES)
    keys_flow(spliced, DIRECT, "everything")


def test_with_certificates_stolen_before_the_first_contact_every_key_is_hers(untouched: Project) -> None:
    steal(untouched, "certificates")
    untouched.compose("up", "--detach", "--wait", "broker")
    for service in ("bob", "eve", "alice"):
        come(untouched, service)
    untouched.wait("keys of both", lambda: all(len(untouched.keys(node)) >= 3 for node in NODES))
    untouched.compose("kill", "eve", *NODES)
    found = audit(untouched)
    assert found["hers"] == found["keys"]
    assert min(found["keys"].values()) >= 3
    assert found["common"] == 0
