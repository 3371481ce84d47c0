"""The box that a benchmark is judged in where none is given: the part of a front that is wanted.

A known cost ends at 1.1 times that of the row of the best quality (of several, the costliest). A
quality in percent ends at nine tenths of the best accuracy, an error being 100 less an accuracy;
any other quality at the median of the rows.
"""

from collections.abc import Sequence

import numpy as np

from nas.problem.problem import Matrix, Objective, Vector

ROOM = 0.1


def default_reference(values: Matrix, objectives: Sequence[Objective]) -> Vector:
    """The corner (objectives,) of the box for rows (n, objectives), natural signs."""
    signs = np.array([-1.0 if each.maximize else 1.0 for each in objectives])
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
