"""Eve in containers of her own: she comes and goes, and is played; what she may have stolen is `test_matrix`."""

import json
import re
from collections.abc import Iterator

import pytest

from tests.containers.compose import NODES, ROOT, Project, project

STRANGERS = ROOT / "tests" / "containers" / "strangers"
THROUGH_EVE, DIRECT = ("eve", "eve"), ("direct", "direct")
LINE_TO_BOB = re.compile(r"^ *\d+: \w+:1B5[89] (\w{8}):\w+ 01 ", re.MULTILINE)
"""An established line to port 7000 or 7001, and who called, as the kernel writes both in /proc/net/tcp."""
MONITOR = "qber-per-basis"
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def spliced() -> Iterator[Project]:
    """The whole link with Eve in it, as `docker compose --profile eve up` starts it."""
    with project("eve") as running:
        running.compose("--profile", "eve", "up", "--detach", "--build")
        yield running


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
