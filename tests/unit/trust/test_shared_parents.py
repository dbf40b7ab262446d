"""A home is refused where others can replace a folder on the way to it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from qkdlink.common.errors import CredentialsError
from qkdlink.common.trust import private_files
from qkdlink.common.trust.private_files import private_folder


@pytest.mark.parametrize(
    ("mode", "own_group", "sentence"),
    [
        (0o777, False, "others can write in"),
        (0o775, False, "chmod go-w"),
        (0o775, True, None),
        (0o777, True, "others can write in"),
        (0o1777, False, None),
        (0o755, False, None),
    ],
)
@pytest.mark.parametrize(
    "place", [lambda root: root / "open" / "home", lambda root: root / "open" / "mine" / "home"]
)
def test_where_the_line_is(
    mode: int,
    own_group: bool,
    sentence: str | None,
    place: Callable[[Path], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(private_files, "_is_own_group", lambda _: own_group)
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(mode)
    home = place(tmp_path)
    if sentence is None:
        with private_folder(home):
            assert home.is_dir()
        return
    with pytest.raises(CredentialsError, match=sentence), private_folder(home):
        pass
    assert not list((tmp_path / "open").iterdir())


def test_a_link_on_the_way_does_not_hide_where_it_stands_or_leads(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "closed").mkdir()
    (tmp_path / "open" / "to-closed").symlink_to(tmp_path / "closed")
    (tmp_path / "closed" / "to-open").symlink_to(tmp_path / "open")
    (tmp_path / "open").chmod(0o777)
    for home in (tmp_path / "open" / "to-closed" / "home", tmp_path / "closed" / "to-open" / "home"):
        with pytest.raises(CredentialsError, match="others can write in"), private_folder(home):
            pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_on_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", 12345, 12345)
    with (
        pytest.raises(CredentialsError, match="belongs to another user"),
        private_folder(tmp_path / "theirs" / "home"),
    ):
        pass
