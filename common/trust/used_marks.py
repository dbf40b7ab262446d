"""A mark beside a file whose pads serve once: it is left when the store that counts them is lost.

Each line is one use: a name that is derived from the file, and which of its pads are taken. A file that is made anew in
the same place has another name, so the mark of the last one does not stand in its way.
"""

import os
from pathlib import Path

from qkdlink.common.errors import CredentialsError
from qkdlink.common.trust.private_files import SECRET_MODE, flush_folder


def mark_of(file: Path) -> Path:
    """Return where the mark of a file is: beside it."""
    return file.with_name(f"{file.name}.used")


def is_marked(file: Path, use: str) -> bool:
    """Whether a use of the file was marked; CredentialsError if its mark is there and cannot be read."""
    try:
        return use.encode() in mark_of(file).read_bytes().split()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise CredentialsError(f"cannot read {mark_of(file)}: {error.strerror}") from error


def mark(file: Path, use: str) -> None:
    """Mark a use of the file, unless it is marked: on disk when this returns. CredentialsError if it cannot be."""
    if is_marked(file, use):
        return
    try:
        descriptor = os.open(
            mark_of(file), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, SECRET_MODE
        )
        with os.fdopen(descriptor, "ab") as stream:
            stream.write(f"\n{use}\n".encode())  # a line that a power failure has cut short ends here
            stream.flush()
            os.fsync(stream.fileno())
        flush_folder(file.parent)
    except OSError as error:
        raise CredentialsError(
            f"cannot write {mark_of(file)}, where it is to stand that the pads in {file.name} are used:"
            f" {error.strerror}"
        ) from error
