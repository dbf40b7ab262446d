"""Why a model refuses a value, in words for a person: what is allowed, and never the model's own terms."""

from collections.abc import Mapping
from typing import Any

from pydantic_core import ErrorDetails, ValidationError

from qkdlink.common.units import unit_beside

_ALLOWED = {
    "greater_than": "it must be more than {gt:g}",
    "greater_than_equal": "it must be at least {ge:g}",
    "less_than": "it must be less than {lt:g}",
    "less_than_equal": "it must be at most {le:g}",
    "multiple_of": "it must be a multiple of {multiple_of:g}",
    "finite_number": "it must be a finite number",
    "literal_error": "it must be {expected}",
    "enum": "it must be {expected}",
    "string_too_short": "it must have at least {min_length} characters",
    "string_too_long": "it must have at most {max_length} characters",
    "too_short": "it must have at least {min_length} entries",
    "too_long": "it must have at most {max_length} entries",
    "string_pattern_mismatch": "it must be text of the form {pattern}",
    "int_from_float": "it must be a whole number",
}
"""By the kind of fault, with what pydantic tells of it."""

_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "decimal": "a number",
    "bool": "true or false",
    "string": "text in quotation marks",
    "path": "the name of a file, in quotation marks",
    "list": "a list, in square brackets",
    "tuple": "a list, in square brackets",
    "set": "a list, in square brackets",
    "frozen": "a list, in square brackets",
    "dict": "a table of keys with values",
    "model": "a table of keys with values",
    "dataclass": "a table of keys with values",
}
"""By the first word of the kind of fault, what should be there."""


def first_fault(error: ValidationError) -> str:
    """Say the first fault of a model in words: which key, and what is wrong with it."""
    fault = error.errors(include_url=False, include_input=True)[0]
    key = ".".join(str(part) for part in fault["loc"])
    match fault["type"]:
        case "extra_forbidden":
            return f"'{key}', which is not a key here"
        case "missing":
            return f"nothing of '{key}', which is required"
        case _:
            subject = f"'{key}' = {fault['input']!r}" if key else "something inconsistent"
            return f"{subject}: {value_fault(fault, key)}"


def value_fault(fault: ErrorDetails, name: str) -> str:
    """Say why the value of `name` was refused: the unit beside a number, or else what is allowed there."""
    kind, context = fault["type"], fault.get("ctx", {})
    if kind.startswith(("float_", "int_")) and (explained := unit_beside(fault["input"], name)):
        return explained
    if kind in _ALLOWED:
        return _ALLOWED[kind].format_map(_Plain(context))
    if (wanted := _KINDS.get(kind.partition("_")[0])) is not None:
        return f"it must be {wanted}"
    return fault["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")


class _Plain(dict[str, Any]):
    """What pydantic tells of a fault; limits that are no numbers are shown as they are."""

    def __init__(self, told: Mapping[str, Any]) -> None:
        super().__init__({name: _Shown(value) for name, value in told.items()})


class _Shown:
    def __init__(self, value: object) -> None:
        self._value = value

    def __format__(self, form: str) -> str:
        plain = isinstance(self._value, int | float) and abs(self._value) < 10**6
        return format(self._value, form if plain else "")
