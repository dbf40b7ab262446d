"""`python -m qkdlink.eve --config FILE`: Eve, who sits between Alice and Bob and is transparent until she attacks."""

from collections.abc import Callable
from functools import partial

from qkdlink.common.startup import start


def _load() -> Callable[[], None]:
    from qkdlink.common.node.program import main
    from qkdlink.eve.settings import EveSettings
    from qkdlink.eve.station import run

    return partial(main, "eve", EveSettings, run)


if __name__ == "__main__":
    start(_load, stopped=0)
