"""What reaches each other in a graph: each such knot is a circle, or a single point."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

_Point = TypeVar("_Point")


def knots(roots: Iterable[_Point], beyond: Callable[[_Point], Iterable[_Point]]) -> dict[_Point, int]:
    """Point → number of its knot, for all that can be reached from ``roots``: two with the same number reach each other.

    ``beyond``: the points one step away. Tarjan's search in linear time, without recursion: a chain may be long.
    """
    order: dict[_Point, int] = {}
    low: dict[_Point, int] = {}
    knot: dict[_Point, int] = {}
    found: list[_Point] = []
    for root in roots:
        way: list[tuple[_Point, Iterator[_Point]]] = [] if root in order else [(root, iter(beyond(root)))]
        while way:
            here, steps = way[-1]
            if here not in order:
                order[here] = low[here] = len(order)
                found.append(here)
            for point in steps:
                if point not in order:
                    way.append((point, iter(beyond(point))))
                    break
                if point not in knot:
                    low[here] = min(low[here], order[point])
            else:
                way.pop()
                if way:
                    low[way[-1][0]] = min(low[way[-1][0]], low[here])
                while low[here] == order[here] and here not in knot:
                    knot[found.pop()] = order[here]
    return knot
