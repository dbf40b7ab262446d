"""Secrets of TLS 1.3 sessions, as a key log has them: one line each, `<label> <ClientHello random> <secret>`.

Source: draft-ietf-tls-keylogfile, "The SSLKEYLOGFILE Format for TLS", section 2.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from qkdlink.common.errors import ConfigurationError

_LONGEST_LINE_BYTES = 512
_MOST_BYTES = 64 * 2**20
_LINE = re.compile(r"(?P<label>[A-Z0-9_]{1,64}) (?P<random>[0-9a-fA-F]{64}) (?P<secret>[0-9a-fA-F]{2,256})")
_SECRET_BYTES = (32, 48)


class Label(StrEnum):
    """The secrets that protect records."""

    CLIENT_HANDSHAKE = "CLIENT_HANDSHAKE_TRAFFIC_SECRET"
    SERVER_HANDSHAKE = "SERVER_HANDSHAKE_TRAFFIC_SECRET"
    CLIENT_APPLICATION = "CLIENT_TRAFFIC_SECRET_0"
    SERVER_APPLICATION = "SERVER_TRAFFIC_SECRET_0"


@dataclass(slots=True)
class _File:
    path: Path
    read: int = 0
    lines: int = 0
    rest: bytes = field(default=b"", repr=False)


@dataclass(slots=True)
class KeyLog:
    """All secrets of some files, which may still grow and need not be there yet."""

    _files: list[_File]
    _secrets: dict[tuple[str, bytes], bytes] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, paths: Iterable[Path]) -> "KeyLog":
        """Name the files; `refresh` reads them."""
        return cls([_File(path) for path in paths])

    def secret(self, label: Label, client_random: bytes) -> bytes | None:
        """Return a session's secret (32 or 48 bytes); None if no file has it by now."""
        found = self._secrets.get((label, client_random))
        if found is None:
            self.refresh()
            found = self._secrets.get((label, client_random))
        return found

    def refresh(self) -> None:
        """Read what has been added; ConfigurationError if it is no key log."""
        for file in self._files:
            self._read_on(file)

    def _read_on(self, file: _File) -> None:
        try:
            with file.path.open("rb") as data:
                data.seek(file.read)
                added = data.read(_MOST_BYTES - file.read + 1)
        except FileNotFoundError:
            return
        except OSError as error:
            raise ConfigurationError(f"The key log {file.path} cannot be read: {error.strerror}.") from error
        file.read += len(added)
        if file.read > _MOST_BYTES:
            raise ConfigurationError(
                f"The key log {file.path} is longer than {_MOST_BYTES >> 20} MiB: begin a new one."
            )
        *lines, file.rest = (file.rest + added).split(b"\n")
        for line in lines:
            file.lines += 1
            self._note(file, line)
        if len(file.rest) > _LONGEST_LINE_BYTES:
            file.lines += 1
            raise self._malformed(file)

    def _note(self, file: _File, line: bytes) -> None:
        if not line.strip() or line.startswith(b"#"):
            return
        found = _LINE.fullmatch(line.decode("ascii", errors="replace").rstrip("\r"))
        if found is None:
            raise self._malformed(file)
        if found["label"] not in set(Label):
            return
        secret = bytes.fromhex(found["secret"]) if len(found["secret"]) % 2 == 0 else b""
        if len(secret) not in _SECRET_BYTES:
            raise self._malformed(file)
        self._secrets[found["label"], bytes.fromhex(found["random"])] = secret

    @staticmethod
    def _malformed(file: _File) -> ConfigurationError:
        return ConfigurationError(
            f"Line {file.lines} of {file.path} is not a line of a TLS key log; name the file that a node has written."
        )
