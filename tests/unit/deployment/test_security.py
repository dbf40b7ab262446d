"""What a launched link's anchor needs is there at both ends, also when one of them had lost it."""

from pathlib import Path

import pytest

from qkdlink.common.trust.anchor import AnchorName
from qkdlink.common.trust.preshared import PRESHARED_FILE, PresharedSecret
from qkdlink.deployment.homes.security import Security


@pytest.mark.parametrize("lost", [(), ("alice",), ("bob",), ("alice", "bob")], ids=str)
def test_both_nodes_have_one_pre_shared_key_whichever_had_lost_it(
    tmp_path: Path, lost: tuple[str, ...]
) -> None:
    files = {name: tmp_path / name / PRESHARED_FILE for name in ("alice", "bob")}
    for file in files.values():
        file.parent.mkdir()
    homes = files["alice"].parent, files["bob"].parent
    Security(AnchorName.PSK).furnish(*homes, "link-1")
    first = PresharedSecret.load(files["alice"])
    assert PresharedSecret.load(files["bob"]) == first
    for name in lost:
        files[name].unlink()
    Security(AnchorName.PSK).furnish(*homes, "link-1")
    second = PresharedSecret.load(files["alice"])
    assert PresharedSecret.load(files["bob"]) == second
    assert (second == first) == (len(lost) < 2), "what is there stays"
