"""Tables of the documents: phases, messages, events, parameters, settings, presets, limits and packages."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import get_args

from pydantic import BaseModel

from maintenance.documents.words import field_bounds, field_notes, first_line, table, type_name
from qkdlink.alice.in_flight import LEAST_BLOCKS, MOST_BLOCKS
from qkdlink.alice.settings import AliceSettings
from qkdlink.bob.settings import BobSettings
from qkdlink.common.authentication.scheme import SchemeName
from qkdlink.common.journal.event import Event
from qkdlink.common.journal.events import AnyEvent
from qkdlink.common.keys.allotment import upkeep_bits
from qkdlink.common.node.settings import (
    ApparatusSettings,
    AuthenticationSettings,
    BrokerSettings,
    ClassicalSettings,
    CredentialSettings,
    LaboratorySettings,
    NodeSettings,
    TrustSettings,
    WaySettings,
)
from qkdlink.common.optics.detector import DetectorSettings
from qkdlink.common.optics.fibre import Fibre
from qkdlink.common.optics.presets import PRESETS
from qkdlink.common.protocol.conversation import MOST_CHECKPOINTS
from qkdlink.common.protocol.parameters import LinkParameters
from qkdlink.common.protocol.phases import BLOCK_TABLE, LINK_TABLE, BlockPhase, LinkPhase, Table
from qkdlink.common.protocol.variants.catalogue import VARIANTS
from qkdlink.common.transport.connections import (
    HANDSHAKE_TIMEOUT_S,
    MAX_HANDSHAKES,
    MAX_SILENT,
    SHUTDOWN_TIMEOUT_S,
)
from qkdlink.common.trust.anchor import AnchorName
from qkdlink.common.wire.framing import LONGEST_HEADER
from qkdlink.common.wire.messages import MESSAGE_TYPES, Abort, Message
from qkdlink.deployment.homes.security import DEFAULT_SECURITY
from qkdlink.deployment.planning.planner import smallest_block_with_key, task_for

_ROOT = Path(__file__).resolve().parents[2]

_MEANINGS = {
    "protocol": "Which of the three protocols.",
    "fibre.length_km": "Length in km, 0 or more.",
    "fibre.attenuation_db_per_km": "Attenuation in dB/km, 0 or more.",
    "link": "The link's name: it stands in topics, sessions and tags.",
    "node": "This node's name, as in its certificate.",
    "peer": "The name that the other end's certificate has to carry.",
    "journal": "Where the node writes its events, one JSON line each.",
    "journal_to_stdout": "Whether each of these lines goes to standard output, too, as in containers.",
    "broker.address": "Where the MQTT broker listens.",
    "broker.private_key": "The private key of that certificate, mode 0600.",
    "broker.password_file": "A file with the password alone in it, mode 0600.",
    "trust.anchor": "One of " + ", ".join(f"`{name}`" for name in AnchorName) + ".",
    "authentication.scheme": "One of " + ", ".join(f"`{name}`" for name in SchemeName) + ".",
    "credentials.certificate": "This node's certificate.",
    "credentials.private_key": "Its private key, mode 0600.",
    "credentials.authority": "The one authority that is believed.",
}
"""Fields that explain themselves in the code, in words for a document."""


def block_phases() -> str:
    """Every row of a block's table, the aborts in a column of their own."""
    return table(("phase", "who speaks", "says", "then", "may abort"), _phase_rows(BLOCK_TABLE, BlockPhase))


def link_phases() -> str:
    """Every row of a connection's table."""
    return table(
        ("phase", "who speaks", "says", "then"), (row[:4] for row in _phase_rows(LINK_TABLE, LinkPhase))
    )


def _phase_rows(rows: Table, phases: type[BlockPhase] | type[LinkPhase]) -> Iterator[tuple[str, ...]]:
    for phase in phases:
        moves = [(move, following) for (at, move), following in rows.items() if at == phase]
        aborting = [following for move, following in moves if move.message is Abort]
        course = [(move, following) for move, following in moves if move.message is not Abort] or moves
        abort = f"to `{aborting[0]}`" if aborting and len(course) < len(moves) else ""
        for move, following in course:
            yield f"`{phase}`", move.speaker.label, f"`{type_name(move.message)}`", f"`{following}`", abort


def messages() -> str:
    """Every message: who says it and what it means, its fields with their bounds, its attachments in order."""
    return table(("message", "meaning", "fields", "attachments"), map(_message_row, MESSAGE_TYPES))


def _message_row(kind: type[Message]) -> tuple[str, ...]:
    bounds, notes = field_bounds(kind), field_notes(kind)
    fields = [
        f"`{name}`: {bounds[name]}{_note(notes, name)}"
        for name in kind.model_fields
        if name != "type" and name not in kind.attachments
    ]
    attached = [f"`{name}`{_note(notes, name)}" for name in kind.attachments]
    return f"`{type_name(kind)}`", first_line(kind), "<br>".join(fields), "<br>".join(attached)


def _note(notes: Mapping[str, str], name: str) -> str:
    return f" ({notes[name].rstrip('.')})" if name in notes else ""


def journal_events() -> str:
    """Every event that a node may tell, with its fields."""
    kinds: tuple[type[Event], ...] = get_args(get_args(AnyEvent.__value__)[0])
    return table(("event", "meaning", "fields"), map(_event_row, kinds))


def _event_row(kind: type[Event]) -> tuple[str, ...]:
    notes = field_notes(kind)
    fields = [f"`{name}`{_note(notes, name)}" for name in kind.model_fields if name != "type"]
    return f"`{kind.model_fields['type'].default}`", first_line(kind), ", ".join(fields)


def link_parameters() -> str:
    """Everything both sides have to agree on."""
    rows = [*_fields("", LinkParameters, leave_out=("fibre", "detector"))]
    rows += _fields("fibre.", Fibre)
    rows += _fields("detector.", DetectorSettings)
    return table(("parameter", "meaning"), rows)


def _fields(prefix: str, kind: type, leave_out: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    notes = field_notes(kind)
    for name in kind.__annotations__:
        if name not in leave_out:
            yield f"`{prefix}{name}`", notes.get(name) or _MEANINGS[prefix + name]


def node_settings() -> str:
    """Every key of a node's configuration file except those of `[parameters]`."""
    sections: tuple[tuple[str, type[BaseModel]], ...] = (
        ("classical.", ClassicalSettings),
        ("broker.", BrokerSettings),
        ("trust.", TrustSettings),
        ("authentication.", AuthenticationSettings),
        ("credentials.", CredentialSettings),
        ("apparatus.", ApparatusSettings),
        ("apparatus.ways.<way>.", WaySettings),
        ("laboratory.", LaboratorySettings),
    )
    apart = ("parameters", *(prefix.rstrip(".") for prefix, _ in sections))
    rows = list(_setting_rows("", NodeSettings, apart))
    for prefix, section in sections:
        rows += _setting_rows(prefix, section, ())
    for node, kind in (("Alice only. ", AliceSettings), ("Bob only. ", BobSettings)):
        inherited = tuple(NodeSettings.model_fields)
        rows += [(name, default, node + note) for name, default, note in _setting_rows("", kind, inherited)]
    return table(("key", "unless given", "meaning"), rows)


def _setting_rows(
    prefix: str, kind: type[BaseModel], leave_out: tuple[str, ...]
) -> Iterator[tuple[str, str, str]]:
    notes = field_notes(kind)
    for name, field in kind.model_fields.items():
        if name not in leave_out:
            default = "required" if field.is_required() else _default(field.default)
            yield f"`{prefix}{name}`", default, notes.get(name) or _MEANINGS[prefix + name]


def _default(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return f"`{value}`".lower()
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def presets() -> str:
    """Every preset, with what a user chooses it for."""
    rows = (
        (
            f"`{preset.name}`",
            f"{preset.default_distance_km:g} km",
            f"{preset.detector.efficiency:g}",
            f"{preset.detector.dark_count_probability:g}",
            f"{preset.misalignment:.1%}",
            f"{preset.detector.dead_time_ns:g} ns",
            f"{preset.detector.afterpulse_probability:g}",
            preset.protocol,
            preset.citation,
        )
        for preset in PRESETS.values()
    )
    headings = (
        "preset",
        "distance",
        "efficiency",
        "dark counts",
        "misaligned",
        "dead time",
        "afterpulses",
        "protocol",
    )
    return table((*headings, "after"), rows)


def smallest_blocks() -> str:
    """How many pulses a block needs that pays for its link PSK and its tags, by preset."""
    bits = upkeep_bits(tags=DEFAULT_SECURITY.scheme.cuts_tags)
    rows = []
    for preset in PRESETS.values():
        pulses = smallest_block_with_key(replace(task_for(preset, 1), least_secret_bits=bits))
        rows.append((f"`{preset.name}`", f"{pulses or 0:.1e}"))
    return table(("preset", f"pulses for {bits} secret bits"), rows)


def protocols() -> str:
    """The protocols of the catalogue."""
    return table(
        ("`--protocol`", "what it is"), ((f"`{each.name}`", each.summary) for each in VARIANTS.values())
    )


def limits() -> str:
    """Timeouts, windows and sizes, with where they are set."""
    alice, bob = AliceSettings.model_fields, BobSettings.model_fields
    rows = (
        ("TLS handshake and acceptance", f"{HANDSHAKE_TIMEOUT_S:g} s", "fixed"),
        ("orderly end of a TLS connection", f"{SHUTDOWN_TIMEOUT_S:g} s", "fixed"),
        (
            "unfinished handshakes at a time",
            str(MAX_HANDSHAKES),
            "fixed; beyond it one gives way, at random, of the address that has the most",
        ),
        ("connections on which nothing is said", str(MAX_SILENT), "fixed; likewise"),
        (
            "silence of the peer in a conversation",
            f"{ClassicalSettings.model_fields['patience_s'].default:g} s",
            "`classical.patience_s`; light that arrives is a sign of life",
        ),
        (
            "a frame's receipt (Alice)",
            f"{alice['light_patience_s'].default:g} s",
            "`light_patience_s`, since the last progress",
        ),
        (
            "light still under way at `light-ended` (Bob)",
            f"{bob['light_patience_s'].default:g} s",
            "`light_patience_s`",
        ),
        ("frames of light without a receipt", str(alice["frames_in_flight"].default), "`frames_in_flight`"),
        ("pulses per frame", str(alice["frame_pulses"].default), "`frame_pulses`"),
        ("blocks under way (Alice)", f"{LEAST_BLOCKS} to {MOST_BLOCKS}", "`blocks_in_flight`"),
        (
            "blocks that Bob lets be open",
            str(bob["most_blocks_in_flight"].default),
            "`most_blocks_in_flight`",
        ),
        ("JSON text of a message", f"{LONGEST_HEADER} bytes", "fixed"),
        ("attachments of a message", "the larger of 1 MiB and 2 bytes per pulse of a block", "fixed"),
        ("checkpoints in a block", str(MOST_CHECKPOINTS), "fixed; an honest block has six"),
    )
    return table(("what", "limit", "where it is set"), rows)


def packages() -> str:
    """Every package from the top floor down, with the first line of its docstring."""
    rows = ((f"`{name}`", _first_line_of_package(name)) for name in _floors() if _folder(name).is_dir())
    return table(("package", "what it is"), rows)


def _floors() -> Iterator[str]:
    """Name the packages as the import contracts order them, the highest first."""
    contracts = tomllib.loads((_ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    for contract in contracts:
        prefix = "".join(f"{container}." for container in contract.get("containers", ()))
        for layer in contract.get("layers", ()):
            yield from (f"{prefix}{name.strip()}" for name in layer.split("|"))


def _folder(package: str) -> Path:
    return _ROOT.joinpath(*package.split("."))


def _first_line_of_package(name: str) -> str:
    return (_folder(name) / "__init__.py").read_text("utf-8").splitlines()[0].strip('"')
