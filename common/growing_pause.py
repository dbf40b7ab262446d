"""The pause before another attempt, which doubles from one attempt to the next up to a longest one."""


class GrowingPause:
    """A pause that grows with each attempt in vain."""

    def __init__(self, first_s: float, longest_s: float) -> None:
        self._first_s, self._longest_s = first_s, longest_s
        self.seconds = first_s
        """How long the next pause is."""

    def take(self) -> float:
        """Return how many seconds to pause now; the next pause is twice as long."""
        taken, self.seconds = self.seconds, min(2 * self.seconds, self._longest_s)
        return taken

    def reset(self) -> None:
        """Begin with the first pause again, because an attempt has succeeded."""
        self.seconds = self._first_s
