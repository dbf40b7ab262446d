"""Groups of commands, such as `qkdlink ca`, imported when one of their commands is asked for.

`qkdlink --help` names the groups and imports none of them, since what they work with takes most of a second to import.
"""

from collections.abc import Callable, MutableMapping
from functools import cached_property
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_group


def _ca() -> typer.Typer:
    from qkdlink.commands import ca

    return ca.app


def _psk() -> typer.Typer:
    from qkdlink.commands import psk

    return psk.app


def _web_of_trust() -> typer.Typer:
    from qkdlink.commands import web_of_trust

    return web_of_trust.app


def _lab() -> typer.Typer:
    from qkdlink.commands import lab

    return lab.app


_GROUPS: dict[str, tuple[Callable[[], typer.Typer], str]] = {
    "ca": (_ca, "The small authority that vouches for the nodes of a link."),
    "psk": (_psk, "The pre-shared key of a link whose trust anchor is psk."),
    "web-of-trust": (_web_of_trust, "Node cards: certificates that an OpenPGP key vouches for."),
    "lab": (_lab, "Experiments: what Eve can do to a link, and what she cannot."),
}
"""By name: what imports it, and its help."""


def add_groups(app: typer.Typer) -> None:
    """Give `app` every group of commands."""
    for name, (_, words) in _GROUPS.items():
        app.add_typer(
            typer.Typer(cls=_Group, no_args_is_help=True, rich_markup_mode=None), name=name, help=words
        )


class _Group(TyperGroup):
    """A group whose commands are imported when they are looked at."""

    @property
    def commands(self) -> MutableMapping[str, Any]:
        """Its commands, by name."""
        return self._imported

    @commands.setter
    def commands(self, known: MutableMapping[str, Any]) -> None:
        """Ignore what typer knows of it, which is nothing."""

    @cached_property
    def _imported(self) -> MutableMapping[str, Any]:
        load, _ = _GROUPS[self.name or ""]
        return get_group(load()).commands
