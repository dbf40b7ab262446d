"""`python -m qkdlink.alice --config FILE`: Alice's node."""

from collections.abc import Callable
from functools import partial

from qkdlink.common.startup import start


def _load() -> Callable[[], None]:
    from qkdlink.alice.settings import AliceSettings
    from qkdlink.alice.station import run
    from qkdlink.common.kernels.compiled import load_types
    from qkdlink.common.node.program import main

    load_types()
    return partial(main, "alice", AliceSettings, run)


if __name__ == "__main__":
    start(_load, stopped=0)
