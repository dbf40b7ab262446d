"""The options that a link's home was made with: later starts run the same link, and refuse options that differ.

They stand in `options.json` of the home, which the first start writes.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from qkdlink.common.errors import ConfigurationError
from qkdlink.common.text_files import read_text
from qkdlink.common.trust.private_files import NewFile, write_over

OPTIONS_FILE = "options.json"


@dataclass(frozen=True, slots=True)
class LinkOptions:
    """What both ends of a link are set up with, as its options say it; None where an option was not given."""

    preset: str | None = None
    distance: float | None = None
    protocol: str | None = None
    block_pulses: int | None = None
    rekey_blocks: int | None = None
    rekey_seconds: float | None = None
    anchor: str | None = None
    authentication: str | None = None
    insecure_no_authentication: bool | None = None
    without: list[str] | None = None
    random_efficiency: float | None = None


_RECORD = TypeAdapter(LinkOptions)
_USUAL = LinkOptions(preset="metropolitan", anchor="pki", authentication="wegman-carter")


def settled(folder: Path | None, asked: LinkOptions) -> LinkOptions:
    """Return the options of the link: the home's own where it has any, else those asked for, else the usual ones.

    ConfigurationError, naming both values, if an option was given that differs from the home's. Nothing is written.
    """
    recorded = None if folder is None else _read(folder / OPTIONS_FILE)
    if recorded is None:
        return LinkOptions(**(asdict(_USUAL) | _given(asked)))
    for name, value in _given(asked).items():
        if value != (there := getattr(recorded, name)):
            raise ConfigurationError(
                f"{folder} was made {difference(f'--{name.replace("_", "-")}', there, value)}:"
                " leave the option out, or name another home."
            )
    return recorded


def record(folder: Path, options: LinkOptions) -> None:
    """Write down what a home was made with; what it says already stays."""
    file = folder / OPTIONS_FILE
    if not file.exists():
        write_over(NewFile(file, (json.dumps(asdict(options)) + "\n").encode()))


def _given(options: LinkOptions) -> dict[str, Any]:
    return {name: value for name, value in asdict(options).items() if value is not None}


def _read(file: Path) -> LinkOptions | None:
    try:
        recorded = _RECORD.validate_json(read_text(file))
        if None in (recorded.preset, recorded.anchor, recorded.authentication):
            raise ValueError("no start writes a record without these")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"{file} does not say what this home was made with: bring it back, or name another home."
        ) from error
    return recorded


def difference(name: str, made: object, asked: object) -> str:
    """Say in words with which value of an option something was made, and which one is asked for."""
    if made in _NOT_GIVEN:
        return f"without {name}, not with {name} {_value(asked)}".rstrip()
    wanted = f"without {name}" if asked in _NOT_GIVEN else _value(asked)
    return f"with {name} {_value(made)}".rstrip() + f", not {wanted}"


_NOT_GIVEN: tuple[object, ...] = (None, False, [])


def _value(value: object) -> str:
    match value:
        case True:
            return ""
        case list():
            return " ".join(map(str, value))
        case float():
            return f"{value:.15g}"
        case _:
            return str(value)
