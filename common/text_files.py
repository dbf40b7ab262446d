"""Text files as people save them: UTF-8, with or without a byte order mark, and no other encoding."""

import codecs
from pathlib import Path

from qkdlink.common.errors import ConfigurationError, QkdlinkError

_OTHER_MARKS = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def text_of(data: bytes, name: object, refusal: type[QkdlinkError] = ConfigurationError) -> str:
    """Decode the content of a text file called `name`, without its byte order mark.

    Raises `refusal`, one sentence that quotes nothing of the content, if it is not UTF-8. A NUL counts as such: it is
    what UTF-16 without a mark looks like.
    """
    try:
        text = "" if data.startswith(_OTHER_MARKS) else data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = ""
    if (data and not text and data != codecs.BOM_UTF8) or "\0" in text:
        raise refusal(f"{name} is not text in UTF-8: save it in this encoding.") from None
    return text


def read_text(path: Path, refusal: type[QkdlinkError] = ConfigurationError) -> str:
    """Read a text file; OSError if it cannot be read, `refusal` if it is not UTF-8."""
    return text_of(path.read_bytes(), path, refusal)
