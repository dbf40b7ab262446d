"""How code reads in a document: the names of messages, docstrings as cells, bounds of fields in words."""

import ast
import inspect
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, cast

from pydantic import BaseModel

from qkdlink.common.wire.messages import Message


def type_name(kind: type[Message]) -> str:
    """Return what a message type is called on the line."""
    return cast("str", kind.model_fields["type"].default)


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [_row(headings), _row(["---"] * len(headings)), *map(_row, rows)]
    return "\n".join(lines)


def first_line(documented: object) -> str:
    """Return the first line of a docstring."""
    return (inspect.getdoc(documented) or "").splitlines()[0]


def field_notes(kind: type) -> dict[str, str]:
    """Return the docstrings that stand below the fields of a class, by field, each as one line."""
    body = cast("ast.ClassDef", ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]).body
    notes = {}
    for field, note in pairwise(body):
        if isinstance(field, ast.Assign | ast.AnnAssign) and isinstance(note, ast.Expr):
            target = field.target if isinstance(field, ast.AnnAssign) else field.targets[0]
            if isinstance(target, ast.Name) and isinstance(note.value, ast.Constant):
                notes[target.id] = " ".join(str(note.value.value).split())
    return notes


def field_bounds(model: type[BaseModel]) -> dict[str, str]:
    """Return type and bounds of each field in words, as the model's JSON schema has them."""
    schema = model.model_json_schema()
    definitions = schema.get("$defs", {})
    return {name: _bounds(field, definitions) for name, field in schema["properties"].items()}


def _bounds(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    if "$ref" in field:
        return _bounds(definitions[field["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in field:
        return " or ".join(_bounds(choice, definitions) for choice in field["anyOf"])
    match field.get("type"):
        case "integer" | "number" as kind:
            return f"{kind} {_range(field)}".rstrip()
        case "array":
            return f"list of {_length(field, 'Items')}values, {_bounds(field['items'], definitions)}"
        case "string" if "pattern" in field:
            return f"text like `{field['pattern']}`"
        case "string":
            return f"text of {_length(field, 'Length')}characters" if "maxLength" in field else "text"
        case "object" if "additionalProperties" in field:
            return f"object of {_bounds(field['additionalProperties'], definitions)}"
        case kind:
            return str(kind)


def _range(field: Mapping[str, Any]) -> str:
    low, high = field.get("minimum"), field.get("maximum")
    above, below = field.get("exclusiveMinimum"), field.get("exclusiveMaximum")
    parts = [f"{low:g} to {_number(high)}" if low is not None and high is not None else ""]
    parts += [f"from {low:g}" if low is not None and high is None else ""]
    parts += [f"above {above:g}" if above is not None else ""]
    parts += [f"at most {_number(high)}" if low is None and high is not None else ""]
    parts += [f"below {below:g}" if below is not None else ""]
    return ", ".join(part for part in parts if part)


def _number(value: float) -> str:
    exponent = int(value).bit_length() - 1
    return f"2^{exponent}" if value == 2**exponent and exponent > 9 else f"{value:g}"


def _length(field: Mapping[str, Any], what: str) -> str:
    low, high = field.get(f"min{what}"), field.get(f"max{what}")
    if high is None:
        return ""
    return f"{low} to {high} " if low is not None else f"at most {high} "


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
