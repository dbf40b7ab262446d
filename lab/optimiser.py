"""The cheapest point of a function of a few numbers, found the same way every time."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize


def cheapest(
    cost: Callable[[Sequence[float]], float],
    starts: Iterable[Sequence[float]],
    *,
    climb_from: int,
    tolerance: float,
) -> list[float]:
    """Return the point of least `cost` that Nelder and Mead find from the best `climb_from` of the `starts`.

    The cost may be discontinuous and must be finite; a large constant outside the allowed region keeps the
    search inside. It ends where the simplex spans less than `tolerance` in cost and 1e-4 in each coordinate.
    """

    def cost_of_array(point: NDArray[np.float64]) -> float:
        return cost(point.tolist())

    ends = [
        minimize(
            cost_of_array,
            np.array(start),
            method="Nelder-Mead",
            options={"xatol": 1e-4, "fatol": tolerance, "maxfev": 800},
        ).x
        for start in sorted(starts, key=cost)[:climb_from]
    ]
    best: list[float] = min(ends, key=cost_of_array).tolist()
    return best
