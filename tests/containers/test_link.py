"""The link as containers: keys on both sides, whatever is restarted, paused or killed."""

import json
import re
import sys
from datetime import datetime

import pytest

from qkdlink.common.keys.allotment import UNIT_BITS
from tests.containers.compose import NODES, Project, docker

pytestmark = pytest.mark.timeout(300)

INTERRUPTIONS = 12
"""At most: what the tests of this file do to a link, both nodes counted."""
BLOCKS_IN_FLIGHT = 2


def in_mid_block(link: Project) -> bool:
    opened = {event["block_id"] for event in link.events("alice", "block-opened")}
    return bool(opened - {event["block_id"] for event in link.events("alice", "block-ended")})


def test_both_nodes_hold_keys_of_the_same_blocks_and_lengths(link: Project):
    link.wait("three keys on both sides", lambda: len(link.common_keys()) >= 3)


def test_the_containers_call_themselves_healthy(link: Project):
    for service in ("broker", *NODES):
        link.wait(
            f"{service} to be healthy",
            lambda service=service: link.inspect(service)["State"]["Health"]["Status"] == "healthy",
        )


@pytest.mark.parametrize("node", NODES)
def test_the_log_tells_what_the_journal_tells(link: Project, node: str):
    entries = link.journal(node)

    def printed() -> list[object]:
        log = link.compose("logs", "--no-log-prefix", "--no-color", node)
        # compose may begin a line with a terminal's code
        return [json.loads(line[line.index("{") :]) for line in log.splitlines() if '{"node":' in line]

    link.wait(f"all lines of {node}", lambda: len(printed()) >= len(entries))
    assert printed()[: len(entries)] == entries


def test_the_log_says_how_the_link_starts(link: Project):
    log = link.compose("logs", "--no-log-prefix", "--no-color", "credentials", "installed", "broker")
    assert "for Bob's machine" in log
    assert "The credentials are in place; the broker starts next, then Bob and Alice." in log
    assert "The broker starts: TLS 1.3 on port 8883" in log


@pytest.mark.parametrize("node", NODES)
def test_a_restarted_node_starts_in_seconds_compiles_nothing_and_goes_on_without_a_certificate(
    link: Project, node: str, capsys: pytest.CaptureFixture[str]
):
    with link.new_keys_after(f"a restart of {node}"):
        link.compose("restart", node)
    started_at = datetime.fromisoformat(
        re.sub(r"(\.\d{6})\d*Z", r"\1+00:00", link.inspect(node)["State"]["StartedAt"])
    )
    ready = [entry["time"] for entry in link.journal(node) if entry["event"]["type"] == "node-started"][-1]
    with capsys.disabled():
        sys.stdout.write(
            f"\n{node} was ready {ready - started_at.timestamp():.2f} s after its container's start\n"
        )
    link.compose("exec", "--no-TTY", node, "diff", "-r", "/opt/kernels", "/run/kernels")
    epochs = [epoch["authenticated_by"] for epoch in link.events(node, "epoch-began")]
    assert epochs.count("mutual-tls") == 1


@pytest.mark.parametrize("node", NODES)
def test_a_paused_node_catches_up(link: Project, node: str):
    with link.new_keys_after(f"a pause of {node}"):
        link.wait("a block in flight", lambda: in_mid_block(link))
        link.compose("pause", node)
        try:
            docker("run", "--rm", "--network", "none", link.image, "sleep", "4")
        finally:
            link.compose("unpause", node)


@pytest.mark.parametrize("nodes", [("alice",), ("bob",), NODES])
def test_killed_nodes_catch_up(link: Project, nodes: tuple[str, ...]):
    with link.new_keys_after(f"the death of {nodes}"):
        link.wait("a block in flight", lambda: in_mid_block(link))
        link.compose("kill", "--signal", "SIGKILL", *nodes)
        link.compose("start", *nodes)


def test_a_broker_restarted_in_mid_block_costs_no_agreement(link: Project):
    with link.new_keys_after("a restart of the broker"):
        link.wait("a block in flight", lambda: in_mid_block(link))
        link.compose("restart", "--timeout", "0", "broker")


def test_a_second_up_changes_nothing_and_says_so(link: Project):
    before = {service: link.inspect(service)["Id"] for service in ("broker", *NODES)}
    said = link.compose("logs", "credentials").count("complete already; nothing was changed")
    link.compose("up", "--detach")
    assert {service: link.inspect(service)["Id"] for service in before} == before
    log = link.compose("logs", "credentials")
    assert log.count("complete already; nothing was changed") == said + 1
    assert log.count("for Bob's machine") == 1


def test_after_all_that_both_ledgers_are_the_same_but_for_tags_that_were_lost_on_their_way(link: Project):
    """A tag is paid for before it leaves: of one that never arrived, only its owner knows."""
    link.compose("stop", "alice")
    link.compose("run", "--rm", "--no-deps", "--no-TTY", "--env", "QKDLINK_BLOCKS=1", "alice")
    link.compose("stop", "bob")
    alice, bob = (link.balance(node) for node in NODES)
    link.compose("start", *NODES)
    assert (alice.pop("node"), bob.pop("node")) == NODES
    spent_by_alice, spent_by_bob = alice.pop("spent"), bob.pop("spent")
    lost = {
        purpose: spent_by_alice.get(purpose, 0) - spent_by_bob.get(purpose, 0)
        for purpose in spent_by_alice | spent_by_bob
    }
    assert {purpose for purpose, bits in lost.items() if bits > 0} <= {
        "tags-alice-to-bob",
        "reserve-at-alice",
    }
    assert {purpose for purpose, bits in lost.items() if bits < 0} <= {"tags-bob-to-alice", "reserve-at-bob"}
    assert sum(map(abs, lost.values())) <= INTERRUPTIONS * BLOCKS_IN_FLIGHT * UNIT_BITS
    assert all(bits % UNIT_BITS == 0 for bits in lost.values())
    for counted, sign in (("available_bits", -1), ("authentication_bits", 1)):
        assert alice.pop(counted) - bob.pop(counted) == sign * sum(lost.values())
    for follows in ("net_gain_per_block", "blocks_payable", "reserve_lacks_bits", "seconds_to_starvation"):
        del alice[follows], bob[follows]
    assert alice == bob
    assert alice["pending_blocks"] == 0
    assert alice["latched"]
    assert alice["produced_bits"] > 0
