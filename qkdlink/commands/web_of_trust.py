"""`qkdlink web-of-trust`: make a node's card, show a card and what a keyring thinks of it."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from qkdlink.commands.options import Verbose
from qkdlink.common.errors import CredentialsError
from qkdlink.common.trust.algorithms import KeyAlgorithm
from qkdlink.common.trust.certificates import fingerprint
from qkdlink.common.trust.node_card import NODE_CARD_FILE, CardRole, SignedCard, user_id
from qkdlink.common.trust.openpgp import Keyring
from qkdlink.common.trust.pki import NODE_DAYS, Validity
from qkdlink.common.trust.web_of_trust import verify_card
from qkdlink.deployment.certificates.card_making import Wish, make_card
from qkdlink.deployment.certificates.openpgp_signing import signing_in
from qkdlink.views.console import console, table

KEYRING_FOLDER = "gnupg"

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.command()
def card(
    home: Annotated[
        Path, typer.Option(metavar="FOLDER", help="The node's home; certificate, key and card are made here.")
    ],
    link: Annotated[str, typer.Option(metavar="NAME", help="The link's name.")],
    node: Annotated[str, typer.Option(metavar="NAME", help="The node's name.")],
    role: Annotated[CardRole, typer.Option(help="Which end of the link it is.")],
    gnupg_home: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="The GnuPG home with the key that signs; else HOME/gnupg."),
    ] = None,
    key: Annotated[
        str | None, typer.Option(metavar="KEY", help='The key; else that of "qkdlink node NODE of LINK".')
    ] = None,
    days: Annotated[
        int, typer.Option(metavar="DAYS", min=1, max=36500, help="Validity in days.")
    ] = NODE_DAYS,
    algorithm: Annotated[
        KeyAlgorithm, typer.Option(help="The algorithm of the certificate's key.")
    ] = KeyAlgorithm.P256,
    *,
    verbose: Verbose = False,
) -> None:
    """Make a node's certificate, its private key and its card, signed by the node's OpenPGP key."""
    del verbose
    wish = Wish(link, node, role, Validity.days(days), algorithm)
    with signing_in(gnupg_home or home / KEYRING_FOLDER) as hand:
        made = make_card(home, wish, hand, key or f"={user_id(link, node)}")
    typer.echo(f"{home / NODE_CARD_FILE}: {role} of {link}, valid until {made.card.ends}")
    typer.echo(f"SHA-256 of its certificate {fingerprint(made.card.certificate_der)}")


@app.command()
def show(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A node card.")],
    keyring: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="The GnuPG home whose web of trust is asked for its verdict."),
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
    verbose: Verbose = False,
) -> None:
    """Show a card; with a keyring, exit with status 1 unless its web of trust accepts the card."""
    del verbose
    shown = SignedCard.read(file)
    refusal = None if keyring is None else _refusal(shown, Keyring.open(keyring))
    verdict = "not examined" if keyring is None else refusal or "accepted"
    lines = {
        "link": shown.card.link,
        "node": shown.card.node,
        "role": str(shown.card.role),
        "begins": shown.card.begins,
        "ends": shown.card.ends,
        "user id": shown.card.user_id,
        "certificate": fingerprint(shown.card.certificate_der),
        "verdict": verdict,
    }
    if as_json:
        typer.echo(json.dumps({name.replace(" ", "_"): value for name, value in lines.items()}))
    else:
        console().print(_table(str(file), lines))
    raise typer.Exit(0 if refusal is None else 1)


def _refusal(shown: SignedCard, keyring: Keyring) -> str | None:
    try:
        shown.card.check_time(datetime.now(UTC))
        asyncio.run(verify_card(shown, keyring))
    except CredentialsError as error:
        return str(error)
    return None


def _table(title: str, lines: dict[str, str]) -> Table:
    made = table("", "", title=title)
    made.show_header = False
    for name, value in lines.items():
        made.add_row(name, value)
    return made
