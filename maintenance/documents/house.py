"""The drawing of the house: its packages by floors, as the import contracts name them, and who imports which.

It is drawn from the imports themselves, so `python -m maintenance.documents --check` fails when it has drifted.
"""

import ast
import textwrap
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
_MARGIN = "{:>5}  {:14}{:>5} {:>7}  "


@dataclass(frozen=True, slots=True)
class Room:
    """A package, or a module, on one floor of a house."""

    name: str
    floor: int
    """Counted from the lowest."""
    files: int
    lines: int
    imports: tuple[str, ...]
    """The other rooms of the same house that it imports, in the order of the floors."""


@dataclass(frozen=True, slots=True)
class House:
    """A package whose parts an import contract puts on floors."""

    name: str
    rooms: tuple[Room, ...]
    """The highest first."""

    @property
    def arrows(self) -> int:
        """How many pairs of rooms there are of which one imports the other."""
        return sum(len(room.imports) for room in self.rooms)


@cache
def houses() -> tuple[House, ...]:
    """Return every package whose inside a contract orders, in the order of the contracts."""
    contracts = tomllib.loads((_ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    return tuple(
        _house(container, [[name.strip() for name in layer.split("|")] for layer in contract["layers"]])
        for contract in contracts
        for container in contract.get("containers", ())
    )


def drawing() -> str:
    """Draw all houses, each room in one line."""
    return "\n".join(["```text", *_lines_of_all(), "```"])


def _lines_of_all() -> Iterator[str]:
    for number, house in enumerate(houses()):
        if number:
            yield ""
        counts = f"{len(house.rooms)} rooms on {house.rooms[0].floor} floors, {house.arrows} arrows"
        yield f"{house.name}: {counts}"
        yield _MARGIN.format("floor", "", "files", "lines") + "imports"
        for room in house.rooms:
            yield from _lines_of(room)


def _lines_of(room: Room) -> list[str]:
    margin = _MARGIN.format(room.floor, room.name, room.files, _rounded(room.lines))
    return textwrap.wrap(
        ", ".join(room.imports) or "nothing of it",
        118,
        initial_indent=margin,
        subsequent_indent=" " * len(margin),
    )


def _rounded(lines: int) -> str:
    """Write a number of lines with two digits, so that the drawing does not change with each of them."""
    return f"{round(lines, 2 - len(str(lines))):,}"


def _house(container: str, layers: list[list[str]]) -> House:
    names = [name for layer in layers for name in layer]
    rooms = tuple(
        _room(container, name, len(layers) - above, names)
        for above, layer in enumerate(layers)
        for name in layer
    )
    return House(container, rooms)


def _room(container: str, name: str, floor: int, names: list[str]) -> Room:
    files = _files(_ROOT.joinpath(*container.split("."), name))
    imported = {_room_of(module, container) for file in files for module in _imports(file)} - {name}
    return Room(
        name,
        floor,
        len(files),
        sum(len(file.read_text("utf-8").splitlines()) for file in files),
        tuple(other for other in names if other in imported),
    )


def _files(room: Path) -> list[Path]:
    if not room.is_dir():
        return [room.with_suffix(".py")]
    return sorted(room.resolve().rglob("*.py"))


def _room_of(module: str, container: str) -> str | None:
    inside = module.removeprefix(f"{container}.")
    return None if inside == module else inside.partition(".")[0]


def _imports(file: Path) -> Iterator[str]:
    """Yield everything that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), names=names):
                yield from (f"{module}.{alias.name}" for alias in names)
