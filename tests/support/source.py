"""The project's own source, as text and as syntax trees."""

import ast
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("alice", "bob", "eve", "common", "qkdlink", "maintenance")


def files(*folders: str) -> list[Path]:
    """All modules of these packages or folders, of the whole project if none is named; links are not followed."""
    return sorted(path for folder in folders or PACKAGES for path in (ROOT / folder).rglob("*.py"))


def name(path: Path) -> str:
    """A file's name as a test prints it."""
    return str(path.relative_to(ROOT))


def where[F](finds: Callable[[Path], F], paths: Iterable[Path] | None = None) -> dict[str, F]:
    """What is found in each file, for the files in which anything is."""
    found = {name(path): finds(path) for path in (files() if paths is None else paths)}
    return {file: one for file, one in found.items() if one}


@cache
def tree(path: Path) -> ast.Module:
    """Parse a file."""
    return ast.parse(path.read_text())


def imports(path: Path) -> Iterator[str]:
    """Every module, or name in a module, that a file imports, with dots."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def names_used(path: Path) -> Iterator[str]:
    """Every dotted name that a file uses, as it is written: `np.random.default_rng`."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute):
            yield ast.unparse(node)
        elif isinstance(node, ast.Name):
            yield node.id
