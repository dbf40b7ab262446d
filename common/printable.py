"""Text from a peer, a broker or a file, made safe to show: printable characters only, and a bounded number of them.

What is shown on a terminal or written into a journal passes here. A terminal obeys escape sequences, and a line break
would begin a line of its own in a journal or a log.
"""

LONGEST_TEXT = 2000


def printable(text: str, longest: int = LONGEST_TEXT) -> str:
    """Write every character that is not printable as an escape (`\\x1b`), and cut what exceeds `longest` characters.

    Printable text of at most that length is returned as it is, so that applying this twice changes nothing.
    """
    if not text.isprintable():
        head = text[:longest]  # an escape is never shorter than its character
        text = "".join(each if each.isprintable() else _escape(each) for each in head) + text[longest:]
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def _escape(character: str) -> str:
    return ascii(character)[1:-1]
