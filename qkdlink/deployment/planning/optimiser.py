"""The cheapest point of a function of a few numbers, found the same way every time."""

from collections.abc import Callable, Iterable, Sequence

type Cost = Callable[[Sequence[float]], float]
type _Corner = tuple[float, list[float]]

_SPAN = 1e-4
_MOST_EVALUATIONS = 800


def cheapest(
    cost: Cost, starts: Iterable[Sequence[float]], *, climb_from: int, tolerance: float
) -> list[float]:
    """Return the point of least `cost` that Nelder and Mead find from the best `climb_from` of the `starts`.

    The cost may be discontinuous and must be finite; a large constant outside the allowed region keeps the
    search inside. It ends where the simplex spans less than `tolerance` in cost and 1e-4 in each coordinate.
    """
    ends = [_climb(cost, start, tolerance) for start in sorted(starts, key=cost)[:climb_from]]
    return min(ends, key=_cost_of)[1]


def _climb(cost: Cost, start: Sequence[float], tolerance: float) -> _Corner:
    """Return the best corner of a simplex that has shrunk enough.

    Source: Nelder and Mead, Comput. J. 7, 308 (1965), with the usual coefficients 1, 2, 1/2 and 1/2. Written here,
    since `scipy.optimize` takes longer to be imported than a plan takes to be made.
    """
    evaluations = 0

    def rated(point: list[float]) -> _Corner:
        nonlocal evaluations
        evaluations += 1
        return cost(point), point

    corners = [rated(point) for point in _simplex(start)]
    while True:
        corners.sort(key=_cost_of)
        best, (most, worst) = corners[0], corners[-1]
        if evaluations >= _MOST_EVALUATIONS or (most - best[0] <= tolerance and _spread(corners) <= _SPAN):
            return best
        middle = [sum(column) / len(start) for column in zip(*(p for _, p in corners[:-1]), strict=True)]
        new = rated(_beyond(worst, middle, 1.0))
        if new[0] < best[0]:
            new = min(rated(_beyond(worst, middle, 2.0)), new, key=_cost_of)
        elif new[0] >= corners[-2][0]:
            bar = min(new[0], most)
            new = rated(_beyond(worst, middle, 0.5 if new[0] < most else -0.5))
            if new[0] > bar or new[0] >= most:
                corners[1:] = [rated(_beyond(point, best[1], -0.5)) for _, point in corners[1:]]
                continue
        corners[-1] = new


def _simplex(start: Sequence[float]) -> list[list[float]]:
    """Return the start and, for each coordinate, a point that lies 5 % further."""
    points = [list(start) for _ in range(len(start) + 1)]
    for moved, point in enumerate(points[1:]):
        point[moved] = 1.05 * point[moved] or 0.00025
    return points


def _beyond(point: Sequence[float], middle: Sequence[float], times: float) -> list[float]:
    """Return what lies `times` as far behind the middle as the point lies before it."""
    return [m + times * (m - p) for p, m in zip(point, middle, strict=True)]


def _spread(corners: Sequence[_Corner]) -> float:
    return max(abs(a - b) for _, point in corners[1:] for a, b in zip(point, corners[0][1], strict=True))


def _cost_of(corner: _Corner) -> float:
    return corner[0]
