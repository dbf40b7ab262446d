"""`qkdlink lab`: experiments on links, one command each."""

import typer

from qkdlink.commands.decrypt_later import decrypt_later
from qkdlink.commands.scenarios import list_scenarios, run
from qkdlink.commands.sweep import sweep

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.command("decrypt-later")(decrypt_later)
app.command("list")(list_scenarios)
app.command("run")(run)
app.command("sweep")(sweep)
