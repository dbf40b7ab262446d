"""`python -m alice --config FILE`: Alice's node."""

from alice.settings import AliceSettings
from alice.station import run
from common.node.program import main

if __name__ == "__main__":
    main("alice", AliceSettings, run)
