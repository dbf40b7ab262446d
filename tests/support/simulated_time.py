"""An event loop whose clock jumps to the next thing that is due, so that hours pass in a moment."""

import asyncio
from collections.abc import Coroutine
from typing import Any


class _SimulatedLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        super().__init__()
        self._seconds = 0.0
        selector: Any = self._selector  # type: ignore[attr-defined]  # where a loop waits
        at_once = selector.select

        def select(timeout: float | None) -> list[Any]:
            found: list[Any] = at_once(0)
            if not found:
                assert timeout is not None, "nothing would ever happen"
                self._seconds += timeout
            return found

        selector.select = select

    def time(self) -> float:
        return self._seconds


def run_simulated[T](work: Coroutine[Any, Any, T]) -> T:
    """Run to the end; nothing in it may wait for another thread, or for a peer."""
    with asyncio.Runner(loop_factory=_SimulatedLoop) as runner:
        return runner.run(work)
