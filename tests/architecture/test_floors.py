"""The house as it is drawn: imports go down only, every floor has a name, and nothing is a drawer."""

import ast
import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.source import PACKAGES, ROOT, files, imports, name, names_used, tree, where

PURE = (
    "alice/steps.py",
    "bob/steps.py",
    "common/protocol",
    "common/wire",
    "common/authentication",
    "common/keys",
    "common/optics",
    "common/distillation",
    "common/journal",
)
IMPURE_MODULES = {"asyncio", "socket", "ssl", "aiomqtt", "time", "threading"}
DRAWERS = re.compile(r"(?:^|[/_])(?:utils?|helpers?|misc|managers?)(?:$|[/_])")
MOST_LINES = 400
"""Of a module; a table of numbers is a data file."""
BANNED = ("pickle", "random", "shelve", "marshal", "numpy.random.seed", "numpy.random.rand")


def test_the_import_contracts_hold():
    lint = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
    assert "0 broken" in result.stdout


def test_every_package_is_held_by_the_contracts():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    with_code = {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()}
    assert with_code == set(PACKAGES)
    linked = {path.name for path in (ROOT / "qkdlink").iterdir() if path.is_symlink()}
    assert with_code - linked == set(contracts["root_packages"])


@pytest.mark.parametrize("package", ["alice", "bob", "eve", "common"])
def test_a_package_of_the_top_level_is_installed_under_one_name(package: str):
    assert (ROOT / "qkdlink" / package).readlink() == Path("..") / package
    assert importlib.util.find_spec(f"qkdlink.{package}")


def test_nothing_that_is_installed_leans_on_tests_or_maintenance():
    installed = files("alice", "bob", "eve", "common", "qkdlink")
    outside = {"tests", "maintenance"}
    assert where(lambda path: {one.split(".")[0] for one in imports(path)} & outside, installed) == {}


def test_only_their_command_leans_on_benchmarks():
    lean = where(lambda path: [one for one in imports(path) if one.startswith("qkdlink.benchmarks.")])
    assert {one for one in lean if not one.startswith(("qkdlink/benchmarks/", "maintenance/"))} == {
        "qkdlink/commands/bench.py"
    }


def test_the_protocol_has_no_clock_no_socket_and_no_scheduler():
    pure = [path for path in files() if name(path).startswith(PURE)]
    assert len(pure) > 40
    assert where(lambda path: {one.split(".")[0] for one in imports(path)} & IMPURE_MODULES, pure) == {}


def test_no_module_is_a_drawer():
    assert where(lambda path: DRAWERS.findall(str(path.relative_to(ROOT).with_suffix("")))) == {}


def test_no_module_is_longer_than_a_reader_s_patience():
    assert where(lambda path: max(0, len(path.read_text().splitlines()) - MOST_LINES)) == {}


def test_banned_modules_are_not_imported():
    assert (
        where(lambda path: [one for one in imports(path) if one in BANNED or one.split(".")[0] in BANNED])
        == {}
    )


def test_nothing_is_imported_by_a_star():
    assert where(lambda path: [one for one in imports(path) if one.endswith(".*")]) == {}


def test_nothing_is_evaluated_from_text():
    assert where(lambda path: called_by_name(path) & {"eval", "exec", "compile", "__import__"}) == {}


def test_every_file_says_its_idea_in_its_first_line():
    assert where(lambda path: not (ast.get_docstring(tree(path)) or "").splitlines()[:1]) == {}


def test_only_the_client_of_the_broker_knows_aiomqtt():
    users = where(lambda path: [one for one in imports(path) if one.split(".")[0] == "aiomqtt"])
    assert set(users) == {"common/transport/mqtt.py", "qkdlink/benchmarks/transport.py"}


def test_only_the_optics_take_the_states_out_of_light():
    users = where(lambda path: [one for one in names_used(path) if one.endswith(".absorb")])
    assert users
    assert all(user.startswith("common/optics/") for user in users)


def called_by_name(path: Path) -> set[str]:
    calls = (node.func for node in ast.walk(tree(path)) if isinstance(node, ast.Call))
    return {function.id for function in calls if isinstance(function, ast.Name)}
