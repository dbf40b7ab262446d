"""`qkdlink psk`: make the secret that two nodes are given by hand."""

from pathlib import Path
from typing import Annotated

import typer

from qkdlink.commands.options import Verbose
from qkdlink.common.trust.preshared import KEY_BITS, PADS_FROM_BITS, PRESHARED_FILE, create_preshared

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """Keep `new` a command of its own, although it is the only one."""


@app.command()
def new(
    *,
    bits: Annotated[
        int,
        typer.Option(
            metavar="N", help=f"Its length; from {PADS_FROM_BITS} on it has pads for Wegman-Carter tags."
        ),
    ] = KEY_BITS,
    out: Annotated[Path, typer.Option(metavar="FILE", help="A new file, for its owner alone.")] = Path(
        PRESHARED_FILE
    ),
    verbose: Verbose = False,
) -> None:
    """Draw a pre-shared key into a new file; it is shown nowhere."""
    del verbose
    create_preshared(out, bits)
    typer.echo(
        f"A pre-shared key of {bits} bits is in {out}. Carry it to both nodes by hand, and let"
        " `pre_shared_key` in [trust] name it; it serves one bootstrap of one link."
    )
