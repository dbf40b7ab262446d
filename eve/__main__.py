"""`python -m eve --config FILE`: Eve, who sits between Alice and Bob and is transparent until she attacks."""

from common.node.program import main
from eve.settings import EveSettings
from eve.station import run

if __name__ == "__main__":
    main("eve", EveSettings, run)
