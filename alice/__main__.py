"""`python -m alice --config FILE`: Alice's node."""

from collections.abc import Callable
from functools import partial

from common.startup import start


def _load() -> Callable[[], None]:
    from alice.settings import AliceSettings
    from alice.station import run
    from common.node.program import main

    return partial(main, "alice", AliceSettings, run)


if __name__ == "__main__":
    start(_load, stopped=0)
