"""GnuPG as an operator's hand: it signs, certifies, exports and imports in a GnuPG home that holds secret keys.

Signing needs gpg's agent, which listens on sockets inside the home, and a socket's path has about a hundred bytes at
most (`man 7 unix`): a longer home is reached through a short link. An agent that we have started is ended with us; one
that was there before keeps its passphrases.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

from qkdlink.common.errors import CredentialsError
from qkdlink.common.trust.openpgp import check_private, find_program
from qkdlink.deployment.processes.endings import told_end

_LONGEST_HOME_BYTES = 80
"""Leaves room for the name of the agent's longest socket."""
_LONGEST_TEMPORARY_BYTES = _LONGEST_HOME_BYTES - len("/gpg-12345678/home")
_TIME_LIMIT_S = 300.0
"""An operator may have to type a passphrase, or to find the card that holds the key."""


@dataclass(frozen=True, slots=True)
class Hand:
    """Runs gpg in one home; get one from `signing_in`."""

    home: Path

    def gpg(self, *arguments: str, data: bytes = b"") -> bytes:
        """Run gpg with `data` on its standard input and return what it prints; CredentialsError with its last word."""
        command = (
            find_program("gpg"),
            "--homedir",
            str(self.home),
            "--batch",
            "--no-tty",
            "--yes",
            "--quiet",
            *arguments,
        )
        try:
            done = subprocess.run(
                command,
                input=data,
                capture_output=True,
                timeout=_TIME_LIMIT_S,
                check=False,
                env=_environment(),
            )
        except subprocess.TimeoutExpired as error:
            raise CredentialsError(f"gpg did not come to an end within {_TIME_LIMIT_S:g} s") from error
        if done.returncode:
            words = done.stderr.decode(errors="replace").strip().splitlines() or [
                told_end("gpg", done.returncode)
            ]
            raise CredentialsError(f"GnuPG refuses: {words[-1].removeprefix('gpg: ')}")
        return done.stdout

    def sign(self, data: bytes, key: str) -> str:
        """Return the detached, armoured signature of `key` (a fingerprint, or `=` and a whole user id) over `data`."""
        return self.gpg("--local-user", key, "--armor", "--detach-sign", data=data).decode("ascii")


@contextmanager
def signing_in(home: Path) -> Iterator[Hand]:
    """Work in a GnuPG home; CredentialsError if it is not private or GnuPG is not installed."""
    find_program("gpg")
    check_private(home)
    with ExitStack() as stack:
        short = home.absolute()
        if len(os.fsencode(short)) > _LONGEST_HOME_BYTES:
            short = Path(stack.enter_context(TemporaryDirectory(prefix="gpg-", dir=_short_folder())), "home")
            short.symlink_to(home.absolute())
        if not _has_agent(short):
            stack.callback(_end_agents, short)
        yield Hand(short)


def _short_folder() -> str | None:
    """Return where the link is made: `TMPDIR`, unless that is too long itself."""
    return None if len(os.fsencode(gettempdir())) <= _LONGEST_TEMPORARY_BYTES else "/tmp"  # noqa: S108 - private there


def _has_agent(home: Path) -> bool:
    asked = (
        find_program("gpg-connect-agent"),
        "--homedir",
        str(home),
        "--no-autostart",
        "GETINFO pid",
        "/bye",
    )
    return b"OK" in subprocess.run(asked, capture_output=True, check=False, env=_environment()).stdout


def _end_agents(home: Path) -> None:
    subprocess.run(
        (find_program("gpgconf"), "--homedir", str(home), "--kill", "all"),
        capture_output=True,
        check=False,
        env=_environment(),
    )


def _environment() -> dict[str, str]:
    """Return ours, in a language whose words we repeat, with no other home; a dialogue still finds its screen."""
    return {name: value for name, value in os.environ.items() if name != "GNUPGHOME"} | {"LC_ALL": "C"}
