"""Exact hypervolume, all objectives minimised: what evaluated points dominate inside a reference.

One and two objectives are swept here, one evaluation after the other; more are counted by moocore
(Fonseca, Paquete, López-Ibáñez 2006).
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence

import numpy as np

from nas.problem.problem import Matrix, Vector


def hypervolume(points: Matrix, reference: Vector) -> float:
    """The volume that (n, objectives) points dominate inside the reference (objectives,)."""
    curve = growth(points, reference)
    return float(curve[-1]) if len(curve) else 0.0


def growth(points: Matrix, reference: Vector) -> Vector:
    """The hypervolume after each of n points, (n,); never falls."""
    adding = _grower(np.asarray(reference, dtype=float).tolist())
    inside = (points < reference).all(axis=1)
    gains = np.zeros(len(points))
    for row in np.flatnonzero(inside).tolist():
        gains[row] = adding(points[row].tolist())
    return np.cumsum(gains)


def _grower(reference: list[float]) -> Callable[[list[float]], float]:
    """Adds a point that is inside the reference, and says what it gained."""
    if len(reference) == 1:
        return _Line(reference[0]).add
    if len(reference) == 2:
        return _Staircase(reference).add
    return _Volume(reference).add


class _Line:
    """One objective: the best so far."""

    def __init__(self, reference: float) -> None:
        self._best = reference

    def add(self, point: Sequence[float]) -> float:
        gained = max(0.0, self._best - point[0])
        self._best -= gained
        return gained


class _Staircase:
    """Two objectives: the front by its first, so the second falls along it."""

    def __init__(self, reference: Sequence[float]) -> None:
        self._end, self._top = reference
        self._first: list[float] = []
        self._second: list[float] = []

    def add(self, point: Sequence[float]) -> float:
        first, second = point
        begin = end = bisect_left(self._first, first)
        level = self._second[begin - 1] if begin else self._top
        same = begin < len(self._first) and self._first[begin] == first
        if level <= second or (same and self._second[begin] <= second):
            return 0.0
        gained, at = 0.0, first
        while end < len(self._first) and self._second[end] >= second:
            gained += (self._first[end] - at) * (level - second)
            at, level = self._first[end], self._second[end]
            end += 1
        until = self._first[end] if end < len(self._first) else self._end
        gained += (until - at) * (level - second)
        self._first[begin:end], self._second[begin:end] = [first], [second]
        return gained


class _Volume:
    """Three objectives and more: counted anew where a point changes the front."""

    def __init__(self, reference: Sequence[float]) -> None:
        self._reference = np.array(reference)
        self._front: Matrix = np.empty((0, len(reference)))
        self._volume = 0.0

    def add(self, point: Sequence[float]) -> float:
        import moocore

        new = np.array(point)
        if (self._front <= new).all(axis=1).any():
            return 0.0
        kept = self._front[~(new <= self._front).all(axis=1)]
        self._front = np.concatenate([kept, new[None]])
        before = self._volume
        self._volume = float(moocore.hypervolume(self._front, self._reference))
        return max(0.0, self._volume - before)
