"""What is installed: one package with all its modules and data, and nothing else, however the checkout looks."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.source import ROOT

LINKED = ("alice", "bob", "eve", "common")
LITTER = (
    "build/lib/qkdlink/old.py",
    "dist/qkdlink-0.0.1.tar.gz",
    "home-1/alice/node.toml",
    "scratch.py",
    "qkdlink/__pycache__/cli.cpython-313.pyc",
    "qkdlink/home/alice/store.db",
    "qkdlink/home/alice/journal.jsonl",
    "common/node/__pycache__/station.cpython-313.pyc",
    "common/authority.pem",
    "alice/private-key.pem",
    "bob/light-seal.key",
    "eve/certificate.crt",
)
"""What lies about where somebody works; git ignores it, or it is outside all packages."""


@pytest.fixture(scope="module")
def tracked() -> list[str]:
    """Name the files of the repository."""
    listed = subprocess.run(
        [shutil.which("git") or "git", "ls-files", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("only git says which files belong to the project")
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()]


@pytest.fixture(scope="module")
def littered(tracked: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the repository, with links as links, and leave things about in it."""
    checkout = tmp_path_factory.mktemp("checkout")
    for name in tracked:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, checkout / name, follow_symlinks=False)
    for name in LITTER:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text("secret")
    return checkout


def build(what: str, project: Path, into: Path) -> Path:
    """Build a wheel or an sdist without an environment of its own, so without a network."""
    subprocess.run(
        [sys.executable, "-P", "-m", "hatchling", "build", "-t", what, "-d", str(into)],
        cwd=project,
        capture_output=True,
        check=True,
    )
    return next(into.iterdir())


def installed_from(name: str) -> str | None:
    """Say where a file of the repository is installed, None if it is not."""
    package = name.split("/", maxsplit=1)[0]
    if package in LINKED:
        return f"qkdlink/{name}"
    return name if package == "qkdlink" and name.removeprefix("qkdlink/") not in LINKED else None


@pytest.mark.parametrize("way", ["directly", "through the sdist"])
def test_a_wheel_holds_one_package_all_of_its_files_and_nothing_else(
    littered: Path, tracked: list[str], tmp_path: Path, way: str
):
    project = littered
    if way == "through the sdist":
        shutil.unpack_archive(
            build("sdist", littered, tmp_path / "sdist"), tmp_path / "unpacked", filter="data"
        )
        project = next((tmp_path / "unpacked").iterdir())
    with zipfile.ZipFile(build("wheel", project, tmp_path / "wheel")) as wheel:
        held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert held == set(filter(None, map(installed_from, tracked)))
    assert "qkdlink/py.typed" in held
    assert any(name.endswith(".toml") for name in held)


def test_an_sdist_holds_no_file_twice_and_no_secret(littered: Path, tracked: list[str], tmp_path: Path):
    shutil.unpack_archive(build("sdist", littered, tmp_path / "sdist"), tmp_path / "unpacked", filter="data")
    project = next((tmp_path / "unpacked").iterdir())
    held = {str(path.relative_to(project)) for path in project.rglob("*") if path.is_file()}
    links = {f"qkdlink/{package}" for package in LINKED}
    ours = {name for name in tracked if not name.startswith(".ci/")} - links
    assert held - ours == {"PKG-INFO"}
    assert ours <= held
