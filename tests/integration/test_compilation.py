"""The first run on a machine: kernels are compiled once, ahead of the nodes, and it is said."""

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from qkdlink.common.kernels import compiled as kernels
from qkdlink.deployment.launching import compilation

STEPS = """
for n in (1, 2):
    print(f"step {n}", flush=True)
"""


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Compile with steps that take no time and an empty cache; return what is said."""
    monkeypatch.setattr(compilation, "_COMMAND", (sys.executable, "-c", STEPS))
    monkeypatch.setattr(kernels, "cache_folder", lambda _: tmp_path)

    def compiled() -> list[str]:
        lines: list[str] = []
        compilation.ensure_compiled(lines.append)
        return lines

    return compiled


def test_the_first_run_says_each_step_and_later_ones_say_nothing_until_a_kernel_changes(
    said: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = said()
    assert lines[0].startswith("compiling numeric kernels, once on this machine")
    assert [line.rpartition(" ")[2] for line in lines[1:]] == ["1", "2"]
    assert said() == []
    monkeypatch.setattr(kernels, "digest_of_kernels", lambda *_: "another text")
    assert said()[1:] == lines[1:]


def test_the_kernels_of_every_package_that_nodes_use_count(tmp_path: Path) -> None:
    """Else a changed kernel of Eve's would be compiled in silence, in the middle of a block."""
    assert {path.name for path in compilation._PACKAGES} == {"common", "eve"}
    packages = tmp_path / "one", tmp_path / "other"
    for package in packages:
        package.mkdir()
        (package / "loops.py").write_text("\n@kernel\n")
    before = kernels.digest_of_kernels(*packages)
    kernels._text_of.cache_clear()
    (packages[1] / "loops.py").write_text("\n@kernel # changed\n")
    assert kernels.digest_of_kernels(*packages) != before


def test_of_several_launchers_at_once_one_compiles_and_the_others_wait(
    said: Callable[[], list[str]],
) -> None:
    with ThreadPoolExecutor(4) as launchers:
        told = list(launchers.map(lambda _: said(), range(4)))
    assert sum(any("step" in line for line in lines) for lines in told) == 1
    assert all(not lines or "compiling" in lines[0] for lines in told)


@pytest.mark.parametrize(
    ("steps", "folder"),
    [("raise SystemExit(1)", True), (STEPS, False)],
    ids=["a compilation that fails", "no cache"],
)
def test_what_cannot_be_compiled_ahead_is_left_to_the_nodes(
    said: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, steps: str, folder: bool
) -> None:
    monkeypatch.setattr(compilation, "_COMMAND", (sys.executable, "-c", steps))
    if not folder:
        monkeypatch.setattr(kernels, "cache_folder", lambda _: None)
    assert len(said()) == int(folder)
    assert not list(tmp_path.iterdir())


CALLED = """
from qkdlink.deployment.launching.kernel_use import STEPS
from qkdlink.common.kernels import compiled as kernels
for step in STEPS.values():
    step()
inner = {name for each in kernels._folders for name in each.py_func.__code__.co_names}
print(*(each.__name__ for each in kernels._folders if not each.signatures and each.__name__ not in inner))
"""
BY_PROCESSOR = {"list_marked_anywhere", "list_marked_at_once", "select_anywhere", "select_at_once"}
"""Two ways of two tasks, under names that do not say which one: `qkdlink.common.kernels.compaction` chooses by what the
processor has."""


def test_every_kernel_is_called_by_what_is_compiled_ahead() -> None:
    asked = subprocess.run(
        [sys.executable, "-P", "-c", CALLED],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(asked.stdout.split()) <= BY_PROCESSOR
