"""Options that several commands have, each with its help."""

from pathlib import Path
from typing import Annotated

import typer

from qkdlink.views.frequency import frequency

Preset = Annotated[str, typer.Option(metavar="PRESET", help="Published device, or `metropolitan`.")]
Distance = Annotated[float | None, typer.Option(metavar="KM", help="Length of the fibre.", min=0)]
Protocol = Annotated[
    str | None,
    typer.Option(
        metavar="PROTOCOL",
        help="Name of a protocol, such as one-decoy; else the preset's own. An unknown one lists them.",
    ),
]
BlockPulses = Annotated[
    int | None, typer.Option(metavar="PULSES", min=1, max=2**32, help="Pulses per block.")
]
RekeyBlocks = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="A new epoch after so many blocks.")
]
RekeySeconds = Annotated[float | None, typer.Option(min=0.001, metavar="T", help="Or after so much time.")]
Anchor = Annotated[
    str, typer.Option(metavar="A", help="What is trusted at the bootstrap: pki, psk, web-of-trust or none.")
]
AuthenticationScheme = Annotated[
    str,
    typer.Option(
        metavar="S",
        help="How data is authenticated afterwards: wegman-carter, hmac-sha256, gmac, ed25519, ml-dsa-65 or none.",
    ),
]
Insecure = Annotated[
    bool,
    typer.Option(
        "--insecure-no-authentication", help="Has to be said for the anchor none: it trusts anybody."
    ),
]
LinkPreset = Annotated[
    str | None,
    typer.Option(metavar="PRESET", help="Published device; else the home's, or `metropolitan`."),
]
LinkAnchor = Annotated[
    str | None,
    typer.Option(
        metavar="A",
        help="What is trusted at the bootstrap: pki, psk, web-of-trust or none; else the home's, or pki.",
    ),
]
LinkAuthentication = Annotated[
    str | None,
    typer.Option(
        metavar="S",
        help="How data is authenticated afterwards: wegman-carter, hmac-sha256, gmac, ed25519, ml-dsa-65 or none;"
        " else the home's, or wegman-carter.",
    ),
]
Clock = Annotated[
    float | None,
    typer.Option(
        metavar="RATE",
        parser=frequency,
        help="Emit in real time, as `1GHz`; else as fast as possible. How far it falls behind is said.",
    ),
]
Home = Annotated[
    Path | None, typer.Option(metavar="FOLDER", help="Keep the link's home here; else it is temporary.")
]
AsJson = Annotated[bool, typer.Option("--json", help="The last line of output is one JSON object.")]


Attacks = Annotated[
    list[str] | None,
    typer.Option(
        "--attack",
        metavar="NAME:key=value,...",
        help="Put Eve between them, with this attack on the quantum channel (or FILE.py:Class:...)"
        " or on the classical channel; repeatable.",
    ),
]
Stolen = Annotated[
    list[str] | None,
    typer.Option(
        metavar="WHAT,...",
        help="Give Eve what a thief has taken from both nodes: certificate, authority, link-psk, tag-keys or nothing."
        " She can then take both nodes' places: in a demo from the start, else by key `i` in her console.",
    ),
]
Without = Annotated[
    list[str] | None,
    typer.Option(metavar="MONITOR", help="Turn off a countermeasure, or all; repeatable."),
]
Verbose = Annotated[bool, typer.Option("--verbose", help="Show every detail of an error.")]
"""Every command has it; `qkdlink.commands.ending` reads it from the command line."""
