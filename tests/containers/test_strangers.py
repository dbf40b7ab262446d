"""Who gets in where: certificates of the wrong kind, subscribers to everything, callers after the latch."""

import pytest

from tests.containers.compose import ROOT, Project

STRANGERS = ROOT / "tests" / "containers" / "strangers"
AUTHORITIES = ("authorities:/link:ro",)
PSK_PORT, BOOTSTRAP_PORT = "7000", "7001"
pytestmark = pytest.mark.timeout(300)


def call(project: Project, authority: str, name: str, port: str) -> dict[str, object]:
    caller = STRANGERS / "caller.py"
    return project.stranger(caller, authority, name, port, network="classical", volumes=AUTHORITIES)


def subscribe(project: Project, authority: str, name: str) -> dict[str, object]:
    subscriber = STRANGERS / "subscriber.py"
    return project.stranger(subscriber, authority, name, network="light", volumes=AUTHORITIES)


def test_before_the_first_key_bob_admits_the_certificate_of_alice(waiting_bob: Project):
    assert call(waiting_bob, "ca", "alice", BOOTSTRAP_PORT)["admitted"]


@pytest.mark.parametrize(
    ("authority", "name"),
    [("apparatus-ca", "alice"), ("apparatus-ca", "broker"), ("ca", "eve"), ("ca", "bob")],
)
def test_before_the_first_key_bob_refuses_every_other_certificate(
    waiting_bob: Project, authority: str, name: str
):
    refusals = len(waiting_bob.events("bob", "peer-refused"))
    assert not call(waiting_bob, authority, name, BOOTSTRAP_PORT)["admitted"]
    assert len(waiting_bob.events("bob", "peer-refused")) == refusals + 1


def test_no_certificate_at_all_opens_the_port_of_the_keys(waiting_bob: Project):
    assert not call(waiting_bob, "ca", "alice", PSK_PORT)["admitted"]


@pytest.mark.parametrize("authority", ["ca", "apparatus-ca"])
@pytest.mark.parametrize("port", [PSK_PORT, BOOTSTRAP_PORT])
def test_after_the_first_key_no_certificate_opens_any_port(link: Project, authority: str, port: str):
    answer = call(link, authority, "alice", port)
    assert not answer["admitted"]
    if port == BOOTSTRAP_PORT:
        assert "refused" in str(answer["error"])


def test_the_broker_tells_a_client_without_rights_nothing(link: Project):
    faults = len(link.events("bob", "light-fault"))
    with link.new_keys_after("a stranger's visit"):
        visit = subscribe(link, "apparatus-ca", "visitor")
    assert visit == {"admitted": True, "topics": []}
    assert len(link.events("bob", "light-fault")) == faults


def test_the_same_subscriber_hears_what_it_may_hear(link: Project):
    assert subscribe(link, "apparatus-ca", "broker")["topics"] == ["$SYS/broker/version"]


@pytest.mark.parametrize("authority", ["nobody", "ca"])
def test_the_broker_refuses_whoever_shows_no_certificate_of_the_apparatus(link: Project, authority: str):
    assert not subscribe(link, authority, "alice")["admitted"]


def test_the_broker_cannot_even_reach_the_classical_channel(link: Project):
    networks = link.inspect("broker")["NetworkSettings"]["Networks"]
    assert set(networks) == {f"{link.name}_light"}
