"""What is said of a process that has ended and has not said why itself."""

import signal

_USUALLY = {
    signal.SIGKILL: "the machine may have run out of memory, or somebody killed it: free memory or use smaller blocks",
    signal.SIGTERM: "another program asked it to end: start the command again",
    signal.SIGINT: "Ctrl-C reached it: start the command again",
    signal.SIGSEGV: "a library crashed: start the command again, and report it if that repeats",
    signal.SIGABRT: "a library gave up: start the command again, and report it if that repeats",
    signal.SIGILL: "this machine lacks an instruction that a library uses: install qkdlink anew on this machine",
    signal.SIGBUS: "a file that it reads was cut, or the disk is full: free space and start the command again",
}
_ELSE = "it could not say why: start the command again with --home FOLDER, and read the journals there"


def told_end(name: str, status: int | None) -> str:
    """Say how a process ended, by the status that `subprocess` reports: a signal is negative; and what to do then."""
    if status is None or status >= 0:
        return f"{name} ended with status {status}"
    try:
        number = signal.Signals(-status)
    except ValueError:  # a real-time signal has no name
        return f"{name} was ended by signal {-status}: {_ELSE}"
    return f"{name} was ended by {number.name}: {_USUALLY.get(number, _ELSE)}"
