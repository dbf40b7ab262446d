"""The `qkdlink` command: what a person types, and the one line they read when something is wrong."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from qkdlink.commands.ending import run
from qkdlink.commands.groups import add_groups
from qkdlink.commands.options import (
    Anchor,
    AsJson,
    Attacks,
    AuthenticationScheme,
    BlockPulses,
    Clock,
    Distance,
    Home,
    Insecure,
    LinkAnchor,
    LinkAuthentication,
    LinkPreset,
    Preset,
    Protocol,
    RekeyBlocks,
    RekeySeconds,
    Stolen,
    Verbose,
    Without,
)
from qkdlink.common.errors import ConfigurationError
from qkdlink.common.startup import importing
from qkdlink.common.text_files import read_text, text_of

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # its boxes cut the names of options where a pipe or a terminal has 80 columns
    help="A networked two-node QKD emulator. It emulates: never protect data with its keys.",
)
add_groups(app)


def _print_version(asked: bool) -> None:  # noqa: FBT001 - typer calls it with the value of the option
    if asked:
        from importlib.metadata import version

        typer.echo(f"qkdlink {version('qkdlink')}")
        raise typer.Exit


@app.callback()
def _before_any_command(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del version  # `_print_version` has answered


@app.command()
def demo(
    *,
    blocks: Annotated[int, typer.Option(metavar="BLOCKS", min=1, max=100_000, help="Blocks to attempt.")] = 3,
    preset: LinkPreset = None,
    distance: Distance = None,
    protocol: Protocol = None,
    block_pulses: BlockPulses = None,
    rekey_blocks: RekeyBlocks = None,
    rekey_seconds: RekeySeconds = None,
    anchor: LinkAnchor = None,
    authentication: LinkAuthentication = None,
    insecure_no_authentication: Insecure = False,
    seed: Annotated[
        int | None, typer.Option(metavar="NUMBER", help="Make the run reproducible (in an empty home).")
    ] = None,
    attack: Attacks = None,
    stolen: Stolen = None,
    without: Without = None,
    random_efficiency: Annotated[
        float | None,
        typer.Option(metavar="P", help="Bob turns his detectors off in this share of the gates."),
    ] = None,
    clock: Clock = None,
    home: Home = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Watch a key being born: a broker, Alice and Bob as separate processes on this machine."""
    del verbose  # read from the command line by `main`, which prints the errors
    with importing():
        from qkdlink.commands import demo as command
        from qkdlink.deployment.homes.link_options import LinkOptions

    options = LinkOptions(
        preset, distance, protocol, block_pulses, rekey_blocks, rekey_seconds, anchor, authentication,
        insecure_no_authentication or None, without, random_efficiency,
    )  # fmt: skip
    wish = command.Wish(options, home, blocks, seed, attack or (), stolen or (), clock)
    raise typer.Exit(command.demo(command.prepared(wish), as_json=as_json))


@app.command()
def up(
    *,
    preset: LinkPreset = None,
    distance: Distance = None,
    protocol: Protocol = None,
    block_pulses: BlockPulses = None,
    rekey_blocks: RekeyBlocks = None,
    rekey_seconds: RekeySeconds = None,
    anchor: LinkAnchor = None,
    authentication: LinkAuthentication = None,
    insecure_no_authentication: Insecure = False,
    attack: Attacks = None,
    stolen: Stolen = None,
    without: Without = None,
    clock: Clock = None,
    home: Home = None,
    verbose: Verbose = False,
) -> None:
    """Run a whole link until Ctrl-C."""
    del verbose
    with importing():
        from qkdlink.commands import demo as command
        from qkdlink.deployment.homes.link_options import LinkOptions

    options = LinkOptions(
        preset, distance, protocol, block_pulses, rekey_blocks, rekey_seconds, anchor, authentication,
        insecure_no_authentication or None, without,
    )  # fmt: skip
    wish = command.Wish(options, home, attacks=attack or (), stolen=stolen or (), clock_hz=clock)
    command.up(command.prepared(wish))


@app.command()
def init(
    *,
    home: Annotated[Path, typer.Option(metavar="FOLDER", help="Make the installation here.")],
    broker: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where the nodes will find the broker (TLS).")
    ],
    bob: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where Alice will find Bob.")],
    bob_bootstrap: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT", help="Where she finds him before there is a key; else the next port."
        ),
    ] = None,
    broker_host: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A further name of the broker; repeatable.")
    ] = None,
    bob_host: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A further name of Bob's machine; repeatable.")
    ] = None,
    eve: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Give Eve a place on the link: where Alice would find her."),
    ] = None,
    preset: Preset = "metropolitan",
    distance: Distance = None,
    protocol: Protocol = None,
    block_pulses: BlockPulses = None,
    rekey_blocks: RekeyBlocks = None,
    rekey_seconds: RekeySeconds = None,
    anchor: Anchor = "pki",
    authentication: AuthenticationScheme = "wegman-carter",
    insecure_no_authentication: Insecure = False,
    verbose: Verbose = False,
) -> None:
    """Make all that a broker, Alice and Bob need on machines of their own, each in a folder to carry there."""
    del verbose
    from qkdlink.commands import init as command
    from qkdlink.deployment.homes.link_options import LinkOptions

    places = command.Places(broker, bob, bob_bootstrap, tuple(broker_host or ()), tuple(bob_host or ()), eve)
    options = LinkOptions(
        preset, distance, protocol, block_pulses, rekey_blocks, rekey_seconds, anchor, authentication,
        insecure_no_authentication or None,
    )  # fmt: skip
    command.init(home, places, options)


@app.command()
def eve(
    *,
    home: Annotated[Path | None, typer.Option(metavar="FOLDER", help="A link's home with Eve in it.")] = None,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="Eve's TOML file.")] = None,
    stolen: Stolen = None,
    verbose: Verbose = False,
) -> None:
    """Play Eve: switch her attacks while the link runs, and see what everybody sees of it."""
    del verbose
    from qkdlink.commands.eve import play

    play(home, config, stolen or ())


@app.command()
def keyrate(
    *,
    file: Annotated[
        Path,
        typer.Option("--input", metavar="FILE", help="A block, or a `block-record`, in JSON; - for stdin."),
    ],
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Compute the finite-key length of a block from its counts."""
    del verbose
    from qkdlink.commands.keyrate import keyrate as compute

    result = compute(_text_of(file))
    if as_json:
        typer.echo(result.model_dump_json())
    else:
        typer.echo(f"secret bits             {result.secret_bits}")
        typer.echo(f"single-photon events    {result.single_photon_events:.1f} (lower bound, key basis)")
        typer.echo(f"phase error rate        {result.phase_error_rate:.4%} (upper bound)")
        beside = "" if result.sampling == "exact" else f" (exact sampling: {result.exact_secret_bits} bits)"
        typer.echo(f"sampling                {result.sampling}{beside}")
        if result.warning is not None:
            typer.echo(f"qkdlink: Warning: {result.warning}.", err=True)


@app.command()
def compare_authentication(*, as_json: AsJson = False, verbose: Verbose = False) -> None:
    """Run the same link once per scheme and once per anchor, and show what each costs and what it survives."""
    del verbose
    from qkdlink.commands import compare as command

    raise typer.Exit(command.compare_authentication(as_json=as_json))


@app.command()
def bench(
    *,
    quick: Annotated[
        bool, typer.Option("--quick", help="Some seconds: whether it works, not how fast.")
    ] = False,
    long: Annotated[
        bool, typer.Option("--long", help="Blocks of 10^8 pulses, a minute or more for each link.")
    ] = False,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Measure each stage beside a baseline, and a whole link: one table, in about five minutes."""
    del verbose
    from qkdlink.commands import bench as command

    command.bench(quick=quick, long=long, as_json=as_json)


_OF_NODES = "A link's home, a site's folder, or the folder of one node."
_OF_ONE_NODE = "The folder of one node, or a site's or a link's home that holds no other."


@app.command()
def keys(
    *,
    home: Annotated[Path, typer.Option(metavar="FOLDER", help=_OF_NODES)],
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Show a node's key store and ledger, never key material."""
    del verbose
    from qkdlink.commands import keys as command

    command.show(home, as_json=as_json)


@app.command()
def bootstrap(
    *,
    home: Annotated[Path, typer.Option(metavar="FOLDER", help=_OF_ONE_NODE)],
    again: Annotated[
        bool, typer.Option("--again", help="Open the latch again: at both ends, and with both nodes stopped.")
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Say whether the bootstrap is closed; with --again, let the trust anchor authenticate the line once more."""
    del verbose
    from qkdlink.commands import keys as command

    command.bootstrap(home, again=again)


@app.command()
def doctor(
    *,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="The node's TOML file.")] = None,
    home: Annotated[Path | None, typer.Option(metavar="FOLDER", help=_OF_ONE_NODE)] = None,
    role: Annotated[
        str | None, typer.Option(metavar="ROLE", help="alice or bob; else told from its site, or its name.")
    ] = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Say what stands between a node and its link; exit status 0 if nothing does, 1 if something does."""
    del verbose
    from qkdlink.commands.doctor import doctor as examine

    raise typer.Exit(examine(config, home, role, as_json=as_json))


def _text_of(file: Path) -> str:
    try:
        return text_of(sys.stdin.buffer.read(), "The input") if str(file) == "-" else read_text(file)
    except OSError as error:
        raise ConfigurationError(f"The input {file} cannot be read: {error.strerror}.") from error


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; exit with the status that the README lists, and one line on stderr if it is an error."""
    run(app, sys.argv[1:] if arguments is None else arguments)
