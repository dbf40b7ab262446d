"""`qkdlink lab decrypt-later`: what a recording of every wire is worth to Eve when time has given her more."""

import asyncio
import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from qkdlink.commands.options import Verbose
from qkdlink.views.console import console, table

if TYPE_CHECKING:
    from qkdlink.lab.recordings.decrypt_later import Hand


class HandName(StrEnum):
    """Names of the hands, without what it takes to play one."""

    QUANTUM = "quantum"
    GENEROUS = "generous"


def decrypt_later(
    recording: Annotated[
        Path, typer.Option(metavar="DIR", help="A recording; a new folder is filled first.")
    ],
    hand: Annotated[
        HandName,
        typer.Option(help="What time gives her: a quantum computer, or the secrets of every session."),
    ] = HandName.QUANTUM,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of tables.")] = False,
    verbose: Verbose = False,
) -> None:
    """Open a recording of every wire of a link, and of user traffic, with what time may give to Eve."""
    del verbose
    from qkdlink.deployment.launching.compilation import ensure_compiled
    from qkdlink.lab.recordings import decrypt_later as later
    from qkdlink.lab.recordings.recording import make_recording

    if not recording.exists() or (recording.is_dir() and not any(recording.iterdir())):
        ensure_compiled()
        asyncio.run(make_recording(recording))
    found = later.decrypt_later(recording, _hand(hand))
    if as_json:
        typer.echo(json.dumps(found))
    else:
        _show(found, console())


def _hand(name: HandName) -> "Hand":
    from qkdlink.lab.recordings.decrypt_later import Hand

    return Hand(name.value)


def _show(found: dict[str, Any], shown: Console) -> None:
    wires = _table(f"What the {found['hand']} hand opens", "wire", "bytes", "opened", "by")
    for line in found["link"]:
        name = f"classical line {line['connection']} ({line['proof']})"
        wires.add_row(name, f"{line['bytes']}", f"{line['opened_bytes']}", line["opened_by"] or "nothing")
    wires.add_row("light", f"{found['light']['bytes']}", "0", "nothing: a copy of the seal is no photon")
    for source, traffic in found["user_traffic"].items():
        by = " and ".join(traffic["opened_by"]) or f"nothing: held by {' and '.join(traffic['held_by'])}"
        wires.add_row(f"user traffic, {source}", f"{traffic['bytes']}", f"{traffic['opened_bytes']}", by)
    blocks = _table("Keys of blocks whose every word she has read", "block", "bits", "undetermined for her")
    for block in found["blocks"]:
        blocks.add_row(block["block"], f"{block['secret_bits']}", f"{block['undetermined_bits']}")
    shown.print(wires)
    shown.print(blocks)


def _table(title: str, *columns: str) -> Table:
    return table(*columns, right={"bytes", "opened", "bits"}, title=title)
