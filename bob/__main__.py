"""`python -m bob --config FILE`: Bob's node."""

from bob.settings import BobSettings
from bob.station import run
from common.node.program import main

if __name__ == "__main__":
    main("bob", BobSettings, run)
