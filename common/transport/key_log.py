"""The secrets of TLS sessions, written down for a laboratory: whoever has this file reads the classical line.

It exists so that Eve can be shown to gain nothing by reading (`docs/attacks.md`). No context honours SSLKEYLOGFILE:
this file is named in the settings of a node, which have to say that it is insecure, and the node says so at its start.
"""

import os
import ssl
from pathlib import Path

from qkdlink.common.errors import ConfigurationError
from qkdlink.common.trust.private_files import SECRET_MODE


def open_key_log(path: Path) -> Path:
    """Make the file, or find it as it was left; ConfigurationError unless only its owner can read it."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, SECRET_MODE)
        mode = os.fstat(descriptor).st_mode
        os.close(descriptor)
    except OSError as error:
        raise ConfigurationError(f"The TLS key log {path} cannot be written: {error.strerror}.") from error
    if mode & 0o077:
        raise ConfigurationError(f"The TLS key log {path} is open to others: run 'chmod 600 {path}'.")
    return path


def write_secrets(context: ssl.SSLContext, key_log: Path | None) -> None:
    """Have the sessions of a context written down, if there is a file for it."""
    if key_log is not None:
        context.keylog_filename = str(key_log)
