"""Generated passages of a document: each stands between two comment lines, and only what is between is replaced.

<!-- generated: NAME -->
...
<!-- end -->
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from qkdlink.common.errors import ConfigurationError

type Generators = Mapping[str, Callable[[], str]]
"""What writes each passage: its name, and a function that returns its text without the last line break."""

_PASSAGE = re.compile(
    r"(?P<begin><!-- generated: (?P<name>[a-z-]+) -->\n)(?P<body>.*?)(?P<end><!-- end -->)", re.DOTALL
)


def documents(root: Path) -> tuple[Path, ...]:
    """Return the documents of a project that may hold generated passages."""
    return root / "README.md", *sorted((root / "docs").glob("*.md"))


def passages(text: str) -> tuple[str, ...]:
    """Return the names of the passages in a document, in order."""
    return tuple(found["name"] for found in _PASSAGE.finditer(text))


def renewed(text: str, generators: Generators) -> str:
    """Return a document with every generated passage written anew.

    Raises ConfigurationError for a passage that nothing writes.
    """

    def write(found: re.Match[str]) -> str:
        if found["name"] not in generators:
            raise ConfigurationError(f"nothing writes the passage '{found['name']}'")
        return f"{found['begin']}{generators[found['name']]()}\n{found['end']}"

    return _PASSAGE.sub(write, text)
