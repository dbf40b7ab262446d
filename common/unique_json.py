"""JSON in which no member stands twice: of two members, one reader takes the first and another the last."""

import json

from qkdlink.common.printable import printable

_LONGEST_NAME = 40


def members_once(members: list[tuple[str, object]]) -> dict[str, object]:
    """Build an object from its members, as an `object_pairs_hook` of `json.loads`; ValueError if one stands twice."""
    found: dict[str, object] = {}
    for name, value in members:
        if name in found:
            raise ValueError(f'the member "{printable(name, _LONGEST_NAME)}" stands twice')
        found[name] = value
    return found


def refuse_repeated_members(text: bytes | str) -> None:
    """Raise ValueError, in a few printable words, if `text` is no JSON in UTF-8 or if a member stands twice."""
    try:
        json.loads(text if isinstance(text, str) else text.decode(), object_pairs_hook=members_once)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
