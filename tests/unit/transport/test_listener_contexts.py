"""A listener's context is made once a second, and anew whenever one of its files has changed."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from qkdlink.common.errors import CredentialsError
from qkdlink.common.transport import certified
from qkdlink.common.trust.credentials import CredentialFiles, NodeCredentials
from qkdlink.deployment.homes.home import open_home


@pytest.fixture
def credentials(tmp_path: Path) -> NodeCredentials:
    files = CredentialFiles.in_folder(open_home(tmp_path / "home").node("bob"))
    return NodeCredentials.load(files, "bob", datetime.now(UTC))


def test_handshakes_of_one_second_share_a_context(
    credentials: NodeCredentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    contexts = certified._ListenerContexts(credentials)
    monkeypatch.setattr(certified.time, "monotonic", lambda: 100.0)
    first = contexts.now()
    monkeypatch.setattr(certified.time, "monotonic", lambda: 100.9)
    assert contexts.now() is first
    monkeypatch.setattr(certified.time, "monotonic", lambda: 101.1)
    assert contexts.now() is not first


def test_a_file_that_was_replaced_is_looked_at_by_the_next_handshake(
    credentials: NodeCredentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certified.time, "monotonic", lambda: 100.0)
    contexts = certified._ListenerContexts(credentials)
    first, lists = contexts.now(), credentials.files.revocations
    os.utime(lists, ns=(1, lists.stat().st_mtime_ns + 1))
    assert contexts.now() is not first
    lists.unlink()
    with pytest.raises(CredentialsError, match="does not exist"):
        contexts.now()
