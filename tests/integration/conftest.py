"""Launchers of these tests fork their nodes from a process that has imported everything."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def _forked(nodes_are_forked: None) -> None:
    """Begin before links that a whole module shares."""
