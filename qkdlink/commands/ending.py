"""How a command ends: its exit status, the one line on standard error, and signals that ask for the end."""

import errno
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn

from qkdlink.common.errors import QkdlinkError
from qkdlink.common.sentences import sentence
from qkdlink.common.units import unit_beside

_STOPPED = 130
_READER_GONE = 128 + signal.SIGPIPE
"""What shells report of a program that SIGPIPE has ended."""

_OF_OUTPUT = {errno.EBADF, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOSPC, errno.EPIPE, None}


def run(app: Callable[..., Any], arguments: list[str]) -> NoReturn:
    """Run a command line; exit with the status that the README lists, and one line on stderr if it is an error."""
    _end_in_order()
    verbose = "--verbose" in arguments
    status, message = 0, ""
    try:
        answer: Any = app(args=arguments, prog_name="qkdlink", standalone_mode=False)
        status = answer if isinstance(answer, int) else 0
        message = "Stopped." if status == _STOPPED else ""
    except* SystemExit as exits:
        status = _status_of(exits)
    except* QkdlinkError as errors:
        if verbose:
            raise
        status, message = 2, sentence(errors)
    except* KeyboardInterrupt:
        status, message = _STOPPED, "Stopped."
    except* BrokenPipeError:
        status = _READER_GONE
    except* Exception as errors:
        if verbose:
            raise
        status, message = 2, _unexpected(errors)
        if _is_bare(_innermost(errors)):
            sys.stderr.write(f"{message}\n")
            message = ""
    if message:
        sys.stderr.write(f"qkdlink: {' '.join(message.split())}\n")
    _exit(status)


def _innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _is_bare(error: BaseException) -> bool:
    """Whether a command was named without anything: then the help is the answer. Typer has no public name for it."""
    return type(error).__name__ == "NoArgsIsHelpError"


def _unexpected(errors: BaseExceptionGroup) -> str:
    """Say what is wrong with the command line, which file or output the system refuses, or that the fault is ours."""
    error = _innermost(errors)
    if hasattr(error, "format_message"):
        if _is_bare(error):
            return str(error.format_message())
        if explained := _unit_in_option(error):
            return explained
        return f"{error.format_message() or 'Name a command'} (see `{_command_of(error)} --help`)"
    from pydantic import ValidationError

    from qkdlink.common.value_faults import first_fault

    if isinstance(error, ValidationError):
        return f"The command line or a file says {first_fault(error)}."
    if isinstance(error, OSError):
        return _refused_by_system(error)
    return f"Something unexpected happened ({type(error).__name__}: {error}); --verbose shows where."


def _command_of(error: BaseException) -> str:
    context = getattr(error, "ctx", None)
    return "qkdlink" if context is None else str(context.command_path)


def _refused_by_system(error: OSError) -> str:
    """Say what the operating system refused; an error of standard output names no file."""
    reason = error.strerror or str(error)
    if error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {reason}."
    if error.errno in _OF_OUTPUT:
        return f"The output cannot be written: {reason}."
    return f"The operating system refuses something: {reason}; --verbose shows what."


def _unit_in_option(error: BaseException) -> str | None:
    """Explain a numeric option, of any command, whose number was written with a unit."""
    from pydantic import (
        ValidationError,  # only a fault needs it, and its import takes as long as the whole help
    )

    option, cause = getattr(error, "param", None), error.__cause__
    if option is None or not isinstance(cause, ValidationError):
        return None
    given = cause.errors(include_url=False)[0]["input"]
    explained = unit_beside(given, option.name)
    return explained and f"'{option.opts[-1]} {given}' is not valid: {explained}."


def _status_of(exits: BaseExceptionGroup) -> int:
    """Return with which status typer or rich want to end; on finding that nobody reads the output, they say 1."""
    ending = exits.exceptions[0]
    if isinstance(ending.__context__, BrokenPipeError):
        return _READER_GONE
    return ending.code if isinstance(ending, SystemExit) and isinstance(ending.code, int) else 0


def _exit(status: int) -> NoReturn:
    """Exit with what has been printed on its way; output that cannot be written is an error too."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the end has begun
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os._exit(_READER_GONE)
    except OSError as error:
        sys.stderr.write(f"qkdlink: The output cannot be written: {error.strerror}.\n")
        os._exit(2)  # the interpreter would try to write it once more
    sys.exit(status)


def _end_in_order() -> None:
    """Let whoever asks for an end get the orderly one of Ctrl-C; what we were told to ignore stays ignored."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _as_ctrl_c)


def _as_ctrl_c(number: int, frame: FrameType | None) -> None:
    """Do what Ctrl-C does now, which to a running event loop is no exception in the middle of a step."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.default_int_handler(number, frame)
    signal.raise_signal(signal.SIGINT)
