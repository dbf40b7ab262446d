"""`--help`: whole option names, wherever it is printed."""

import re
import subprocess
import sys
from collections.abc import Iterator
from enum import EnumType
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from qkdlink.cli import app


def commands(group: object, *words: str) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """Every command, and its options."""
    yield (
        words,
        [name for each in getattr(group, "params", []) for name in each.opts if name.startswith("--")],
    )
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, *words, name)


def _at(words: tuple[str, ...]) -> object:
    found: Any = get_command(app)
    for word in words:
        found = found.commands[word]
    return found


@pytest.mark.parametrize(("words", "options"), list(commands(get_command(app))))
def test_the_help_of_every_command_has_every_option_s_name_whole(
    words: tuple[str, ...], options: list[str]
) -> None:
    told = CliRunner(env={"COLUMNS": "80"}).invoke(app, [*words, "--help"]).output
    assert "…" not in told
    assert [name for name in options if f" {name} " not in told.replace("\n", " \n").replace(",", " ")] == []


@pytest.mark.parametrize(("words", "options"), list(commands(get_command(app))))
def test_every_command_has_verbose(words: tuple[str, ...], options: list[str]) -> None:
    assert "--verbose" in options or hasattr(_at(words), "commands")


def _values() -> Iterator[tuple[str, str | None, str | None]]:
    """Sentence and word of every option and argument that takes a value of the user's own."""
    for words, _ in commands(get_command(app)):
        for each in getattr(_at(words), "params", []):
            described = getattr(each, "type_descriptor", None)
            is_choice = described is not None and isinstance(described.annotation, EnumType)
            if not (is_choice or getattr(each, "is_flag", False)):
                yield f"{' '.join(words)} {each.name}", each.help, each.metavar


def test_every_value_has_a_sentence_and_a_word_of_its_own() -> None:
    found = list(_values())
    assert len(found) > 50
    word = re.compile(r"[A-Z][A-Za-z0-9_=:,.|\[\]]*")
    assert [name for name, said, metavar in found if not (said and word.fullmatch(metavar or ""))] == []


def test_help_is_printed_without_what_takes_long_to_import() -> None:
    code = "import sys; from typer.testing import CliRunner; from qkdlink.cli import app;"
    code += "assert 'web-of-trust' in CliRunner().invoke(app, ['--help']).output; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
    ).stdout
    slow = {"asyncio", "cryptography", "numba", "numpy", "pydantic", "pydantic_core", "rich", "scipy"}
    assert slow & set(loaded.split()) == set()
