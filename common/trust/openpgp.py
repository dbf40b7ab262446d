"""GnuPG as a judge of signatures: the program itself, in a keyring of its own, with no network and little time.

What gpg thinks of a key is asked of gpg; nothing of OpenPGP is done here. It reads no configuration, asks no server,
fetches no key and starts no agent's dialogue. Strangers decide what it is given to read, so it runs a few at a time,
each for a limited time and with a limited output.
"""

import asyncio
import os
import shutil
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self, cast

from qkdlink.common.errors import CredentialsError

TIME_LIMIT_S = 4.0
"""Of one run, which takes some hundredths of a second; two of them fit into a handshake's time."""
MOST_AT_ONCE = 2
LARGEST_OUTPUT_BYTES = 64 * 1024

_JUDGE = (
    "--no-options",
    "--batch",
    "--no-tty",
    "--quiet",
    "--trust-model",
    "pgp",
    "--disable-dirmngr",
    "--no-auto-key-retrieve",
    "--no-auto-key-locate",
)


@dataclass(frozen=True, slots=True, eq=False)
class Keyring:
    """A GnuPG home: the keys that a node knows, and its trust in their owners. Build it with `open`."""

    home: Path
    program: str
    _turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MOST_AT_ONCE), repr=False)

    @classmethod
    def open(cls, home: Path) -> Self:
        """Check that gpg is installed and that the home is private; CredentialsError otherwise."""
        program = find_program("gpg")
        check_private(home)
        return cls(home, program)

    async def verify(self, data: bytes, signature: str) -> str:
        """Return gpg's status lines on a detached signature over `data`; CredentialsError if gpg takes too long."""
        with _files(data, signature) as (data_file, signature_file):
            return await self._run("--status-fd", "1", "--verify", str(signature_file), str(data_file))

    async def listing(self, fingerprint: str) -> str:
        """Return what the keyring says of one key and of each of its user ids, in gpg's colon format."""
        return await self._run("--with-colons", "--fixed-list-mode", "--list-keys", fingerprint)

    async def _run(self, *arguments: str) -> str:
        async with self._turns:
            return await _bounded((self.program, "--homedir", str(self.home.absolute()), *_JUDGE, *arguments))


def find_program(name: str) -> str:
    """Return where a program of GnuPG is; CredentialsError if it is not installed."""
    program = shutil.which(name)
    if program is None:
        raise CredentialsError(
            f"the web of trust needs GnuPG, and there is no {name} here: install the package gnupg"
        )
    return program


def check_private(home: Path) -> None:
    """Refuse, with a CredentialsError, a GnuPG home that is missing or that others could write or read."""
    try:
        found = home.stat()
    except OSError as error:
        raise CredentialsError(
            f"the keyring {home} cannot be opened ({error.strerror}): make it with gpg --homedir, mode 0700"
        ) from error
    if not home.is_dir() or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise CredentialsError(
            f"the keyring {home} has to be a folder of this user alone: run 'chmod 700 {home}' as its owner"
        )


def environment() -> dict[str, str]:
    """What gpg is told of our environment: no other home, no other language."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "HOME": os.environ.get("HOME", "/")}


async def _bounded(command: tuple[str, ...]) -> str:
    """Run a program and return what it prints; CredentialsError if it prints or takes too much. It ends with us."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL, env=environment(), limit=LARGEST_OUTPUT_BYTES
    )
    stream = cast("asyncio.StreamReader", process.stdout)
    try:
        async with asyncio.timeout(TIME_LIMIT_S):
            output = await _read(stream)
            await process.wait()
    except TimeoutError as error:
        raise CredentialsError(f"gpg has not judged the signature within {TIME_LIMIT_S:g} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            while await stream.read(LARGEST_OUTPUT_BYTES):
                pass  # asyncio does not see the end of a process before that of its output, and a full reader pauses
            await process.wait()
    return output.decode("utf-8", errors="replace")


async def _read(stream: asyncio.StreamReader) -> bytes:
    try:
        await stream.readexactly(LARGEST_OUTPUT_BYTES + 1)
    except asyncio.IncompleteReadError as end:
        return end.partial
    raise CredentialsError("gpg has more to say of the signature than anybody would read")


@contextmanager
def _files(data: bytes, signature: str) -> Iterator[tuple[Path, Path]]:
    with TemporaryDirectory(prefix="qkdlink-card-") as folder:
        data_file, signature_file = Path(folder, "card"), Path(folder, "signature")
        data_file.write_bytes(data)
        signature_file.write_text(signature, encoding="ascii")
        yield data_file, signature_file
