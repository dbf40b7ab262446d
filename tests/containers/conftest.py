from collections.abc import Iterator

import pytest

from tests.containers.compose import NODES, Project, project


@pytest.fixture(scope="session")
def waiting_bob() -> Iterator[Project]:
    """Bob before the first key: no Alice has come yet, so he still listens for her certificate."""
    with project("bob") as waiting:
        waiting.compose("up", "--detach", "--build", "bob")
        waiting.wait("Bob's start", lambda: waiting.events("bob", "node-started"))
        yield waiting


@pytest.fixture(scope="session")
def link() -> Iterator[Project]:
    """The whole link, in an epoch that a key of its own authenticates."""
    with project("link") as running:
        running.compose("up", "--detach", "--build")
        for node in NODES:
            running.wait(
                f"an epoch at {node}",
                lambda node=node: any(
                    epoch["authenticated_by"] == "tls-psk" for epoch in running.events(node, "epoch-began")
                ),
            )
        yield running
