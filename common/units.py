"""In which unit a number is given, told by its name, and what to say where a unit was written beside the number."""

import re
import tomllib

_UNITS = {
    "distance": "km",
    "km": "km",
    "db_per_km": "dB/km",
    "db": "dB",
    "clock": "Hz",
    "hz": "Hz",
    "ns": "ns",
    "s": "seconds",
    "seconds": "seconds",
    "days": "days",
    "pulses": "pulses",
    "blocks": "blocks",
    "bits": "bits",
    "bytes": "bytes",
    "photons": "photons",
}
"""By a whole name, or by what it ends in."""

_SHARES = ("probability", "fraction", "qber", "efficiency", "misalignment", "share", "transmittance", "eps")
"""What the name of a share has in it."""

# An exponent is never given back (?+): 1e8 is a number, not 1 with the unit e8.
_NUMBER_AND_UNIT = re.compile(r"[-+]?(?:\d[\d_]*[.,]?\d*|\.\d+)(?:[eE][-+]?\d+)?+\s*([^\W\d_].*|[%°].*)")
_TOML_LINE = re.compile(r"\s*([\w.-]+)\s*=\s*([^#]+?)\s*(?:#.*)?")


def unit_of(name: str) -> str | None:
    """Return the unit of a quantity by its name (`fibre.length_km`, `block-pulses`); "" for a share, else None."""
    last = name.replace("-", "_").lower().rpartition(".")[2]
    for ending in sorted(_UNITS, key=len, reverse=True):
        if last == ending or last.endswith(f"_{ending}"):
            return _UNITS[ending]
    return "" if any(share in last for share in _SHARES) else None


def unit_beside(text: object, name: str) -> str | None:
    """Say that a number was written with a unit, such as `10km`, and which unit it has; None for anything else."""
    found = _NUMBER_AND_UNIT.fullmatch(text.strip()) if isinstance(text, str) else None
    if found is None:
        return None
    match unit_of(name):
        case None:
            takes = "a number"
        case "":
            takes = "a fraction (0.5 is 50 %)"
        case unit:
            takes = f"a number of {unit}"
    return f"it takes {takes}, and the number stands alone, without {found[1]!r}"


def unit_in_toml(text: str) -> str | None:
    """Find the first line `key = 10km` of what is no TOML for it, and say so; None if there is none."""
    for line in text.splitlines():
        found = _TOML_LINE.fullmatch(line)
        if found and not _is_toml(line) and (explained := unit_beside(found[2], found[1])):
            return f"{found[1]} = {found[2]}: {explained}"
    return None


def _is_toml(line: str) -> bool:
    try:
        tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        return False
    return True
