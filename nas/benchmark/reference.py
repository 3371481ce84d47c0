"""The reference point: the corner of the box in which a benchmark's hypervolumes are counted.

`wanted`, the default, is the part of a front that people want. A known cost ends at 1.1 times that
of the row of the best quality (of several, the costliest). A quality in percent ends at nine tenths
of the best accuracy, an error being 100 less an accuracy; any other quality at the median of the
rows. `front` judges all of the front: its worst in each objective (the nadir), and a tenth of its
range beyond. `corner` is the worst of all rows.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from nas.problem.pareto import nondominated
from nas.problem.problem import Matrix, Objective, Vector, signs_of

ROOM = 0.1


def default_reference(values: Matrix, objectives: Sequence[Objective]) -> Vector:
    """The corner (objectives,) of the box for rows (n, objectives), natural signs."""
    signs = signs_of(objectives)
    less = values * signs
    # Of rows of equal quality, the cheapest shows what that quality costs.
    by_cost = (
        np.lexsort(less[:, [each.known for each in objectives]].T)
        if any(each.known for each in objectives)
        else np.arange(len(less))
    )
    best = [
        by_cost[np.argmin(less[by_cost, place])]
        for place, each in enumerate(objectives)
        if not each.known
    ]
    corner = np.empty(len(objectives))
    for place, objective in enumerate(objectives):
        if objective.known:
            cost = less[best, place].max()
            corner[place] = cost + ROOM * abs(cost)
        else:
            corner[place] = _quality(objective, values[:, place]) * signs[place]
    return np.asarray(corner * signs)


def _quality(objective: Objective, column: Vector) -> float:
    best = float(column.max() if objective.maximize else column.min())
    if objective.name.endswith("_pct") and 0 <= best <= 100:
        accuracy = best if objective.maximize else 100 - best
        worst = (1 - ROOM) * accuracy
        return worst if objective.maximize else 100 - worst
    middle = float(np.median(column))
    # Where half of the rows are as good as the best, the middle of the others.
    return middle if middle != best else float(np.median(column[column != best]))


def nadir_of_front(values: Matrix, objectives: Sequence[Objective]) -> Vector:
    """A tenth of the front's range beyond its worst in each objective, natural signs."""
    signs = signs_of(objectives)
    less = values * signs
    front = less[nondominated(less, keep_equal=True)]
    worst, extent = front.max(axis=0), np.ptp(front, axis=0)
    # A front of one network, or of equal ones, has no range: then a tenth of what it is.
    room = np.where(extent > 0, extent, np.maximum(np.abs(worst), 1e-9))
    return np.asarray((worst + ROOM * room) * signs)


def worst_of_rows(values: Matrix, objectives: Sequence[Objective]) -> Vector:
    """The worst row in each objective, natural signs."""
    signs = signs_of(objectives)
    return np.asarray((values * signs).max(axis=0) * signs)


REFERENCES: Mapping[str, Callable[[Matrix, Sequence[Objective]], Vector]] = {
    "wanted": default_reference,
    "front": nadir_of_front,
    "corner": worst_of_rows,
}
