"""Where homes and credentials are made: in nobody else's folder, and through no link that somebody has planted."""

from collections.abc import Callable
from pathlib import Path

import pytest

from qkdlink.common.errors import CredentialsError
from qkdlink.common.trust.node_card import CardRole
from qkdlink.common.trust.preshared import KEY_BITS, create_preshared
from qkdlink.common.trust.private_files import private_folder
from qkdlink.deployment.certificates.card_making import Wish, make_card
from qkdlink.deployment.certificates.hierarchy import create_authorities
from qkdlink.deployment.homes.home import open_home
from qkdlink.deployment.homes.installation import is_installed


def _linked(folder: Path) -> Path:
    (folder / "elsewhere").mkdir(0o700)
    (folder / "home").symlink_to(folder / "elsewhere")
    return folder / "home"


def _shared(folder: Path) -> Path:
    (folder / "home").mkdir()
    (folder / "home").chmod(0o777)
    return folder / "home"


def _of_a_group(folder: Path) -> Path:
    (folder / "home").mkdir()
    (folder / "home").chmod(0o770)
    return folder / "home"


def _enter(folder: Path) -> None:
    with private_folder(folder):
        pass


class _Hand:
    def sign(self, data: bytes, key: str) -> bytes:
        return data + key.encode()


USERS: dict[str, Callable[[Path], object]] = {
    "every private folder": _enter,
    "ca init": create_authorities,
    "psk new": lambda home: create_preshared(home / "a.key", KEY_BITS),
    "init": lambda home: is_installed(home, {}),
    "demo and up": open_home,
    "web-of-trust card": lambda home: make_card(home, Wish("l", "n", CardRole.ALICE), _Hand(), "k"),
}


@pytest.mark.parametrize("use", USERS.values(), ids=USERS)
@pytest.mark.parametrize(
    ("planted", "sentence"),
    [(_linked, "is a symbolic link"), (_shared, "others can write in"), (_of_a_group, "chmod go-w")],
)
def test_a_folder_that_is_a_link_or_that_others_can_write_is_refused_and_stays_empty(
    planted: Callable[[Path], Path], sentence: str, use: Callable[[Path], object], tmp_path: Path
) -> None:
    home = planted(tmp_path)
    with pytest.raises(CredentialsError, match=sentence):
        use(home)
    assert not list(home.iterdir())
