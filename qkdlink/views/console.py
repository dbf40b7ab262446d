"""Where the project prints for people: within a terminal's width on a terminal, elsewhere whole lines and tables."""

import sys
from collections.abc import Collection

from rich.console import Console
from rich.table import Table

_WIDE = 1 << 16
"""Columns of what is no terminal: more than any line of ours has, so that a pipe or a file gets all of it."""


def console(*, stderr: bool = False, quiet: bool = False) -> Console:
    """Return a console on standard output or standard error.

    What is printed is text: brackets and colons in the words of a peer or a file are no markup.
    """
    stream = sys.stderr if stderr else sys.stdout
    on_terminal = stream is not None and stream.isatty()
    return Console(
        stderr=stderr,
        quiet=quiet,
        highlight=False,
        markup=False,
        emoji=False,
        force_terminal=on_terminal,  # a variable of the environment makes no terminal of a pipe
        width=None if on_terminal else _WIDE,
    )


def table(
    *headings: str, right: Collection[str] = (), whole: Collection[str] = (), title: str | None = None
) -> Table:
    """Return an empty table whose cells are folded, never cut, where a terminal is too narrow for them.

    Columns in `right` are aligned to the right. Those in `whole` hold names to be copied: the others are folded first.
    """
    made = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for heading in headings:
        made.add_column(
            heading,
            justify="right" if heading in right else "left",
            overflow="fold",
            no_wrap=heading in whole,
        )
    return made
