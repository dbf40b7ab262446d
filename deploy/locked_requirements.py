# ruff: noqa: INP001 - a script that the image's build runs by its path
"""`python locked_requirements.py project.dependencies`: the part of the lock that these requirements need.

The lock serves development, too; an image installs what runs, in the same versions and with the same hashes. Who needs
what is read from the lock's own `# via` comments, so there is no second lock to keep in step.
"""

import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

_NEEDED_BY = re.compile(r"^ +#(?: via)? +(\S+)$", re.MULTILINE)


def closure(lock: str, roots: Iterable[str]) -> str:
    """Return the entries of `lock` for the packages `roots` and all that these need; KeyError if one is missing."""
    entries = {_name(entry): entry for entry in re.split(r"\n(?=[A-Za-z0-9])", lock)}
    needed_by = {name: set(_NEEDED_BY.findall(entry)) for name, entry in entries.items()}
    kept = {name: entries[name] for name in roots}
    while more := {name: entries[name] for name in entries.keys() - kept if needed_by[name] & kept.keys()}:
        kept |= more
    return "\n".join(kept[name].rstrip("\n") for name in sorted(kept)) + "\n"


def _name(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]


def _roots(arguments: Iterable[str]) -> list[str]:
    """Read package names, and lists of pyproject.toml by their dotted names."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
    roots = []
    for argument in arguments:
        table, dot, key = argument.partition(".")
        roots += [_name(requirement) for requirement in project[table][key]] if dot else [argument]
    return roots


if __name__ == "__main__":
    lock = Path("requirements.lock").read_text(encoding="utf-8")
    sys.stdout.write(closure(lock, _roots(sys.argv[1:])))
