"""Files that are secret from their first byte, never half-written, and never overwritten where they are keys.

A file is created with its final mode (there is no moment at which others could open it), filled and flushed
under a temporary name, and only then given its own: a full disk or a crash leaves the old state. The name is
given by a hard link, because a rename would silently replace a key that somebody made in the meantime.
"""

import grp
import os
import pwd
import secrets
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from qkdlink.common.errors import ConfigurationError, CredentialsError

SECRET_MODE = 0o600
PUBLIC_MODE = 0o644
FOLDER_MODE = 0o700


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file to be: its place, its bytes, and its mode (less the process's umask)."""

    path: Path
    data: bytes = field(repr=False)
    mode: int = SECRET_MODE


@contextmanager
def private_folder(folder: Path) -> Iterator[Path]:
    """Make `folder` and every missing parent with mode 0700; if the body fails they are removed again.

    A folder that exists already is used as it is. Raises CredentialsError where a folder cannot be made, and as
    `refuse_shared` does.
    """
    refuse_shared(folder)
    with ExitStack() as made:
        for path in reversed((folder, *folder.parents)):
            try:
                path.mkdir(FOLDER_MODE)
            except OSError as error:
                if path.is_dir():
                    continue
                raise CredentialsError(f"cannot make the folder {path}: {error.strerror}") from error
            made.callback(_remove_if_empty, path)
        refuse_shared(folder)  # somebody may have made it in the meantime
        yield folder
        made.pop_all()


def refuse_shared(folder: Path) -> None:
    """Raise CredentialsError where a folder is a symbolic link, or one in which others can put what they like.

    The same holds for every folder on the way to it: who can write there can put another folder in its place. A folder
    that does not exist yet is fine, and so is a file: those who use it say what is wrong with that.
    """
    for parent in _way_to(folder):
        _refuse_shared_parent(parent, folder)
    try:
        found = folder.lstat()
    except OSError:
        return
    if stat.S_ISLNK(found.st_mode):
        raise CredentialsError(
            f"{folder} is a symbolic link, and others may have made it: name the folder itself"
        )
    if found.st_uid not in {os.geteuid(), 0}:
        raise CredentialsError(
            f"{folder} belongs to another user, who can replace what is in it: name another folder"
        )
    if stat.S_ISDIR(found.st_mode) and found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise CredentialsError(
            f"others can write in {folder}: run 'chmod go-w {folder}', or name another folder"
        )


def _way_to(folder: Path) -> list[Path]:
    """Return the folders that lead to `folder`, by the names that were given and by those that links lead to."""
    named = Path(os.path.abspath(folder))  # noqa: PTH100 - `resolve` would follow the links that are to be looked at
    return list(
        dict.fromkeys(
            [*reversed(named.parents), *reversed(named.parent.resolve().parents), named.parent.resolve()]
        )
    )


def _refuse_shared_parent(parent: Path, folder: Path) -> None:
    try:
        name, found = parent.lstat(), parent.stat()
    except OSError:
        return
    if not {name.st_uid, found.st_uid} <= {os.geteuid(), 0}:
        raise CredentialsError(
            f"{parent} belongs to another user, who can replace {folder}: name a folder elsewhere"
        )
    if found.st_mode & stat.S_ISVTX:  # as /tmp: nobody can replace what is not theirs
        return
    if found.st_mode & stat.S_IWOTH or (found.st_mode & stat.S_IWGRP and not _is_own_group(found.st_gid)):
        raise CredentialsError(
            f"others can write in {parent} and replace {folder}: run 'chmod go-w {parent}', or name a folder elsewhere"
        )


def _is_own_group(group: int) -> bool:
    """Whether a group is the user's own: their primary one, with their name, and without further members."""
    try:
        user, found = pwd.getpwuid(os.geteuid()), grp.getgrgid(group)
    except KeyError:
        return False
    return (
        found.gr_gid == user.pw_gid and found.gr_name == user.pw_name and set(found.gr_mem) <= {user.pw_name}
    )


def write_new(*files: NewFile) -> None:
    """Write all the files or none of them.

    Raises CredentialsError if one of them exists, ConfigurationError if one cannot be written; then nothing has
    changed on disk.
    """
    with ExitStack() as staged, ExitStack() as placed:
        temporaries = [_stage(file, staged) for file in files]
        for file, temporary in zip(files, temporaries, strict=True):
            _place(file.path, temporary, placed)
        for folder in {file.path.parent for file in files}:
            flush_folder(folder)
        placed.pop_all()


def write_over(file: NewFile) -> None:
    """Write a file in one step over what has its name; ConfigurationError, and the old one as it was, if that fails.

    For what is renewed, such as configuration files and revocation lists: a key is never replaced.
    """
    with ExitStack() as staged:
        temporary = _stage(file, staged)
        try:
            temporary.replace(file.path)
            flush_folder(file.path.parent)
        except OSError as error:
            raise _not_written(file.path, error) from error


def _stage(file: NewFile, staged: ExitStack) -> Path:
    temporary = file.path.with_name(f".{file.path.name}.{secrets.token_hex(8)}")
    staged.callback(temporary.unlink, missing_ok=True)
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, file.mode)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(file.data)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise _not_written(file.path, error) from error
    return temporary


def _place(path: Path, temporary: Path, placed: ExitStack) -> None:
    try:
        path.hardlink_to(temporary)
    except FileExistsError as error:
        raise CredentialsError(
            f"{path} exists and is never overwritten: move it away first if it is to be replaced"
        ) from error
    except OSError as error:
        raise _not_written(path, error) from error
    placed.callback(path.unlink, missing_ok=True)


def _not_written(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"cannot write {path}: {error.strerror}; nothing was written")


def flush_folder(folder: Path) -> None:
    """Wait until the names in a folder are on disk; OSError if the disk refuses."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_if_empty(folder: Path) -> None:
    if not any(folder.iterdir()):
        folder.rmdir()
