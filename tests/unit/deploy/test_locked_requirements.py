import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
closure = runpy.run_path(str(ROOT / "deploy" / "locked_requirements.py"))["closure"]
LOCK = """\
apple==1.0 \\
    --hash=sha256:aa
    # via project
core==2.0 ; sys_platform != 'win32' \\
    --hash=sha256:bb \\
    --hash=sha256:cc
    # via
    #   apple
    #   tool
seed==3.0 \\
    --hash=sha256:dd
    # via core
tool==4.0 \\
    --hash=sha256:ee
    # via project
"""


def names(lock: str) -> list[str]:
    return re.findall(r"^([A-Za-z0-9._-]+)==", lock, re.MULTILINE)


def test_what_is_needed_comes_with_all_that_it_needs_and_nothing_else():
    assert names(closure(LOCK, ["apple"])) == ["apple", "core", "seed"]


def test_entries_keep_their_versions_markers_and_hashes():
    kept = closure(LOCK, ["apple"])
    assert all(part in kept for part in ("core==2.0 ; sys_platform != 'win32'", "sha256:bb", "sha256:cc"))


def test_a_requirement_that_the_lock_lacks_is_an_error():
    with pytest.raises(KeyError, match="pear"):
        closure(LOCK, ["apple", "pear"])


def test_the_run_time_needs_no_tool_of_development():
    lock = (ROOT / "requirements.lock").read_text()
    kept = set(names(closure(lock, ["numba", "pydantic-settings", "amqtt", "typer", "rich", "scipy"])))
    assert {"llvmlite", "numpy", "pydantic-core", "websockets"} <= kept
    assert kept.isdisjoint({"mypy", "pytest", "ruff", "hypothesis", "hatchling"})


def test_nothing_that_runs_depends_on_the_container_that_other_options_make_anew() -> None:
    """Compose stops what depends on a container that it makes anew; `installed` has ended by then."""
    compose = (Path(__file__).parents[3] / "docker-compose.yml").read_text()
    assert compose.count("credentials: {condition") == 1
    installed = compose.partition("  installed:\n")[2].partition("  broker:\n")[0]
    assert "credentials: {condition: service_completed_successfully}" in installed
