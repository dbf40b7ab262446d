"""Which blocks Eve keeps notes of: she has room for few, and anybody with the seal key can send light of invented ones.

Blocks that the classical channel has announced and not ended come first. Eve reads that channel with a delay, so the
light of a block may be there before its announcement is read. Block numbers ascend: of the other blocks, those come
next whose numbers follow the last announced one of their session most closely. Then the youngest come.
"""

from qkdlink.eve.notebook import BlockNotes

type Place = tuple[str, int]
"""Session and number of a block."""

_MOST_BLOCKS = 8


class Notebook:
    """The notes of a bounded number of blocks."""

    def __init__(self, most_blocks: int = _MOST_BLOCKS) -> None:
        self._most_blocks = most_blocks
        self._notes: dict[Place, BlockNotes] = {}
        self._announced: dict[Place, None] = {}
        self._latest: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"Notebook({len(self._notes)} blocks, redacted)"

    def __contains__(self, block: Place) -> bool:
        return block in self._notes

    def notes(self, block: Place) -> BlockNotes:
        """Return the notes on a block, empty ones if it is new; without room the one that matters least is dropped."""
        if block not in self._notes:
            fresh = self._notes[block] = BlockNotes()
            if len(self._notes) > self._most_blocks:
                del self._notes[min(self._notes, key=self._rank)]  # the first of equals is the oldest
            return fresh
        return self._notes[block]

    def announce(self, block: Place) -> None:
        """Note that Alice has opened a block on the classical channel."""
        session, number = block
        self._announced[block] = None
        self._latest[session] = max(
            number, self._latest.pop(session, number)
        )  # the latest session is the last
        if len(self._announced) > self._most_blocks:
            del self._announced[next(iter(self._announced))]
        if len(self._latest) > self._most_blocks:
            del self._latest[next(iter(self._latest))]

    def end(self, block: Place) -> None:
        """Note that a block has ended: its notes may go when room is needed."""
        self._announced.pop(block, None)

    def _rank(self, block: Place) -> tuple[bool, float]:
        session, number = block
        behind = number - self._latest.get(session, number)
        return block in self._announced, 1 / behind if behind > 0 else 0.0
