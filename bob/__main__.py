"""`python -m bob --config FILE`: Bob's node."""

from collections.abc import Callable
from functools import partial

from common.startup import start


def _load() -> Callable[[], None]:
    from bob.settings import BobSettings
    from bob.station import run
    from common.node.program import main

    return partial(main, "bob", BobSettings, run)


if __name__ == "__main__":
    start(_load, stopped=0)
