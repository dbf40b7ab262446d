"""How a person writes a frequency: `1GHz`, `2.5 MHz`, `1e9`."""

import re

from qkdlink.common.errors import ConfigurationError

_FACTORS = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}
_FORM = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?(?:e[0-9]+)?)\s*(?:([kMG]?)Hz)?\s*")


def frequency(text: str) -> float:
    """Read a frequency in Hz; ConfigurationError unless it is a positive number, with or without a unit."""
    found = _FORM.fullmatch(text)
    hertz = 0.0 if found is None else float(found[1]) * _FACTORS[found[2] or ""]
    if not 0 < hertz <= 1e12:
        raise ConfigurationError(f"'{text}' is no clock: write it as 1GHz, 250MHz or 1e9, up to 1000GHz.")
    return hertz
