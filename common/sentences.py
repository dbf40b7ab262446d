"""One sentence for a person, of whatever error: with a capital where it is none of a name's business, and printable."""

from qkdlink.common.printable import printable

_BEGINNINGS = frozenset((
    "an", "the", "this", "these", "that", "there", "he", "she", "it", "its", "no", "nobody",
    "none", "nothing", "neither", "not", "all", "another", "any", "anybody", "both", "each",
    "every", "everything", "other", "others", "one", "somebody", "something", "what", "whether",
    "where", "who", "cannot", "at", "in", "on", "only", "without",
))  # fmt: skip
"""Words that begin a sentence and are hardly the name of a file or a node; "a" may well be one."""


def sentence(error: BaseException) -> str:
    """Return the first sentence of an error, or of the first error in a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return as_sentence(str(error))


def as_sentence(text: str) -> str:
    """Write a text as a sentence in one printable line.

    Only a word of grammar gets a capital: any other word at the beginning may be the name of a file or a node.
    """
    text = printable(" ".join(text.split()))
    first = text.partition(" ")[0]
    if first in _BEGINNINGS:
        text = text[:1].upper() + text[1:]
    return text + ("" if text.endswith(".") else ".")
