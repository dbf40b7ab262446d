"""How fast programs start: the help, the imports of a node, and a link up to its first key, beside importing numba."""

import subprocess
import sys
from collections.abc import Callable, Iterator

from qkdlink.benchmarks.alternation import Contender, Stage, alternate

_STARTS = {
    "start-help": ("-m", "qkdlink", "--help"),
    "start-node-import": ("-m", "qkdlink.alice", "--help"),
    "first-key": ("-m", "qkdlink", "demo", "--blocks", "1", "--protocol", "single-photon"),
}
_BASELINE = ("-c", "import numba")


def measured(pairs: int) -> Iterator[Stage]:
    """Time every kind of start `pairs` times, warm: nothing is compiled any more; nothing at all for no pairs."""
    for name, arguments in _STARTS.items() if pairs else ():
        ours = Contender(f"qkdlink {name}", 1, _program(arguments))
        yield alternate(
            name, "start/s", ours, Contender("python -c 'import numba'", 1, _program(_BASELINE)), pairs
        )


def _program(arguments: tuple[str, ...]) -> Callable[[], object]:
    command = [sys.executable, "-P", *arguments]
    return lambda: subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True)
