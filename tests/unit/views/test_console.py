"""What is printed for people: all of it, whatever is at the other end."""

import io
import re
import sys

import pytest
from rich.table import Table

from qkdlink.views.console import console, table
from tests.support.source import files, imports, where

NAME = "a-name-that-somebody-will-copy"
TOLD = "is refused: [Errno 111] at host:port [/etc] :key: " + "and so on " * 30 + "to its end"


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def printed(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch, what: str | Table, columns: int) -> str:
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("FORCE_COLOR", "1")
    console().print(what)
    return re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue())


def one_row() -> Table:
    made = table("name", "told", "figure", whole={"name"}, right={"figure"}, title="one row")
    made.add_row(NAME, TOLD, "10000000")
    return made


def test_a_pipe_gets_whole_lines_and_whole_tables_whatever_the_environment_says_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert printed(io.StringIO(), monkeypatch, TOLD, 20) == TOLD + "\n"
    row = printed(io.StringIO(), monkeypatch, one_row(), 20).splitlines()[-1]
    assert row.split() == [NAME, *TOLD.split(), "10000000"]


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_a_terminal_gets_all_of_a_table_and_the_name_in_one_piece(
    monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    lines = printed(_Terminal(), monkeypatch, one_row(), columns).splitlines()
    assert max(map(len, lines)) <= columns
    assert any(NAME in line for line in lines)
    words = [word for line in lines for word in line.replace(NAME, "").replace("10000000", "").split()]
    assert "".join(words).endswith("".join(TOLD.split()))


def test_the_project_has_this_one_console() -> None:
    programs = files("alice", "bob", "eve", "common", "lab", "benchmarks", "qkdlink")
    makers = where(
        lambda path: "Console(" in path.read_text() and "rich.console.Console" in imports(path), programs
    )
    assert set(makers) == {"qkdlink/views/console.py"}
