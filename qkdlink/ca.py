"""`qkdlink ca`: make an authority, issue a node's credentials, show certificates."""

import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from cryptography import x509
from rich.console import Console
from rich.table import Table

from common.errors import ConfigurationError
from common.trust import pki
from common.trust.certificates import CertificateSummary, summarise
from common.trust.pem import CERTIFICATE_FILE, read_certificate

AUTHORITY_FOLDER = "ca"

app = typer.Typer(no_args_is_help=True, help="The small authority that vouches for the nodes of a link.")

type Days = Annotated[int, typer.Option(min=1, max=36500, help="Validity in days.")]
Home = Annotated[Path, typer.Option(help="The link's home folder; the authority is in its subfolder ca.")]


@app.command()
def init(
    home: Home,
    name: Annotated[str, typer.Option(help="The authority's name.")] = pki.DEFAULT_AUTHORITY_NAME,
    days: Days = pki.AUTHORITY_DAYS,
) -> None:
    """Make the authority of a link, in HOME/ca."""
    folder = home / AUTHORITY_FOLDER
    _tell_made(pki.create_authority(folder, name, pki.Validity.days(days)), folder)


@app.command()
def issue(
    name: Annotated[str, typer.Argument(help="The node's name: lower-case letters, digits, hyphens.")],
    home: Home,
    host: Annotated[list[str] | None, typer.Option(help="A further DNS name or address; repeatable.")] = None,
    days: Days = pki.NODE_DAYS,
) -> None:
    """Issue key and certificate of a node, in HOME/NAME."""
    folder = home / name
    made = pki.issue(home / AUTHORITY_FOLDER, name, folder, host or [], pki.Validity.days(days))
    _tell_made(made, folder)


@app.command()
def show(
    files: Annotated[list[Path] | None, typer.Argument(help="Certificates in PEM form.")] = None,
    home: Annotated[Path | None, typer.Option(help="Show every certificate of this link's home.")] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON list instead of tables.")] = False,
) -> None:
    """Show certificates: subject, issuer, names, validity, SHA-256 fingerprint."""
    paths = [*(files or []), *(_certificates_in(home) if home else [])]
    if not paths:
        raise ConfigurationError("name certificate files, or a link's home with --home")
    summaries = [(path, summarise(read_certificate(path))) for path in paths]
    if as_json:
        typer.echo(json.dumps([_as_json(path, summary) for path, summary in summaries], indent=2))
    else:
        for path, summary in summaries:
            Console().print(_as_table(path, summary))


def _certificates_in(home: Path) -> list[Path]:
    found = sorted(home.glob(f"*/{CERTIFICATE_FILE}"))
    if not found:
        raise ConfigurationError(f"{home} has no certificates: begin with `qkdlink ca init --home {home}`")
    return found


def _tell_made(certificate: x509.Certificate, folder: Path) -> None:
    summary = summarise(certificate)
    typer.echo(f"{summary.subject} in {folder}, valid until {summary.ends:%Y-%m-%d}")
    typer.echo(f"SHA-256 {summary.fingerprint}")


def _as_json(path: Path, summary: CertificateSummary) -> dict[str, object]:
    return {"file": str(path)} | {
        key: value.isoformat() if isinstance(value, datetime) else value
        for key, value in asdict(summary).items()
    }


def _as_table(path: Path, summary: CertificateSummary) -> Table:
    table = Table(title=str(path), title_justify="left", show_header=False)
    table.add_row("subject", summary.subject + (" (authority)" if summary.is_authority else ""))
    table.add_row("issuer", summary.issuer)
    table.add_row("names", ", ".join(summary.names) or "none")
    table.add_row("valid", f"{summary.begins:%Y-%m-%d %H:%M} to {summary.ends:%Y-%m-%d %H:%M} UTC")
    table.add_row("SHA-256", summary.fingerprint, style="bold")
    return table
