"""`qkdlink ca`: make the nodes' authority, issue credentials, show certificates, revoke."""

import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from cryptography import x509
from rich.table import Table

from qkdlink.commands.options import Verbose
from qkdlink.common.errors import ConfigurationError
from qkdlink.common.trust import pki
from qkdlink.common.trust.algorithms import KeyAlgorithm, tls_has, tls_has_not
from qkdlink.common.trust.certificates import CertificateSummary, serial, summarise
from qkdlink.common.trust.pem import AUTHORITY_FILE, CERTIFICATE_FILE, REVOCATIONS_FILE, read_chain
from qkdlink.common.trust.private_files import PUBLIC_MODE, NewFile, write_over
from qkdlink.common.trust.revocation import common_name
from qkdlink.deployment.certificates.hierarchy import LIST_DAYS, ROOT_FOLDER, Hierarchy, create_authorities
from qkdlink.deployment.homes.site import LINKS_FOLDER
from qkdlink.deployment.homes.sites import SITES_FOLDER
from qkdlink.views.console import console, table

AUTHORITY_FOLDER = "ca"

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Days = Annotated[int, typer.Option(metavar="DAYS", min=1, max=36500, help="Validity in days.")]
ListDays = Annotated[
    int,
    typer.Option(
        metavar="DAYS", min=1, max=3650, help="For how many days the issuing authority's list is good."
    ),
]
Home = Annotated[
    Path, typer.Option(metavar="FOLDER", help="The link's home folder; the authority is in its subfolder ca.")
]
Root = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER", help="Where the root is, if not in HOME/ca/root: it may be kept elsewhere."
    ),
]
Algorithm = Annotated[KeyAlgorithm, typer.Option(help="The algorithm of the keys.")]


@app.command()
def init(
    home: Home,
    name: Annotated[
        str, typer.Option(metavar="NAME", help="The authority's name.")
    ] = pki.DEFAULT_AUTHORITY_NAME,
    days: Days = pki.AUTHORITY_DAYS,
    algorithm: Algorithm = KeyAlgorithm.P256,
    root: Root = None,
    *,
    verbose: Verbose = False,
) -> None:
    """Make the authority of a link, in HOME/ca: a root, and an issuing authority that it vouches for.

    Where the root is there already and the issuing authority is not, the root vouches for a new one.
    """
    del verbose
    folder = home / AUTHORITY_FOLDER
    made = create_authorities(folder, name, pki.Validity.days(days), algorithm, root)
    _tell_made(made.root, root or folder / ROOT_FOLDER)
    _tell_made(made.issuing, folder)
    if (folder / pki.ISSUED_FOLDER).exists():  # there are nodes, and they need the list of the new authority
        _hand_out_lists(home)
    _warn_of(algorithm)


@app.command()
def issue(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The node's name: lower-case letters, digits, hyphens.")
    ],
    home: Home,
    host: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A further DNS name or address; repeatable.")
    ] = None,
    days: Days = pki.NODE_DAYS,
    algorithm: Algorithm = KeyAlgorithm.P256,
    *,
    verbose: Verbose = False,
) -> None:
    """Issue key, certificate chain and revocation lists of a node, in HOME/NAME."""
    del verbose
    folder, validity = home / name, pki.Validity.days(days)
    made = pki.issue(home / AUTHORITY_FOLDER, name, folder, host or [], validity, algorithm)
    _tell_made(made, folder)
    _warn_of(algorithm)


@app.command()
def revoke(
    home: Home,
    name_or_serial: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME|SERIAL", help="Whose certificates, or the serial number of one (`ca show`)."
        ),
    ] = None,
    *,
    intermediate: Annotated[
        bool, typer.Option("--intermediate", help="Revoke the issuing authority, and all it has issued.")
    ] = False,
    root: Root = None,
    days: ListDays = LIST_DAYS,
    verbose: Verbose = False,
) -> None:
    """Revoke a node's certificates, or the issuing authority; the nodes need the new HOME/ca/revocations.pem."""
    del verbose
    authority = Hierarchy.at(home / AUTHORITY_FOLDER, root)
    match name_or_serial, intermediate:
        case str(), False:
            revoked = authority.revoke(name_or_serial, days)
        case None, True:
            revoked = (authority.revoke_issuing(),)
        case _:
            raise ConfigurationError(
                "name what is to be revoked: a node, a serial number, or the issuing authority with --intermediate"
            )
    for certificate in revoked:
        typer.echo(f"revoked {certificate.subject.rfc4514_string()}, serial {serial(certificate)}")
    _hand_out_lists(home)


@app.command()
def revocations(
    home: Home, root: Root = None, days: ListDays = LIST_DAYS, *, verbose: Verbose = False
) -> None:
    """Issue the revocation lists anew: a node refuses to start, and its peer, once a list is out of date."""
    del verbose
    for each in Hierarchy.at(home / AUTHORITY_FOLDER, root).renew_lists(days):
        ends = each.next_update_utc
        until = f"good until {ends:%Y-%m-%d}" if ends else "without end"
        typer.echo(f"list of {common_name(each.issuer)}, {len(each)} revoked, {until}")
    _hand_out_lists(home)


@app.command()
def show(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="FILE...", help="Certificates in PEM form.")
    ] = None,
    home: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Show every certificate of this link's home.")
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON list instead of tables.")] = False,
    verbose: Verbose = False,
) -> None:
    """Show certificates: subject, issuer, names, validity, key, serial number, SHA-256 fingerprint."""
    del verbose
    paths = [*(files or []), *(_certificates_in(home) if home else [])]
    if not paths:
        raise ConfigurationError("name certificate files, or a link's home with --home")
    summaries = [(path, summarise(read_chain(path)[0])) for path in paths]
    if as_json:
        typer.echo(json.dumps([_as_json(path, summary) for path, summary in summaries], indent=2))
    else:
        for path, summary in summaries:
            console().print(_as_table(path, summary))


def _certificates_in(home: Path) -> list[Path]:
    found = sorted(
        [*_in_nodes(home, CERTIFICATE_FILE), *home.glob(f"{AUTHORITY_FOLDER}/*/{CERTIFICATE_FILE}")]
    )
    if not found:
        raise ConfigurationError(
            f"there are no certificates in {home}: begin with `qkdlink ca init --home {home}`"
        )
    return found


def _in_nodes(home: Path, file: str) -> list[Path]:
    """Return the files of this name of every node that was issued here or has its end of a link here."""
    return [*home.glob(f"*/{file}"), *home.glob(f"{SITES_FOLDER}/*/{LINKS_FOLDER}/*/{file}")]


def _hand_out_lists(home: Path) -> None:
    """Give the lists to every node of this authority whose home is here; nodes elsewhere need to be brought them."""
    authority = home / AUTHORITY_FOLDER
    root, lists = (authority / AUTHORITY_FILE).read_bytes(), authority / REVOCATIONS_FILE
    believers = [path.parent for path in _in_nodes(home, AUTHORITY_FILE) if path.read_bytes() == root]
    for path in sorted(folder / REVOCATIONS_FILE for folder in believers):
        if path != lists:
            write_over(NewFile(path, lists.read_bytes(), PUBLIC_MODE))
            typer.echo(f"{path} is up to date")
    typer.echo(f"carry {lists} to nodes whose home is elsewhere")


def _warn_of(algorithm: KeyAlgorithm) -> None:
    if not tls_has(algorithm):
        typer.echo(f"no node can use this here: it {tls_has_not(algorithm)}", err=True)


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
    made = table("", "", title=str(path))
    made.show_header = False
    made.add_row("subject", summary.subject + (" (authority)" if summary.is_authority else ""))
    made.add_row("issuer", summary.issuer)
    made.add_row("names", ", ".join(summary.names) or "none")
    made.add_row("valid", f"{summary.begins:%Y-%m-%d %H:%M} to {summary.ends:%Y-%m-%d %H:%M} UTC")
    made.add_row("key", summary.algorithm)
    made.add_row("serial", summary.serial)
    made.add_row("SHA-256", summary.fingerprint, style="bold")
    return made
