"""One link home for all tests of trust: an authority, two nodes, and a stranger's authority."""

from pathlib import Path

import pytest

from qkdlink.common.trust import pki
from qkdlink.deployment.certificates.hierarchy import create_authorities


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("link-home")
    create_authorities(home / "ca")
    create_authorities(home / "stranger")
    pki.issue(home / "ca", "alice", home / "alice", hosts=["127.0.0.1", "::1", "QKD.example.org"])
    pki.issue(home / "ca", "bob", home / "bob")
    return home
