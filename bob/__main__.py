"""`python -m qkdlink.bob --config FILE`: Bob's node."""

from collections.abc import Callable
from functools import partial

from qkdlink.common.startup import start


def _load() -> Callable[[], None]:
    from qkdlink.bob.settings import BobSettings
    from qkdlink.bob.station import run
    from qkdlink.common.kernels.compiled import load_types
    from qkdlink.common.node.program import main

    load_types()
    return partial(main, "bob", BobSettings, run)


if __name__ == "__main__":
    start(_load, stopped=0)
